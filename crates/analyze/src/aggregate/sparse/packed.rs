//! Rounded values with their counts in a few bytes each: of a window of time there may be hundreds, and of windows thousands.

use serde::{Deserialize, Serialize};

/// Pairs of a value and its count, in their order. A rounded value is one less than a small number times a power of two, so it is kept as these: a byte,
/// one or two, and the count in one or two.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Packed(Vec<u8>);

impl Packed {
    /// Of these pairs.
    pub fn of(pairs: &[(u64, u64)]) -> Packed {
        let mut bytes = Vec::with_capacity(pairs.len() * 5);
        for (value, count) in pairs {
            // The greatest value becomes zero, which has 64 of them.
            let next = value.wrapping_add(1);
            let shift = next.trailing_zeros();
            bytes.push(shift as u8);
            put(&mut bytes, next.checked_shr(shift).unwrap_or(0));
            put(&mut bytes, *count);
        }
        bytes.shrink_to_fit();
        Packed(bytes)
    }

    /// The pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut rest = self.0.iter().copied();
        std::iter::from_fn(move || {
            let shift = u32::from(rest.next()?);
            let (number, count) = (take(&mut rest)?, take(&mut rest)?);
            Some((number.checked_shl(shift).unwrap_or(0).wrapping_sub(1), count))
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow (LEB128).
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_packed_comes_back(
            mut pairs in prop::collection::vec((0u32..64, any::<u64>(), 0u32..64, any::<u64>()), 0..50),
        ) {
            pairs.push((0, u64::MAX, 0, u64::MAX));
            let pairs: Vec<_> = pairs.into_iter().map(|(b, value, c, count)| (value >> b, count >> c)).collect();
            prop_assert_eq!(Packed::of(&pairs).pairs().collect::<Vec<_>>(), pairs);
        }

        #[test]
        fn any_bytes_are_pairs(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            prop_assert!(Packed(bytes).pairs().count() <= 17);
        }
    }

    #[test]
    fn rounded_values_take_few_bytes() {
        let pairs: Vec<_> = (0..100).map(|at| (((128 + at) << 20) - 1, 1 + at)).collect();
        assert!(Packed::of(&pairs).0.len() <= 400);
    }
}
