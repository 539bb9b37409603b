//! Distinct blocks of one subject, or of one time window.

use serde::{Deserialize, Serialize};

use super::ranges::Long;
use super::sampled::Sampled;
use super::{Touch, halvings};

/// Distinct blocks: of long operations, and of others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// Blocks of operations that are not long.
    pub sampled: Sampled,
    long: Long,
    /// Maximum number of blocks of an operation that is not long.
    long_blocks: u64,
}

impl Kept {
    /// Creates an empty set.
    pub fn new((most, long_blocks): Limits) -> Kept {
        Kept { sampled: Sampled::new(most), long: Long::default(), long_blocks }
    }

    /// Adds the blocks that an operation touches; these are their hashes unless it is long. Returns whether all of them had been touched in that
    /// direction before.
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

    /// Adds the blocks of another set with the same maximum.
    pub fn combine(&mut self, other: Kept) {
        self.sampled.combine(other.sampled);
        self.long.combine(other.long);
    }

    /// Returns the number of blocks by direction and, last, in either direction.
    pub fn different(&self) -> [u64; 3] {
        self.sampled.different(&self.long)
    }

    /// Returns how often the threshold of blocks must be halved so that those of long operations fit too, if they are processed individually.
    pub fn halved(&self) -> u32 {
        let room = u64::try_from(self.sampled.most()).unwrap_or(u64::MAX).max(1);
        self.sampled.halved().max(halvings(self.long.possible(), room))
    }
}

/// Maximum number of kept blocks, and maximum number of blocks of an operation that is not long.
pub type Limits = (usize, u64);
