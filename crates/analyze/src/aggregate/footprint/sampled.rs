//! Different blocks, as many as there is room for.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use foldhash::fast::RandomState;
use iostrata_capture::op::Direction;
use serde::{Deserialize, Serialize};

/// Whether a block is looked at after the threshold was halved so often.
pub fn is_sampled(hash: u64, halved: u32) -> bool {
    hash.leading_zeros() >= halved
}

/// The lowest bits of a block's hash are taken for which way it was touched: with what is left it is told from all others.
const WAYS: u64 = 0b11;

/// A block by its hash, and which way it was touched.
#[derive(Debug, Clone, Copy, Eq, Serialize, Deserialize)]
struct Block(u64);

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

/// Blocks with the ways in which each was touched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sampled {
    most: usize,
    /// How often the threshold was halved.
    halved: u32,
    kept: HashSet<Block, RandomState>,
}

impl Sampled {
    /// None, with room for so many.
    pub fn new(most: usize) -> Self {
        Sampled { most, halved: 0, kept: HashSet::default() }
    }

    /// A block was touched.
    pub fn touch(&mut self, hash: u64, direction: Direction) {
        self.put(Block(hash & !WAYS | 1 << direction as u64));
    }

    fn put(&mut self, block: Block) {
        if !is_sampled(block.0, self.halved) {
            return;
        }
        match self.kept.get(&block).copied() {
            Some(known) if known.0 | block.0 == known.0 => {}
            Some(known) => {
                self.kept.replace(Block(known.0 | block.0));
            }
            None => {
                // Before it is there: a table that becomes larger is twice as large.
                while self.kept.len() >= self.most && is_sampled(block.0, self.halved) {
                    self.halve_to(self.halved + 1);
                }
                if is_sampled(block.0, self.halved) {
                    self.kept.insert(block);
                }
            }
        }
    }

    fn halve_to(&mut self, halved: u32) {
        if self.halved < halved {
            self.halved = halved;
            self.kept.retain(|block| is_sampled(block.0, halved));
        }
    }

    /// Adds those of another one, with as much room.
    pub fn combine(&mut self, other: Self) {
        self.halve_to(other.halved);
        other.kept.into_iter().for_each(|block| self.put(block));
    }

    /// How often the threshold was halved.
    pub fn halved(&self) -> u32 {
        self.halved
    }

    /// One in so many blocks is kept.
    pub fn one_in(&self) -> u64 {
        1u64.checked_shl(self.halved).unwrap_or(u64::MAX)
    }

    /// How many different blocks there are, whichever way they were touched: an estimate, where not all are kept.
    pub fn all(&self) -> u64 {
        self.estimate(self.kept.len())
    }

    /// How many different blocks were touched in a direction.
    pub fn in_direction(&self, direction: usize) -> u64 {
        self.estimate(self.kept.iter().filter(|block| block.0 >> direction & 1 == 1).count())
    }

    fn estimate(&self, kept: usize) -> u64 {
        (kept as u64).saturating_mul(self.one_in())
    }
}
