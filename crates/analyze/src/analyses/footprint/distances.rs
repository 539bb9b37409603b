//! Reuse distances of blocks: the stack distance of Mattson et al. (IBM Systems Journal 1970), from which the hit ratio of an LRU cache of any size
//! follows. Blocks are sampled by hash, one in N, and distances between them represent N times as many blocks (SHARDS: Waldspurger et al., FAST
//! 2015). Time ranges are merged as in PARDA (Niu et al., IPDPS 2012): the first touches of the later one are looked up in the blocks that the
//! earlier one left.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use iostrata_capture::op::Layer;
use serde::{Deserialize, Serialize};

use super::aggregate::{Spaces, Touch, sampling_factor};
use crate::aggregate::Precision;
use crate::aggregate::in_order::{self, OrderedAggregate};
use crate::aggregate::sequence::{BySubject, Owners, Point, Span, Subject};

/// Number of classes of distances: up to a power of two, and above half of it.
const CLASSES: usize = 64;

/// Minimum number of positions before they are renumbered.
const LEAST_POSITIONS: usize = 1_024;

/// Blocks in the order of their last touch.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<u64>", into = "Vec<u64>")]
struct Stack {
    /// Position of the last touch, by hash.
    last: HashMap<u64, usize, RandomState>,
    /// Block that was touched last at each position.
    blocks: Vec<Option<u64>>,
    /// Fenwick tree (Software: Practice and Experience 1994) over positions: number of blocks.
    tree: Vec<u32>,
}

impl From<Vec<u64>> for Stack {
    fn from(in_order: Vec<u64>) -> Stack {
        let mut stack = Stack::default();
        for hash in in_order {
            stack.touch(hash);
        }
        stack
    }
}

impl From<Stack> for Vec<u64> {
    fn from(stack: Stack) -> Vec<u64> {
        stack.in_order().collect()
    }
}

impl Stack {
    /// Touches a block. Returns the number of other blocks that were touched since its last touch.
    fn touch(&mut self, hash: u64) -> Option<u64> {
        let distance = self.remove(hash);
        if self.blocks.len() + 1 >= self.tree.len() {
            self.renumber();
        }
        let position = self.blocks.len();
        self.blocks.push(Some(hash));
        self.last.insert(hash, position);
        self.add(position, 1);
        distance
    }

    fn remove(&mut self, hash: u64) -> Option<u64> {
        let position = self.last.remove(&hash)?;
        // All remaining blocks, without those up to its position.
        let after = (self.last.len() + 1) as u64 - self.up_to(position);
        self.blocks[position] = None;
        self.add(position, -1);
        Some(after)
    }

    fn add(&mut self, position: usize, change: i32) {
        let mut place = position + 1;
        while let Some(sum) = self.tree.get_mut(place) {
            *sum = sum.wrapping_add_signed(change);
            place += place & place.wrapping_neg();
        }
    }

    /// Returns the number of blocks up to a position.
    fn up_to(&self, position: usize) -> u64 {
        let (mut place, mut sum) = (position + 1, 0u64);
        while place > 0 {
            sum += u64::from(self.tree[place]);
            place &= place - 1;
        }
        sum
    }

    /// Renumbers positions without gaps.
    fn renumber(&mut self) {
        self.blocks.retain(Option::is_some);
        self.tree = vec![0; (2 * self.blocks.len()).max(LEAST_POSITIONS) + 1];
        for position in 0..self.blocks.len() {
            if let Some(hash) = self.blocks[position] {
                self.last.insert(hash, position);
            }
            self.add(position, 1);
        }
    }

    /// Iterates over all blocks, the one that was touched last at the end.
    fn in_order(&self) -> impl Iterator<Item = u64> {
        self.blocks.iter().copied().flatten()
    }
}

/// Blocks of a subject that are touched in a time range.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Touches {
    stack: Stack,
    /// Blocks in the order of their first touch.
    firsts: Vec<u64>,
    /// Number of repeated touches, by class of distances.
    #[serde(with = "classes")]
    again: [u64; CLASSES],
    /// Number of touches of any block, including those that are not sampled.
    touched: u64,
}

/// Serialized form of counts by class: serde has no arrays of more than 32.
mod classes {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::CLASSES;

    pub fn serialize<S: Serializer>(counts: &[u64; CLASSES], to: S) -> Result<S::Ok, S::Error> {
        counts.as_slice().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u64; CLASSES], D::Error> {
        let counts = Vec::deserialize(from)?;
        counts.try_into().map_err(|_| D::Error::custom("expected a count for each class"))
    }
}

