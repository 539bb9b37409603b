//! Blocks of files and disks that operations touch: distinct blocks, repeated touches, and distinct blocks per time window.
//!
//! If there are more distinct blocks than fit, those with a hash below a threshold are kept. The threshold is halved each time there are too many
//! (spatially hashed sampling: Waldspurger et al., FAST 2015). The kept blocks then depend only on the set of blocks, not on the order of arrival,
//! and each of them has been counted since its first touch.
//!
//! A long operation is kept as a range instead of its blocks, which are counted without an estimate: the cost of an operation does not grow with
//! its size.

mod kept;
mod ranges;
mod sampled;

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use iostrata_capture::op::{Direction, Layer};
use serde::{Deserialize, Serialize};

use crate::aggregate::Precision;
use crate::aggregate::any_order::{Accumulate, Aggregate, Context};
use crate::aggregate::requests::Needs;
use crate::aggregate::sequence::{BySubject, Owners, Subject};
use crate::entity::{Entities, Entity, FileId, PerPlace, Place, Places, Scope};
use crate::scan::entries::Entries;
use crate::valid::are_windows;
use kept::{Kept, Limits};

/// Size of a block in bytes.
pub const BLOCK_BYTES: u64 = 4_096;

/// Maximum number of kept blocks of a subject: with more, their hash table would be twice as large.
pub const MOST_BLOCKS: usize = 7 << 13;

/// Maximum number of kept blocks of a time window.
pub const MOST_IN_WINDOW: usize = 7 << 7;

/// Maximum number of time windows.
pub const MOST_WINDOWS: u64 = 512;

/// Minimum length of a window in ns.
const LEAST_WINDOW_NS: i64 = 1 << 20;

/// Maximum number of blocks of an operation that is not long: 64 MiB.
const LONG_BLOCKS: u64 = 1 << 14;

/// Maximum number of blocks that one operation touches: the kernel counts the bytes of a request in 32 bits, and a call moves less.
const MOST_OF_ONE: u64 = (1 << 20) + 1;

/// Number of touches of blocks up to which reuse distances process all touches individually.
const LEAST_LOOKS: u64 = 1 << 24;

/// Number of touches per operation that they process beyond that: their cost grows with the number of operations, whatever sizes these claim.
const LOOKS_OF_ONE: u64 = 64;

/// Hashes words; the hash is the same on every machine and in every run.
fn hash(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0, mix)
}

/// Finalizer of splitmix64 (Steele et al., OOPSLA 2014), for a word that follows others with this hash.
#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    let mut mixed = (hash ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Returns how often a number of blocks must be halved to fit into `room`, which is not zero.
fn halvings(blocks: u64, room: u64) -> u32 {
    blocks.div_ceil(room).max(1).checked_next_power_of_two().map_or(u64::BITS, u64::ilog2)
}

/// Returns the sampling factor after this number of halvings.
pub fn sampling_factor(halved: u32) -> u64 {
    1u64.checked_shl(halved).unwrap_or(u64::MAX)
}

/// Address space of block numbers: a file or a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space(u64);

impl Space {
    /// Returns the address space of an entity; `None` if it has no offsets.
    pub fn of(entity: &Entity) -> Option<Space> {
        match *entity {
            Entity::File(capture, FileId { dev, ino, generation }) => {
                let generation = generation.map_or(u64::MAX, |generation| generation as u64);
                Some(Space(hash([1, u64::from(capture.key()), dev as u64, ino as u64, generation])))
            }
            Entity::Device(capture, dev) => Some(Space(hash([2, u64::from(capture.key()), dev as u64]))),
            _ => None,
        }
    }
}

/// Operation, or several that are equal.
#[derive(Debug, Clone, Copy)]
pub struct Touch {
    /// Begin.
    pub ts_ns: i64,
    /// Direction.
    pub direction: Direction,
    /// File or disk.
    pub space: Space,
    /// Offset in bytes.
    pub position: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// Weight.
    pub ops: u64,
}

impl Touch {
    /// Returns the first block that it touches, and the number of blocks.
    pub fn blocks(&self) -> (u64, u64) {
        let first = self.position / BLOCK_BYTES;
        let end = self.position.saturating_add(self.bytes).div_ceil(BLOCK_BYTES);
        (first, end.saturating_sub(first))
    }

    /// Whether it can have touched them: a size that no operation has is an error of the writer of the capture.
    pub fn can_be(&self) -> bool {
        self.blocks().1 <= MOST_OF_ONE
    }

    /// Returns the hash of each block that it touches.
    pub fn hashes(&self) -> impl Iterator<Item = u64> {
        self.hashes_of(0)
    }

