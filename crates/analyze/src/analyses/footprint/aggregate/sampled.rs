//! Distinct blocks, sampled so that they fit.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use foldhash::fast::RandomState;
use iostrata_capture::op::Direction;
use serde::{Deserialize, Serialize};

use super::ranges::Long;

/// Whether a block is sampled after this number of halvings of the threshold.
fn is_sampled(hash: u64, halved: u32) -> bool {
    hash.leading_zeros() >= halved
}

/// Lowest bits of the hash of a block: they store the directions in which it was touched. The other bits distinguish it from all others.
const WAYS: u64 = 0b11;

/// Block by its hash, with the directions in which it was touched.
#[derive(Debug, Clone, Copy, Eq, Serialize, Deserialize)]
pub struct Block(u64);

impl Block {
    /// Creates a block with this hash that was touched.
    pub fn touched(hash: u64, direction: Direction) -> Block {
        Block(hash & !WAYS | 1 << direction as u64)
    }

    /// Returns the possible hashes of the block.
    pub fn hashes(self) -> impl Iterator<Item = u64> {
        (0..=WAYS).map(move |bits| self.0 & !WAYS | bits)
    }
}

impl PartialEq for Block {
    fn eq(&self, other: &Block) -> bool {
        self.0 | WAYS == other.0 | WAYS
    }
}

impl Hash for Block {
    fn hash<H: Hasher>(&self, to: &mut H) {
        to.write_u64(self.0 | WAYS);
    }
}

/// Blocks, each with the directions in which it was touched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sampled {
    most: usize,
    /// Number of halvings of the threshold.
    halved: u32,
    kept: HashSet<Block, RandomState>,
}

impl Sampled {
    /// Creates an empty set of at most `most` blocks.
    pub fn new(most: usize) -> Self {
        Sampled { most, halved: 0, kept: HashSet::default() }
    }

    /// Adds a block that was touched. Returns whether it is known that it had been touched in that direction before.
    #[inline]
    pub fn touch(&mut self, hash: u64, direction: Direction) -> bool {
        is_sampled(hash, self.halved) && self.put(Block::touched(hash, direction))
    }

    fn put(&mut self, block: Block) -> bool {
        if !is_sampled(block.0, self.halved) {
            return false;
        }
        match self.kept.get(&block).copied() {
            Some(known) if known.0 | block.0 == known.0 => true,
            Some(known) => {
                self.kept.replace(Block(known.0 | block.0));
                false
            }
            None => {
                // Before the insertion: a hash table that grows becomes twice as large.
                while self.kept.len() >= self.most && is_sampled(block.0, self.halved) {
                    self.halve_to(self.halved + 1);
                }
                if is_sampled(block.0, self.halved) {
                    self.kept.insert(block);
                }
                false
            }
        }
    }

    fn halve_to(&mut self, halved: u32) {
        if self.halved < halved {
            self.halved = halved;
            self.kept.retain(|block| is_sampled(block.0, halved));
        }
    }

    /// Adds the blocks of another set with the same maximum.
    pub fn combine(&mut self, other: Self) {
        self.halve_to(other.halved);
        for block in other.kept {
            self.put(block);
        }
    }

    /// Returns the maximum number of blocks.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Returns the number of halvings of the threshold.
    pub fn halved(&self) -> u32 {
        self.halved
    }

    /// Returns the sampling factor: one block in this many is kept.
    pub fn sampling_factor(&self) -> u64 {
        super::sampling_factor(self.halved)
    }

    /// Returns the number of distinct blocks by direction and, last, in either direction, including those of long operations. It is an estimate if
    /// not all are kept.
    pub fn different(&self, long: &Long) -> [u64; 3] {
        let covered = long.finish();
        [0b01, 0b10, WAYS].map(|ways| {
            let is_of = |block: &Block| block.0 & ways != 0;
            let Some([read, write, both]) = &covered else {
                return self.estimate(self.kept.iter().filter(|block| is_of(block)).count());
            };
            let covered = [read, write, both][ways as usize - 1];
            let others = self.kept.iter().filter(|block| is_of(block) && !covered.has(**block)).count();
            self.estimate(others).saturating_add(covered.blocks())
        })
    }

    fn estimate(&self, kept: usize) -> u64 {
        (kept as u64).saturating_mul(self.sampling_factor())
    }
}
