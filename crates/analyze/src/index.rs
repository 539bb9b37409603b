//! Hash index of values that are stored elsewhere in order: four bytes per value in a table that is at least half full. A map would store each
//! value a second time.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

/// Marker of a free slot.
const FREE: u32 = u32::MAX;

/// Minimum number of slots of a table that is not empty.
const FEWEST: usize = 16;

/// Index over values with numbers from 0 on. The hash keys are random: the author of a capture cannot choose values that collide.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// Slots; their number is a power of two, or zero.
    places: Vec<u32>,
    numbers: usize,
    keys: RandomState,
}

impl Index {
    /// Returns the hash of a value, for [`Index::find`] and [`Index::add`].
    #[inline]
    pub fn hash(&self, value: &(impl Hash + ?Sized)) -> u64 {
        self.keys.hash_one(value)
    }

    /// Returns the number of the value with this hash for which `is` returns true.
    #[inline]
    pub fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.places.len().checked_sub(1)?;
        let mut place = hash as usize & mask;
        loop {
            match self.places[place] {
                FREE => return None,
                number if is(number) => return Some(number),
                _ => place = (place + 1) & mask,
            }
        }
    }

    /// Adds the number of a new value with this hash; `hash_of` returns the hash of a value in the index.
    pub fn add(&mut self, hash: u64, number: u32, hash_of: impl Fn(&Self, u32) -> u64) {
        if (self.numbers + 1) * 8 > self.places.len() * 7 {
            let grown = vec![FREE; (self.places.len() * 2).max(FEWEST)];
            let before = std::mem::replace(&mut self.places, grown);
            for number in before.into_iter().filter(|number| *number != FREE) {
                let hash = hash_of(self, number);
                self.put(hash, number);
            }
        }
        self.put(hash, number);
        self.numbers += 1;
    }

    fn put(&mut self, hash: u64, number: u32) {
        let mask = self.places.len() - 1;
        let mut place = hash as usize & mask;
        while self.places[place] != FREE {
            place = (place + 1) & mask;
        }
        self.places[place] = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_found_by_its_number_and_no_other_is() {
        let (mut index, mut values) = (Index::default(), Vec::new());
        for value in (0..10_000u64).map(|value| value * 7 % 5_003) {
            let hash = index.hash(&value);
            match index.find(hash, |number| values[number as usize] == value) {
                Some(number) => assert_eq!(values[number as usize], value),
                None => {
                    index.add(hash, values.len() as u32, |index, number| index.hash(&values[number as usize]));
                    values.push(value);
                }
            }
        }
        assert_eq!(values.len(), 5_003);
        assert!(index.places.len() <= 8_192, "{}", index.places.len());
        assert_eq!(index.find(index.hash(&9_999u64), |number| values[number as usize] == 9_999), None);
    }
}