    /// Returns the hash of each sampled block that it touches, one in 2^`halved`: of this many adjacent blocks, the one that a hash of them all
    /// selects. The cost grows with the number of sampled blocks, not of all blocks.
    pub fn hashes_of(&self, halved: u32) -> impl Iterator<Item = u64> {
        let (space, (first, count)) = (self.space.0, self.blocks());
        let of_space = hash([space]);
        let (halved, end) = (halved.min(u64::BITS - 1), first.saturating_add(count));
        let groups = if count == 0 { 0..0 } else { first >> halved..((end - 1) >> halved) + 1 };
        let one_of = move |group: u64| match halved {
            0 => group,
            _ => group << halved | hash([space, group, u64::from(halved)]) & ((1 << halved) - 1),
        };
        groups.map(one_of).filter(move |block| (first..end).contains(block)).map(move |block| mix(of_space, block))
    }
}

/// Address spaces of entities.
#[derive(Debug, Default)]
pub struct Spaces(PerPlace<Option<Space>>);

impl Spaces {
    /// Returns the address space of the offsets of an operation of `layer` with these entities.
    pub fn of(&mut self, layer: Layer, places: &Places, entities: &Entities) -> Option<Space> {
        let place = places.of_positions(layer);
        *self.0.of(place, || Space::of(&entities.of(place)))
    }
}

/// Blocks of one subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blocks {
    /// Number of touched blocks, by direction.
    touched: [u64; 2],
    /// Number of operations of a possible size, and of the blocks that these touched.
    possible: (u64, u64),
    kept: Kept,
}

impl Blocks {
    fn new(limits: Limits) -> Blocks {
        Blocks { touched: [0; 2], possible: (0, 0), kept: Kept::new(limits) }
    }

    /// Adds the blocks that an operation touches; without `hashes`, if all of them that are kept are known already. Returns whether they are.
    fn add(&mut self, touch: &Touch, hashes: Option<&[u64]>) -> bool {
        let direction = touch.direction as usize;
        let touched = touch.blocks().1.saturating_mul(touch.ops);
        self.touched[direction] = self.touched[direction].saturating_add(touched);
        if touch.can_be() {
            self.add_possible((touch.ops, touched));
        }
        hashes.is_none_or(|hashes| self.kept.add(touch, hashes))
    }

    fn add_possible(&mut self, (operations, touched): (u64, u64)) {
        let (all, all_touched) = self.possible;
        self.possible = (all.saturating_add(operations), all_touched.saturating_add(touched));
    }

    /// Returns how often the number of blocks is halved for reuse distances: so that the distinct blocks fit, and that repeated touches by long
    /// operations do not take more time than they are worth.
    fn halved(&self) -> u32 {
        if self.kept.sampled.most() == usize::MAX {
            return 0;
        }
        let (operations, touched) = self.possible;
        let looks = operations.saturating_mul(LOOKS_OF_ONE).max(LEAST_LOOKS);
        self.kept.halved().max(halvings(touched, looks))
    }

    fn combine(&mut self, other: Blocks) {
        for (mine, theirs) in self.touched.iter_mut().zip(other.touched) {
            *mine = mine.saturating_add(theirs);
        }
        self.add_possible(other.possible);
        self.kept.combine(other.kept);
    }

    fn finish(&self) -> Finished {
        let [read, write, unique] = self.kept.different();
        let way = |direction: usize, unique: u64| {
            let touched = self.touched[direction];
            // Touches are not estimated from the kept blocks: a block that is touched more often than all others may not be kept.
            let again = (touched > 0).then(|| touched.saturating_sub(unique) as f64 / touched as f64);
            Way { touched, unique, again }
        };
        Finished { ways: [way(0, read), way(1, write)], unique, sampling_factor: self.kept.sampled.sampling_factor() }
    }
}

/// Blocks that the reads, or the writes, of a subject touch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    /// Number of touched blocks; a block counts at each touch.
    pub touched: u64,
    /// Number of distinct blocks.
    pub unique: u64,
    /// Share of the touched blocks that had been touched in the same direction before.
    pub again: Option<f64>,
}

/// Blocks that a subject touches.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// By direction.
    pub ways: [Way; 2],
    /// Number of distinct blocks, in either direction.
    pub unique: u64,
    /// Sampling factor: one block in this many was sampled. If it is above one, the numbers of distinct blocks are estimates.
    pub sampling_factor: u64,
}

