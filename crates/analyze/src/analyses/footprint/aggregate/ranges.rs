//! Ranges of blocks, instead of the blocks in them: the cost of an operation must not grow with a size that it claims.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sampled::Block;
use super::{Space, Touch, hash};

/// Ranges that are not adjacent to each other, by address space and first block, with the block after the last.
type Ranges = BTreeMap<(u64, u64), u64>;

/// Blocks that long operations touched, by direction. Memory and time grow with the number of these operations.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Long {
    by_direction: [Ranges; 2],
    /// Blocks of operations of a possible size, in either direction.
    possible: Ranges,
}

/// Number of bits of a block number: offsets have 64.
const BLOCK_BITS: u32 = 52;

impl Long {
    /// Adds the blocks that an operation touched.
    pub fn add(&mut self, touch: &Touch) {
        let (Space(space), (first, count)) = (touch.space, touch.blocks());
        let range = (first, first.saturating_add(count));
        add(&mut self.by_direction[touch.direction as usize], space, range);
        if touch.can_be() {
            add(&mut self.possible, space, range);
        }
    }

    /// Returns the number of distinct blocks of operations of a possible size.
    pub fn possible(&self) -> u64 {
        blocks(&self.possible)
    }

    /// Whether there are no blocks.
    pub fn is_empty(&self) -> bool {
        self.by_direction.iter().all(BTreeMap::is_empty)
    }

    /// Adds the blocks of `other`.
    pub fn combine(&mut self, other: Long) {
        let Long { by_direction: [read, write], possible } = self;
        let [their_read, their_write] = other.by_direction;
        for (mine, theirs) in [(read, their_read), (write, their_write), (possible, other.possible)] {
            theirs.into_iter().for_each(|((space, first), end)| add(mine, space, (first, end)));
        }
    }

    /// Returns the distinct blocks by direction and, last, in either direction, each in a form that can be searched for a block.
    pub fn finish(&self) -> Option<[Covered; 3]> {
        if self.is_empty() {
            return None;
        }
        let [read, write] = &self.by_direction;
        let mut both = read.clone();
        write.iter().for_each(|((space, first), end)| add(&mut both, *space, (*first, *end)));
        Some([read.clone(), write.clone(), both].map(Covered::new))
    }
}

/// Adds a range, and merges all ranges that are adjacent to it.
fn add(ranges: &mut Ranges, space: u64, (mut first, mut end): (u64, u64)) {
    if first >= end {
        return;
    }
    let before = ranges.range(..=(space, first)).next_back().map(|(of, last)| (*of, *last));
    if let Some(((of, begin), last)) = before.filter(|((of, _), last)| *of == space && *last >= first) {
        ranges.remove(&(of, begin));
        (first, end) = (begin, end.max(last));
    }
    // Each range is removed only once.
    while let Some((of, last)) = ranges.range((space, first)..=(space, end)).next().map(|(of, last)| (*of, *last)) {
        ranges.remove(&of);
        end = end.max(last);
    }
    ranges.insert((space, first), end);
}

fn blocks(ranges: &Ranges) -> u64 {
    let blocks = ranges.iter().map(|((_, first), end)| end.saturating_sub(*first));
    blocks.fold(0, u64::saturating_add)
}

/// Distinct blocks in ranges.
pub struct Covered {
    ranges: Ranges,
    /// Hash that the hash of a block begins with, for each address space, in order.
    spaces: Vec<(u64, u64)>,
}

impl Covered {
    fn new(ranges: Ranges) -> Covered {
        let mut spaces: Vec<(u64, u64)> = ranges.keys().map(|(space, _)| (hash([*space]), *space)).collect();
        spaces.sort_unstable();
        spaces.dedup();
        Covered { ranges, spaces }
    }

    /// Returns the number of blocks.
    pub fn blocks(&self) -> u64 {
        blocks(&self.ranges)
    }

