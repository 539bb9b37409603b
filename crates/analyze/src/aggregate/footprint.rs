//! Which blocks of files and disks operations touch: how many different ones, how often again, and how many of them in a while.
//!
//! Where there are more different blocks than there is room for, those are kept whose hash is below a threshold, which is halved each time
//! they are too many (spatially hashed sampling: Waldspurger et al., FAST 2015). What is kept then follows from the set of blocks alone,
//! whatever the order in which they came, and each of them has been counted from the first time on.
//!
//! Of an operation that is long the range is kept in place of its blocks, which are counted without an estimate: what it costs does not follow its size.

mod kept;
mod ranges;
mod sampled;

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use iostrata_capture::op::{Direction, Layer};
use serde::{Deserialize, Serialize};

use super::Precision;
use super::sequence::{BySubject, Owners, Subject};
use crate::entity::{Entities, Entity, FileId, PerPlace, Place, Places};
use kept::{Kept, Limits};

/// The size of a block.
pub const BLOCK_BYTES: u64 = 4_096;

/// Of one subject so many blocks are kept at most: with more, their hash table would be twice as large.
pub const MOST_BLOCKS: usize = 7 << 13;

/// Of one window of time so many blocks are kept at most.
pub const MOST_IN_WINDOW: usize = 7 << 7;

/// There are no more windows of time than that.
pub const MOST_WINDOWS: u64 = 512;

/// Windows are at least that long.
const LEAST_WINDOW_NS: i64 = 1 << 20;

/// An operation that touches more blocks is long: 64 MiB.
const LONG_BLOCKS: u64 = 1 << 14;

/// One operation touches no more blocks than that: the kernel counts the bytes of a request in 32 bits, and a call moves less.
const MOST_OF_ONE: u64 = (1 << 20) + 1;

/// Of distances of reuse, blocks are looked at one by one up to so many, each as often as it was touched,
const LEAST_LOOKS: u64 = 1 << 24;

/// and beyond that up to so many for each operation: what they cost follows the operations, whatever sizes these claim.
const LOOKS_OF_ONE: u64 = 64;

/// A hash of words that is the same on every machine and in every run.
fn hash(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0, mix)
}

/// The finalizer of splitmix64 (Steele et al., OOPSLA 2014), of a word after others that have this hash.
#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    let mut mixed = (hash ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// How often a number of blocks is halved so that there are no more than there is room for, which is not none.
fn halvings(blocks: u64, room: u64) -> u32 {
    blocks.div_ceil(room).max(1).next_power_of_two().ilog2()
}

/// One in so many blocks is looked at, when their number was halved so often.
pub fn one_in(halved: u32) -> u64 {
    1u64.checked_shl(halved).unwrap_or(u64::MAX)
}

/// A file or a disk, in which blocks have numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space(u64);

impl Space {
    /// The space that an entity is; `None` of what has no places.
    pub fn of(entity: &Entity) -> Option<Space> {
        match *entity {
            Entity::File(capture, FileId { dev, ino, generation }) => {
                let generation = generation.map_or(u64::MAX, |generation| generation as u64);
                Some(Space(hash([1, capture as u64, dev as u64, ino as u64, generation])))
            }
            Entity::Device(capture, dev) => Some(Space(hash([2, capture as u64, dev as u64]))),
            _ => None,
        }
    }
}

/// One operation, or several that are alike.
#[derive(Debug, Clone, Copy)]
pub struct Touch {
    /// When it began.
    pub ts_ns: i64,
    /// Which way it moved bytes.
    pub direction: Direction,
    /// The file or disk.
    pub space: Space,
    /// Where it is there.
    pub position: u64,
    /// How long it is.
    pub bytes: u64,
    /// For how many operations it stands.
    pub ops: u64,
}

impl Touch {
    /// The first block that it touches, and how many it does.
    pub fn blocks(&self) -> (u64, u64) {
        let first = self.position / BLOCK_BYTES;
        let end = self.position.saturating_add(self.bytes).div_ceil(BLOCK_BYTES);
        (first, end.saturating_sub(first))
    }

    /// Whether it can have touched them: a size that no operation has is a mistake of who wrote it down.
    pub fn can_be(&self) -> bool {
        self.blocks().1 <= MOST_OF_ONE
    }

    /// The hash of each block that it touches.
    pub fn hashes(&self) -> impl Iterator<Item = u64> {
        self.hashes_of(0)
    }

    /// The hash of each block that it touches, of one in 2^`halved`: of so many neighbours that one which a hash of them all says. What it costs
    /// follows how many these are, not how many blocks there are.
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

/// The spaces of places.
#[derive(Debug, Default)]
pub struct Spaces(PerPlace<Option<Space>>);

impl Spaces {
    /// In which space positions of an operation of `layer` at these places are.
    pub fn of(&mut self, layer: Layer, places: &Places, entities: &Entities) -> Option<Space> {
        let place = places.of_positions(layer);
        *self.0.of(place, || Space::of(&entities.of(place)))
    }
}

/// The blocks of one subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blocks {
    /// How many blocks operations touched, by direction.
    touched: [u64; 2],
    /// Operations that there can be, and how many blocks these touched.
    possible: (u64, u64),
    kept: Kept,
}

impl Blocks {
    fn new(limits: Limits) -> Blocks {
        Blocks { touched: [0; 2], possible: (0, 0), kept: Kept::new(limits) }
    }