/// Blocks of a layer by time window. If there would be too many windows, adjacent pairs are merged.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Windows {
    width_ns: i64,
    ends: Option<(i64, i64)>,
    limits: Limits,
    windows: HashMap<i64, Kept, RandomState>,
}

impl Windows {
    /// Whether the width has only been doubled: another would never become equal, or merge windows of unequal lengths.
    fn is_sound(&self) -> bool {
        self.width_ns >= LEAST_WINDOW_NS
            && self.width_ns.count_ones() == 1
            && self.ends.is_none_or(|ends| are_windows(ends, self.width_ns))
    }

    fn new(limits: Limits) -> Windows {
        Windows { width_ns: LEAST_WINDOW_NS, ends: None, limits, windows: HashMap::default() }
    }

    fn add(&mut self, touch: &Touch, hashes: &[u64]) {
        let number = |windows: &Windows| touch.ts_ns.div_euclid(windows.width_ns);
        self.reach((number(self), number(self)));
        let (number, limits) = (number(self), self.limits);
        self.windows.entry(number).or_insert_with(|| Kept::new(limits)).add(touch, hashes);
    }

    fn reach(&mut self, (first, last): (i64, i64)) {
        let (mine_first, mine_last) = self.ends.unwrap_or((first, last));
        self.ends = Some((mine_first.min(first), mine_last.max(last)));
        while self.ends.is_some_and(|(first, last)| last.abs_diff(first) >= MOST_WINDOWS) {
            self.widen_to(self.width_ns.saturating_mul(2));
        }
    }

    fn widen_to(&mut self, width_ns: i64) {
        while self.width_ns < width_ns {
            self.width_ns = self.width_ns.saturating_mul(2);
            self.ends = self.ends.map(|(first, last)| (first >> 1, last >> 1));
            let narrow = std::mem::take(&mut self.windows);
            narrow.into_iter().for_each(|(number, of)| self.put(number >> 1, of));
        }
    }

    fn put(&mut self, number: i64, of: Kept) {
        let limits = self.limits;
        self.windows.entry(number).or_insert_with(|| Kept::new(limits)).combine(of);
    }

    fn combine(&mut self, mut other: Windows) {
        self.widen_to(other.width_ns);
        other.widen_to(self.width_ns);
        other.ends.into_iter().for_each(|ends| self.reach(ends));
        other.widen_to(self.width_ns);
        other.windows.into_iter().for_each(|(number, of)| self.put(number, of));
    }

    fn finish(self) -> Vec<Window> {
        let window = |(number, of): (&i64, &Kept)| {
            let [read, write, unique] = of.different();
            Window {
                since_ns: number.saturating_mul(self.width_ns),
                width_ns: self.width_ns.unsigned_abs(),
                ways: [read, write],
                unique,
                sampling_factor: of.sampled.sampling_factor(),
            }
        };
        let mut windows: Vec<Window> = self.windows.iter().map(window).collect();
        windows.sort_unstable_by_key(|window| window.since_ns);
        windows
    }
}

/// Distinct blocks that are touched in a time window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Begin, on the clock of `ts_ns`.
    pub since_ns: i64,
    /// Length in ns.
    pub width_ns: u64,
    /// Number of distinct blocks, by direction.
    pub ways: [u64; 2],
    /// Number of distinct blocks, in either direction.
    pub unique: u64,
    /// Sampling factor: one block in this many was sampled.
    pub sampling_factor: u64,
}

/// Blocks of a layer, while operations are added.
struct Taken {
    subjects: BySubject<Option<Blocks>>,
    windows: Windows,
}

/// Blocks of all layers, while operations are added.
pub struct Walk {
    /// Maximum number of kept blocks of a subject.
    most: usize,
    most_in_window: usize,
    layers: BTreeMap<Layer, Taken>,
    /// Hash of each block of the operation that is being added.
    hashes: Vec<u64>,
    /// Files and disks that offsets refer to.
    spaces: Spaces,
}

impl Walk {
    /// Creates the blocks without operations.
    fn new(precision: Precision) -> Walk {
        let limit = |most: usize| if precision == Precision::Exact { usize::MAX } else { most };
        let (most, most_in_window) = (limit(MOST_BLOCKS), limit(MOST_IN_WINDOW));
        Walk { most, most_in_window, layers: BTreeMap::new(), hashes: Vec::new(), spaces: Spaces::default() }
    }

