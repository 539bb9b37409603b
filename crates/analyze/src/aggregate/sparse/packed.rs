//! Rounded values with their counts, in a few bytes each: a time window may have hundreds, and there may be thousands of windows.

use serde::{Deserialize, Serialize};

/// Pairs of a value and its count, values ascending. A rounded value is the maximum of a bucket, and buckets are numbered. It is stored as the
/// difference from the previous bucket number: most often one byte, and the count in one or two.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Packed(Vec<u8>);

impl Packed {
    /// Encodes these pairs. A value that is not rounded becomes the maximum of its bucket.
    pub fn of(pairs: &[(u64, u64)]) -> Packed {
        let (mut bytes, mut last) = (Vec::with_capacity(pairs.len() * 3), 0);
        for (value, count) in pairs {
            let bucket = bucket_of(*value);
            put(&mut bytes, bucket.wrapping_sub(last));
            put(&mut bytes, *count);
            last = bucket;
        }
        bytes.shrink_to_fit();
        Packed(bytes)
    }

    /// Iterates over the pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        let (mut rest, mut bucket) = (self.0.iter().copied(), 0u64);
        std::iter::from_fn(move || {
            bucket = bucket.wrapping_add(take(&mut rest)?);
            Some((greatest_of(bucket), take(&mut rest)?))
        })
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Rounds a value up to two significant digits, as an HDR histogram does: to the maximum of its bucket.
pub fn up(value: u64) -> u64 {
    greatest_of(bucket_of(value))
}

/// Binary logarithm of the number of buckets between a power of two and the next, in an HDR histogram of two significant digits.
const HALF_BITS: u32 = 7;

/// Returns the number of the bucket of a value: values below 256 have one each, and each further power of two has 128.
fn bucket_of(value: u64) -> u64 {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(HALF_BITS + 1);
    (u64::from(shift) << HALF_BITS) + (value >> shift)
}

/// Returns the maximum value of a bucket; any value for a number of no bucket.
fn greatest_of(bucket: u64) -> u64 {
    let shift = (bucket >> HALF_BITS).saturating_sub(1);
    let next = (bucket.wrapping_sub(shift << HALF_BITS)).wrapping_add(1);
    next.checked_shl(u32::try_from(shift).unwrap_or(u32::MAX)).unwrap_or(0).wrapping_sub(1)
}

/// Appends a number, seven bits per byte, the lowest first; the highest bit marks that more follow (LEB128).
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    /// Returns a value as rounded by the library.
    fn rounded(histogram: &Histogram<u8>, value: u64) -> u64 {
        // For its last bucket the library returns one less, except for the maximum value itself.
        let greatest = histogram.highest_equivalent(value);
        if greatest == u64::MAX - 1 { u64::MAX } else { greatest }
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back(mut pairs in prop::collection::vec((0u32..64, any::<u64>(), 0u32..64, any::<u64>()), 0..50)) {
            pairs.extend([(0, u64::MAX, 0, u64::MAX), (0, 0, 0, 1)]);
            let histogram = Histogram::new(2).expect("two digits");
            let mut pairs: Vec<_> = pairs.into_iter().map(|(b, value, c, count)| (rounded(&histogram, value >> b), count >> c)).collect();
            pairs.sort_unstable();
            prop_assert_eq!(Packed::of(&pairs).pairs().collect::<Vec<_>>(), pairs);
        }

        #[test]
        fn any_bytes_are_pairs(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            prop_assert!(Packed(bytes).pairs().count() <= 25);
        }
    }

    #[test]
    fn buckets_are_those_of_the_histogram() {
        let histogram = Histogram::new(2).expect("two digits");
        let powers = (0..64).map(|bit| 1u64 << bit);
        for value in powers.flat_map(|power| {
            [power - 1, power, power.saturating_add(1), power + power / 3, power | power >> 1, power.wrapping_neg()]
        }) {
            assert_eq!(up(value), rounded(&histogram, value), "{value}");
        }
        assert_eq!([0, 255, 256, 257, 258, 511, 512].map(bucket_of), [0, 255, 256, 256, 257, 383, 384]);
    }

    #[test]
    fn rounded_values_take_few_bytes() {
        let pairs: Vec<_> = (0..100).map(|at| (((128 + at) << 20) - 1, 1 + at)).collect();
        assert!(Packed::of(&pairs).0.len() <= 202);
    }
}
