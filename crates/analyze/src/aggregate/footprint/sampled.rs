//! Different blocks, as many as there is room for.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use foldhash::fast::RandomState;
use iostrata_capture::op::Direction;
use serde::{Deserialize, Serialize};

use super::ranges::Long;

/// Whether a block is looked at after the threshold was halved so often.
fn is_sampled(hash: u64, halved: u32) -> bool {
    hash.leading_zeros() >= halved
}

/// The lowest bits of a block's hash are taken for which way it was touched: with what is left it is told from all others.
const WAYS: u64 = 0b11;

/// A block by its hash, and which way it was touched.
#[derive(Debug, Clone, Copy, Eq, Serialize, Deserialize)]
pub struct Block(u64);

impl Block {
    /// A block of that hash that was touched.
    pub fn touched(hash: u64, direction: Direction) -> Block {
        Block(hash & !WAYS | 1 << direction as u64)
    }

    /// What its hash can be.
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

    /// A block was touched. Whether it is known that it had been touched that way before.
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
                // Before it is there: a table that becomes larger is twice as large.
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

    /// Adds those of another one, with as much room.
    pub fn combine(&mut self, other: Self) {
        self.halve_to(other.halved);
        for block in other.kept {
            self.put(block);
        }
    }

    /// For how many there is room.
    pub fn most(&self) -> usize {
        self.most
    }

    /// How often the threshold was halved.
    pub fn halved(&self) -> u32 {
        self.halved
    }

    /// One in so many blocks is kept.
    pub fn one_in(&self) -> u64 {
        super::one_in(self.halved)
    }

    /// How many different blocks there are by direction and, last, whichever way they were touched, those of long operations included: an estimate,
    /// where not all are kept.
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
        (kept as u64).saturating_mul(self.one_in())
    }
}
