//! Compact form of sums that are mostly zero: number and value of each non-zero sum, in a few bytes. A million processes have few sums each.

use smallvec::SmallVec;

/// Encoded sums. Up to this size they need no allocation of their own.
pub type Bytes = SmallVec<[u8; 23]>;

/// Sums by number, without those that are zero.
#[derive(Debug, Clone, Default)]
pub struct Packed(Bytes);

impl Packed {
    /// Adds to sum `number`, which saturates at `most`.
    pub fn add(&mut self, number: u8, amount: u128, most: u128) {
        if amount == 0 {
            return;
        }
        let mut at = 0;
        while at < self.0.len() {
            let (found, (value, end)) = (self.0[at], varint(&self.0, at + 1));
            if found == number {
                let sum = value.saturating_add(amount).min(most);
                if width(sum) == end - at - 1 {
                    write(&mut self.0[at + 1..end], sum);
                    return;
                }
                self.0.drain(at..end);
                return self.push(number, sum);
            }
            at = end;
        }
        self.push(number, amount.min(most));
    }

    fn push(&mut self, number: u8, sum: u128) {
        self.0.push(number);
        push(&mut self.0, sum);
    }

    /// Iterates over the sums with their numbers, in no order.
    pub fn each(&self) -> impl Iterator<Item = (u8, u128)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let number = *self.0.get(at)?;
            let (value, end) = varint(&self.0, at + 1);
            at = end;
            Some((number, value))
        })
    }

    /// Whether all are zero.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the number of bytes of an encoded value: seven bits in each byte, and less than 128 in the last.
fn width(value: u128) -> usize {
    ((u128::BITS - (value | 1).leading_zeros()) as usize).div_ceil(7)
}

fn write(to: &mut [u8], mut value: u128) {
    let last = to.len() - 1;
    for (at, byte) in to.iter_mut().enumerate() {
        *byte = (value & 0x7f) as u8 | if at < last { 0x80 } else { 0 };
        value >>= 7;
    }
}

/// Appends an encoded value.
pub fn push(to: &mut Bytes, value: u128) {
    let begin = to.len();
    to.resize(begin + width(value), 0);
    write(&mut to[begin..], value);
}

/// Returns the value at `begin`, and its end.
#[inline]
pub fn varint(bytes: &[u8], begin: usize) -> (u128, usize) {
    let (mut value, mut shift, mut at) = (0u128, 0, begin);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        value |= u128::from(byte & 0x7f) << shift;
        shift = (shift + 7).min(126);
        if *byte < 0x80 {
            break;
        }
    }
    (value, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn few_sums_take_no_piece_of_memory() {
        assert_eq!(size_of::<Packed>(), 32);
    }

    proptest! {
        #[test]
        fn sums_are_those_of_a_map(adds in prop::collection::vec((0..6u8, (0u32..127, any::<u128>())), 0..60)) {
            let (mut packed, mut map) = (Packed::default(), BTreeMap::<u8, u128>::new());
            let most = u128::MAX >> 1;
            for (number, (bits, amount)) in adds {
                let amount = amount >> bits;
                packed.add(number, amount, most);
                let sum = map.entry(number).or_default();
                *sum = sum.saturating_add(amount).min(most);
            }
            map.retain(|_, sum| *sum > 0);
            prop_assert_eq!(packed.each().collect::<BTreeMap<_, _>>(), map.clone());
            prop_assert_eq!((packed.each().count(), packed.is_empty()), (map.len(), map.is_empty()));
        }
    }
}