impl Default for Touches {
    fn default() -> Touches {
        Touches { stack: Stack::default(), firsts: Vec::new(), again: [0; CLASSES], touched: 0 }
    }
}

impl Touches {
    fn touch(&mut self, hash: u64, sampling_factor: u64) {
        match self.stack.touch(hash) {
            Some(between) => self.again[class_of(between, sampling_factor)] += 1,
            None => self.firsts.push(hash),
        }
    }

    fn append(&mut self, next: Touches, sampling_factor: u64) {
        for hash in next.firsts {
            self.touch(hash, sampling_factor);
        }
        // They are on top now, but in the order of their first touch.
        for hash in next.stack.in_order() {
            self.stack.touch(hash);
        }
        self.again.iter_mut().zip(next.again).for_each(|(mine, next)| *mine += next);
        self.touched = self.touched.saturating_add(next.touched);
    }
}

/// Returns the class of a distance: a cache of that many blocks (a power of two) hits, and one of half as many does not.
fn class_of(between: u64, sampling_factor: u64) -> usize {
    let distance = between.saturating_add(1).saturating_mul(sampling_factor);
    ((u64::BITS - (distance - 1).leading_zeros()) as usize).min(CLASSES - 1)
}

/// Reuse distances by layer and subject.
pub type Distances = BTreeMap<Layer, BTreeMap<Subject, Sums>>;

/// Reuse distances of all subjects of a layer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reuse {
    halved: u32,
    subjects: HashMap<Subject, Touches, RandomState>,
}

/// Reuse distances of a layer, while operations are added.
pub struct Walk {
    layer: Layer,
    halved: u32,
    spaces: Spaces,
    subjects: BySubject<Touches>,
}

impl Walk {
    /// Creates the reuse distances of `layer`, without operations; one block in 2^`halved` is sampled.
    fn new(layer: Layer, halved: u32) -> Walk {
        Walk { layer, halved, spaces: Spaces::default(), subjects: BySubject::default() }
    }
}

impl in_order::Walk for Walk {
    fn add(&mut self, points: &[Point], _span: Span, owners: &Owners) {
        let Walk { layer, halved, spaces, subjects } = self;
        for point in points.iter().filter(|point| point.ops > 0 && point.bytes > 0) {
            let position = point.position.and_then(|position| u64::try_from(position).ok());
            let space = spaces.of(*layer, &point.places, owners.entities);
            let (Some(direction), Some(position), Some(space)) = (point.direction, position, space) else { continue };
            let touch = Touch { ts_ns: point.ts_ns, direction, space, position, bytes: point.bytes, ops: 1 };
            if !touch.can_be() {
                continue;
            }
            let touched = touch.blocks().1;
            subjects.each(point.subject(), |touches| touches.touched = touches.touched.saturating_add(touched));
            for hash in touch.hashes_of(*halved) {
                subjects.each(point.subject(), |touches| touches.touch(hash, sampling_factor(*halved)));
            }
        }
    }
}

impl OrderedAggregate for Reuse {
    const NAME: &'static str = "reuse";
    const VERSION: u32 = 2;
    /// How often the number of sampled blocks is halved, by layer.
    type Config = [u32; Layer::ALL.len()];
    type Walk = Walk;
    type Finished = Distances;

    fn open(halved: &Self::Config, layer: Layer, _precision: Precision) -> Walk {
        Walk::new(layer, halved[layer as usize])
    }

    fn close(walk: Walk, owners: &Owners) -> Reuse {
        Reuse { halved: walk.halved, subjects: walk.subjects.finish(owners) }
    }

    fn append(&mut self, next: Reuse) {
        let sampling_factor = sampling_factor(self.halved);
        for (subject, touches) in next.subjects {
            self.subjects.entry(subject).or_default().append(touches, sampling_factor);
        }
    }

    fn finish(self, layer: Layer, finished: &mut Self::Finished) {
        let sums = finished.entry(layer).or_default();
        let sampling_factor = sampling_factor(self.halved);
        for (subject, touches) in self.subjects {
            let sums = sums.entry(subject).or_default();
            sums.sampling_factor = sampling_factor;
            sums.sampled = sums.sampled.saturating_add(touches.firsts.len() as u64);
            sums.touched = sums.touched.saturating_add(touches.touched);
            sums.firsts = sums.firsts.saturating_add((touches.firsts.len() as u64).saturating_mul(sampling_factor));
            for (class, count) in touches.again.iter().enumerate().filter(|(_, count)| **count > 0) {
                let sum = sums.again.entry(class as u32).or_default();
                *sum = sum.saturating_add(count.saturating_mul(sampling_factor));
            }
        }
    }
}