    /// Adds an operation of `layer`, of the system in `slot` and on the disk at `device`.
    fn add(&mut self, layer: Layer, touch: &Touch, (slot, device): (u32, Place)) {
        let (of_subject, of_window) = ((self.most, LONG_BLOCKS), (self.most_in_window, LONG_BLOCKS));
        let taken = self
            .layers
            .entry(layer)
            .or_insert_with(|| Taken { subjects: BySubject::default(), windows: Windows::new(of_window) });
        let hashes = &mut self.hashes;
        hashes.clear();
        if touch.blocks().1 <= LONG_BLOCKS {
            hashes.extend(touch.hashes());
        }
        // Blocks that are known for a system or a disk are known for all operations together, or not kept there: these keep one in as many blocks or
        // more.
        let mut known = false;
        taken.subjects.each_and_all((slot, device), |blocks, is_all| {
            let hashes = (!(is_all && known)).then_some(hashes.as_slice());
            known |= blocks.get_or_insert_with(|| Blocks::new(of_subject)).add(touch, hashes);
        });
        taken.windows.add(touch, hashes);
    }

    /// Returns the footprint of all added operations.
    fn finish(self, owners: &Owners) -> Footprint {
        let mut footprint = Footprint::default();
        for (layer, Taken { subjects, windows }) in self.layers {
            let blocks = subjects.finish(owners).into_iter();
            footprint.subjects.extend(blocks.filter_map(|(subject, blocks)| Some(((layer, subject), blocks?))));
            footprint.windows.insert(layer, windows);
        }
        footprint
    }
}

/// Blocks that all subjects touch, and those of each layer by time window.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Footprint {
    subjects: BTreeMap<(Layer, Subject), Blocks>,
    windows: BTreeMap<Layer, Windows>,
}

impl Footprint {
    /// Adds the blocks of `other`.
    fn combine(&mut self, other: Footprint) {
        for (of, blocks) in other.subjects {
            match self.subjects.get_mut(&of) {
                Some(mine) => mine.combine(blocks),
                None => drop(self.subjects.insert(of, blocks)),
            }
        }
        for (layer, windows) in other.windows {
            match self.windows.get_mut(&layer) {
                Some(mine) => mine.combine(windows),
                None => drop(self.windows.insert(layer, windows)),
            }
        }
    }

    /// Returns the results by layer and subject, in order.
    pub fn subjects(&self) -> BTreeMap<(Layer, Subject), Finished> {
        self.subjects.iter().map(|(of, blocks)| (of.clone(), blocks.finish())).collect()
    }

    /// Returns how often the number of blocks is halved for reuse distances, by layer.
    pub fn halved(&self) -> [u32; Layer::ALL.len()] {
        let of = |layer: Layer| self.subjects.get(&(layer, Subject::All)).map_or(0, Blocks::halved);
        std::array::from_fn(|layer| of(Layer::ALL[layer]))
    }

    /// Returns the windows that have any blocks by layer, in order.
    pub fn windows(&self) -> Vec<(Layer, Window)> {
        let of = |(layer, windows): (&Layer, &Windows)| {
            windows.clone().finish().into_iter().map(|window| (*layer, window)).collect::<Vec<_>>()
        };
        self.windows.iter().flat_map(of).collect()
    }
}

impl Accumulate for Walk {
    fn update(&mut self, entries: &Entries) {
        for entry in entries.each().filter(|entry| entry.ops > 0 && entry.size > 0) {
            let position = entry.position.and_then(|position| u64::try_from(position).ok());
            let (Some(direction), Some(position), Some(places)) = (entry.direction, position, entries.places(&entry))
            else {
                continue;
            };
            let device = places.0[Scope::Device as usize];
            if let Some(space) = self.spaces.of(entries.layer, &places, entries.entities) {
                let (ts_ns, bytes, ops) = (entry.ts_ns, entry.size, u64::from(entry.ops));
                let touch = Touch { ts_ns, direction, space, position, bytes, ops };
                self.add(entries.layer, &touch, (entry.slot(), device));
            }
        }
    }
}

impl Aggregate for Footprint {
    const NAME: &'static str = "footprint";
    const VERSION: u32 = 2;
    const NEEDS: Needs = Needs { positions: true, memory_bytes: (64 << 20, 56 << 20), ..Needs::NOTHING };
    type Config = ();
    type Open = Walk;
    type Finished = Footprint;

    fn open((): &(), precision: Precision) -> Walk {
        Walk::new(precision)
    }

    fn close(walk: Walk, owners: &Owners) -> Footprint {
        walk.finish(owners)
    }

    fn is_sound(&self) -> bool {
        self.windows.values().all(Windows::is_sound)
    }

    fn combine(&mut self, other: Footprint) {
        self.combine(other);
    }

    fn finish(self, _context: &Context) -> Footprint {
        self
    }
}

#[cfg(test)]
mod tests;
