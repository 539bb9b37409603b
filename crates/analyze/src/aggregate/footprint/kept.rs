//! Different blocks of one subject, or of a window of time.

use serde::{Deserialize, Serialize};

use super::ranges::Long;
use super::sampled::Sampled;
use super::{Touch, halvings};

/// Different blocks: of operations that are long, and of others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// Those of others.
    pub sampled: Sampled,
    long: Long,
    /// How many blocks of one operation are not kept one by one.
    long_blocks: u64,
}

impl Kept {
    /// None.
    pub fn new((most, long_blocks): Limits) -> Kept {
        Kept { sampled: Sampled::new(most), long: Long::default(), long_blocks }
    }

    /// Adds those that an operation touches, of which these are the hashes unless it is long. Whether all of them had been touched that way before.
    pub fn add(&mut self, touch: &Touch, hashes: &[u64]) -> bool {
        if touch.blocks().1 > self.long_blocks {
            self.long.add(touch);
            return false;
        }
        let mut known = true;
        for hash in hashes {
            known &= self.sampled.touch(*hash, touch.direction);
        }
        known
    }

    /// Adds those of another one, with as much room.
    pub fn combine(&mut self, other: Kept) {
        self.sampled.combine(other.sampled);
        self.long.combine(other.long);
    }

    /// How many there are by direction and, last, whichever way they were touched.
    pub fn different(&self) -> [u64; 3] {
        self.sampled.different(&self.long)
    }

    /// How often the threshold of blocks is halved so that there is room for those of long operations too, if they are looked at one by one.
    pub fn halved(&self) -> u32 {
        let room = u64::try_from(self.sampled.most()).unwrap_or(u64::MAX).max(1);
        self.sampled.halved().max(halvings(self.long.possible(), room))
    }
}

/// How many blocks are kept at most, and from how many on an operation is long.
pub type Limits = (usize, u64);