    /// Whether a block is one of them: its number in an address space follows from its hash and the address space. Two bits of the hash are
    /// unknown. A block that is none of them passes as one with three times the share of the covered blocks in 2^64: with all the ranges of 256
    /// TiB once in 90 million.
    pub fn has(&self, block: Block) -> bool {
        block.hashes().any(|hash| {
            let mixed = unmix(hash);
            let (least, most) = (mixed >> BLOCK_BITS << BLOCK_BITS, mixed | ((1 << BLOCK_BITS) - 1));
            let begin = self.spaces.partition_point(|(state, _)| *state < least);
            let near = self.spaces[begin..].iter().take_while(|(state, _)| *state <= most);
            let mut numbers = near.map(|(state, space)| (*space, mixed ^ state));
            numbers.any(|(space, number)| {
                let before = self.ranges.range(..=(space, number)).next_back();
                before.is_some_and(|((of, _), end)| *of == space && number < *end)
            })
        })
    }
}

/// Inverts one step of [`hash`]: returns the word, combined with all before it, as it was before mixing.
fn unmix(mut mixed: u64) -> u64 {
    mixed ^= mixed >> 31 ^ mixed >> 62;
    mixed = mixed.wrapping_mul(0x3196_42b2_d24d_8ec3);
    mixed ^= mixed >> 27 ^ mixed >> 54;
    mixed = mixed.wrapping_mul(0x96de_1b17_3f11_9089);
    mixed ^= mixed >> 30 ^ mixed >> 60;
    mixed.wrapping_sub(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyses::footprint::aggregate::BLOCK_BYTES;
    use iostrata_capture::op::Direction;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn touch(space: u64, (first, count): (u64, u64), direction: Direction) -> Touch {
        let (position, bytes) = (first * BLOCK_BYTES, count * BLOCK_BYTES);
        Touch { ts_ns: 0, direction, space: Space(space), position, bytes, ops: 1 }
    }

    #[test]
    fn a_hash_can_be_taken_back() {
        for (space, block) in [(0, 0), (7, 1), (u64::MAX, (1 << BLOCK_BITS) - 1), (12_345, 1 << 40)] {
            assert_eq!(unmix(hash([space, block])) ^ hash([space]), block);
        }
    }

    #[test]
    fn ranges_that_were_all_told_apart_become_one() {
        let mut long = Long::default();
        (0..1_000).for_each(|number| long.add(&touch(3, (number * 10, 5), Direction::Read)));
        assert_eq!((long.by_direction[0].len(), long.possible()), (1_000, 5_000));
        long.add(&touch(3, (2, 9_994), Direction::Read));
        assert_eq!(long.by_direction[0], Ranges::from([((3, 0), 9_996)]));
        // A range of an impossible size.
        long.add(&touch(3, (0, 1 << 30), Direction::Read));
        assert_eq!((long.by_direction[0].len(), long.possible()), (1, 9_996));
    }

    proptest! {
        #[test]
        fn ranges_have_the_blocks_that_a_set_has(
            touched in prop::collection::vec((0u64..3, 0u64..60, 0u64..12, any::<bool>(), 0usize..2), 0..60),
        ) {
            let mut parts = [Long::default(), Long::default()];
            let mut sets: [BTreeSet<(u64, u64)>; 3] = Default::default();
            for (space, first, count, reads, part) in touched {
                let direction = if reads { Direction::Read } else { Direction::Write };
                parts[part].add(&touch(space, (first, count), direction));
                for block in first..first + count {
                    sets[direction as usize].insert((space, block));
                    sets[2].insert((space, block));
                }
            }
            let [mut long, other] = parts;
            long.combine(other);
            prop_assert_eq!(long.is_empty(), sets[2].is_empty());
            for (covered, set) in long.finish().iter().flatten().zip(&sets) {
                prop_assert_eq!(covered.blocks(), set.len() as u64);
                for space in 0..4 {
                    for number in 0..80 {
                        let block = Block::touched(hash([space, number]), Direction::Write);
                        prop_assert_eq!(covered.has(block), set.contains(&(space, number)));
                    }
                }
            }
        }
    }
}