    /// Adds those that an operation touches; without `hashes`, where all that are kept of these are known already.
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

    /// How often the number of blocks that distances of reuse look at is halved: so that there is room for the different ones, and that
    /// what is touched again and again by operations that are long is not looked at for longer than they are worth.
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
            // Of how often blocks are touched nothing is estimated: one that is touched more often than all others may not be kept.
            let again = (touched > 0).then(|| touched.saturating_sub(unique) as f64 / touched as f64);
            Way { touched, unique, again }
        };
        Finished { ways: [way(0, read), way(1, write)], unique, one_in: self.kept.sampled.one_in() }
    }
}

/// What reads, or writes, of a subject touch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    /// Blocks, each as often as it was touched.
    pub touched: u64,
    /// Different ones.
    pub unique: u64,
    /// The share of these that had been touched the same way before.
    pub again: Option<f64>,
}

/// What a subject touches.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// By direction.
    pub ways: [Way; 2],
    /// Different blocks, whichever way they were touched.
    pub unique: u64,
    /// One in so many blocks was looked at: the numbers of different ones are estimates where that is more than one.
    pub one_in: u64,
}

/// Blocks of a layer by window of time. Where there would be too many windows, each two become one.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Windows {
    width_ns: i64,
    ends: Option<(i64, i64)>,
    limits: Limits,
    windows: HashMap<i64, Kept, RandomState>,
}

impl Windows {
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
                one_in: of.sampled.one_in(),
            }
        };
        let mut windows: Vec<Window> = self.windows.iter().map(window).collect();
        windows.sort_unstable_by_key(|window| window.since_ns);
        windows
    }
}

/// Different blocks that are touched in a window of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// When it begins, in `ts_ns`.
    pub since_ns: i64,
    /// How long it is.
    pub width_ns: u64,
    /// Different blocks, by direction.
    pub ways: [u64; 2],
    /// Different blocks, whichever way.
    pub unique: u64,
    /// One in so many blocks was looked at.
    pub one_in: u64,
}

/// The blocks of a layer, while operations are taken.
struct Taken {
    subjects: BySubject<Option<Blocks>>,
    windows: Windows,
}

/// The blocks of all layers, while operations are taken.
pub struct Walk {
    /// How many blocks are kept of a subject.
    most: usize,
    most_in_window: usize,
    layers: BTreeMap<Layer, Taken>,
    /// The hash of each block of the operation that is being taken.
    hashes: Vec<u64>,
    /// The files and disks that positions are in.
    pub spaces: Spaces,
}

impl Walk {
    /// No operations yet.
    pub fn new(precision: Precision) -> Walk {
        let limit = |most: usize| if precision == Precision::Exact { usize::MAX } else { most };
        let (most, most_in_window) = (limit(MOST_BLOCKS), limit(MOST_IN_WINDOW));
        Walk { most, most_in_window, layers: BTreeMap::new(), hashes: Vec::new(), spaces: Spaces::default() }
    }

    /// Adds an operation of `layer` that is of the system in `slot` and on the disk at `device`.
    pub fn add(&mut self, layer: Layer, touch: &Touch, (slot, device): (u32, Place)) {
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
        // What a system or a disk knows, all together know or have no room for: they keep one in as many blocks or more.
        let mut known = false;
        taken.subjects.each_and_all((slot, device), |blocks, is_all| {
            let hashes = (!(is_all && known)).then_some(hashes.as_slice());
            known |= blocks.get_or_insert_with(|| Blocks::new(of_subject)).add(touch, hashes);
        });
        taken.windows.add(touch, hashes);
    }

    /// The footprint of all that was added.
    pub fn finish(self, owners: &Owners) -> Footprint {
        let mut footprint = Footprint::default();
        for (layer, Taken { subjects, windows }) in self.layers {
            let blocks = subjects.finish(owners).into_iter();
            footprint.subjects.extend(blocks.filter_map(|(subject, blocks)| Some(((layer, subject), blocks?))));
            footprint.windows.insert(layer, windows);
        }
        footprint
    }
}

/// The blocks that all subjects touch, and those of each layer by window of time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Footprint {
    subjects: BTreeMap<(Layer, Subject), Blocks>,
    windows: BTreeMap<Layer, Windows>,
}

impl Footprint {
    /// Whether it can be added to others.
    pub fn is_sound(&self) -> bool {
        self.windows.values().all(|windows| windows.width_ns > 0)
    }

    /// Adds what `other` has.
    pub fn combine(&mut self, other: Footprint) {
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

    /// By layer and subject, in order.
    pub fn subjects(&self) -> BTreeMap<(Layer, Subject), Finished> {
        self.subjects.iter().map(|(of, blocks)| (of.clone(), blocks.finish())).collect()
    }

    /// Of each layer, how often the number of blocks that distances of reuse look at is halved.
    pub fn halved(&self) -> [u32; Layer::ALL.len()] {
        let of = |layer: Layer| self.subjects.get(&(layer, Subject::All)).map_or(0, Blocks::halved);
        std::array::from_fn(|layer| of(Layer::ALL[layer]))
    }

    /// By layer: the windows that have any, in order.
    pub fn windows(&self) -> Vec<(Layer, Window)> {
        let of = |(layer, windows): (&Layer, &Windows)| {
            windows.clone().finish().into_iter().map(|window| (*layer, window)).collect::<Vec<_>>()
        };
        self.windows.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests;