/// Reuse distances of a subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Sampling factor: one block in this many was sampled, and counts represent that many.
    pub sampling_factor: u64,
    /// Number of distinct blocks that were sampled.
    pub sampled: u64,
    /// Number of touches of any block.
    pub touched: u64,
    /// Number of blocks that were touched for the first time.
    pub firsts: u64,
    /// Number of touches by class n: a cache of 2^n blocks hits, and one of half as many does not.
    pub again: BTreeMap<u32, u64>,
}

impl Sums {
    /// Returns the number of touches that the sampled blocks should represent in addition; negative if they represent too many. It is assigned to
    /// the smallest distance: a few blocks that are touched all the time are either sampled or not (SHARDS-adj).
    pub fn missing(&self) -> i128 {
        let stood_for = self.again.values().fold(u128::from(self.firsts), |sum, count| sum + u128::from(*count));
        i128::from(self.touched) - i128::try_from(stood_for).unwrap_or(i128::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::aggregate::Space;
    use super::*;
    use crate::entity::{CaptureNumber, Entity};
    use iostrata_capture::op::Direction;
    use proptest::prelude::*;

    fn of(hashes: &[u64]) -> Touches {
        let mut touches = Touches::default();
        hashes.iter().for_each(|hash| touches.touch(*hash, 1));
        touches
    }

    fn told(touches: &Touches) -> (Vec<u64>, [u64; CLASSES], Vec<u64>) {
        (touches.firsts.clone(), touches.again, touches.stack.in_order().collect())
    }

    #[test]
    fn a_cache_hits_where_it_has_room_for_what_came_between() {
        assert_eq!([0, 1, 2, 3, 4, 7, 8].map(|between| class_of(between, 1)), [0, 1, 2, 2, 3, 3, 4]);
        assert_eq!([0, 1, 2].map(|between| class_of(between, 8)), [3, 4, 5]);
        assert_eq!(class_of(u64::MAX, u64::MAX), CLASSES - 1);
        let touches = of(&[1, 1, 2, 3, 1, 2]);
        assert_eq!((touches.again[..4].to_vec(), touches.firsts.len()), (vec![1, 0, 2, 0], 3));
    }

    #[test]
    fn positions_are_given_anew_without_a_difference() {
        let hashes: Vec<u64> = (0..20_000u64).map(|number| number * number % 1_009).collect();
        let mut stack: Vec<u64> = Vec::new();
        let mut again = [0; CLASSES];
        for hash in &hashes {
            if let Some(place) = stack.iter().rposition(|block| block == hash) {
                again[class_of((stack.len() - 1 - place) as u64, 1)] += 1;
                stack.remove(place);
            }
            stack.push(*hash);
        }
        assert_eq!((of(&hashes).again, told(&of(&hashes)).2), (again, stack));
    }

    #[test]
    fn a_file_that_is_read_in_turn_again_and_again_has_its_size_as_the_distance() {
        let turn = |number: u64| Touch {
            ts_ns: 0,
            direction: Direction::Read,
            space: Space::of(&Entity::Device(CaptureNumber::default(), 1)).expect("a disk has offsets"),
            position: (number % 4) << 30,
            bytes: 1 << 30,
            ops: 1,
        };
        for halved in [5, 9, 12] {
            let mut touches = Touches::default();
            for number in 0..40 {
                turn(number).hashes_of(halved).for_each(|hash| touches.touch(hash, sampling_factor(halved)));
            }
            // 4 GiB are 2^20 blocks; a smaller cache has no hits.
            assert_eq!(touches.firsts.len() as u64 * sampling_factor(halved), 1 << 20);
            assert_eq!(touches.again[20] * sampling_factor(halved), 9 << 20);
            assert_eq!(touches.again.iter().sum::<u64>(), touches.again[20]);
        }
    }

    proptest! {
        #[test]
        fn stretches_put_together_are_the_whole(
            hashes in prop::collection::vec(0u64..20, 0..200),
            (one, other) in (0usize..200, 0usize..200),
        ) {
            let (one, other) = (one.min(other).min(hashes.len()), one.max(other).min(hashes.len()));
            let (mut first, mut middle) = (of(&hashes[..one]), of(&hashes[one..other]));
            middle.append(of(&hashes[other..]), 1);
            first.append(middle, 1);
            prop_assert_eq!(told(&first), told(&of(&hashes)));
        }
    }
}
