//! Sums, and times in flight, by key and time window.
//!
//! All windows have the same length. If there would be too many, adjacent pairs are merged: the length then depends only on the first and the last moment
//! and on the number of keys, not on the order of rows.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::valid::are_windows;

/// Something that two parts of a window are merged into.
pub trait Sum: Default {
    /// Adds the sums of the other part.
    fn add(&mut self, other: Self);
}

impl Sum for () {
    fn add(&mut self, (): ()) {}
}

/// Sums of one key in one window.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Cell<S> {
    sums: S,
    filling: Filling,
}

/// Time in flight in a window. A long operation takes at most three cells, not one for each window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Filling {
    /// Time in the window in ns, except that in `begun`.
    ns: i128,
    /// Change of the number of operations that fill this window and all later ones: the sum of the changes so far fills the window.
    begun: i64,
}

impl Filling {
    fn combine(&mut self, other: Filling) {
        self.ns = self.ns.saturating_add(other.ns);
        self.begun = self.begun.saturating_add(other.begun);
    }
}

/// Limits of the number of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Most {
    /// Maximum number of windows; at least two.
    pub windows: usize,
    /// Maximum of windows times keys, while there are more than two windows.
    pub cells: usize,
}

/// Sums by key and window number, which is the begin of a window divided by its length.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(deserialize = "K: Deserialize<'de>, S: Deserialize<'de>"))]
pub struct Windowed<K: Eq + Hash + Ord, S> {
    width_ns: i64,
    most: Most,
    keys: BTreeSet<K>,
    places: HashMap<(K, i64), usize, RandomState>,
    cells: Vec<((K, i64), Cell<S>)>,
    /// Key and index of the previous lookup.
    #[serde(skip)]
    last: Option<((K, i64), usize)>,
    /// Number of the first and of the last window.
    ends: Option<(i64, i64)>,
}

/// Sums of one key in one window, after all partial results are merged.
#[derive(Debug)]
pub struct Finished<S> {
    /// Sums; `None` if there are none.
    pub sums: Option<S>,
    /// Time in flight in ns, of all together.
    pub in_flight_ns: i128,
}

impl<K: Copy + Eq + Hash + Ord, S: Sum> Windowed<K, S> {
    /// Creates windows of this length, above zero, without sums.
    pub fn new(width_ns: i64, most: Most) -> Self {
        let (keys, places, cells, last, ends) = Default::default();
        Windowed { width_ns, most, keys, places, cells, last, ends }
    }

    /// Whether it can be merged with others of these limits, or of lower ones: a file may contain anything.
    pub fn is_sound(&self, most: Most) -> bool {
        let places = self.places.values().all(|place| *place < self.cells.len());
        let keys = self.cells.iter().all(|((key, _), _)| self.keys.contains(key));
        let ends = self.ends.is_none_or(|ends| self.width_ns > 0 && are_windows(ends, self.width_ns));
        // The windows from -1 to 0 remain two, however often they are merged.
        let limits = (2..=most.windows).contains(&self.most.windows) && self.most.cells <= most.cells;
        self.width_ns > 0 && limits && ends && !self.exceeds_limits() && places && keys
    }

    /// Returns the length of a window in ns.
    pub fn width_ns(&self) -> i64 {
        self.width_ns
    }

    /// Returns the number of windows from the first to the last.
    pub fn windows(&self) -> u64 {
        self.ends.map_or(0, |(first, last)| last.abs_diff(first).saturating_add(1))
    }

    /// Returns the sums of `key` in the window that contains `ts_ns`.
    pub fn at(&mut self, key: K, ts_ns: i64) -> &mut S {
        let place = self.place(key, ts_ns);
        &mut self.cells[place].1.sums
    }

    /// Adds `ops` operations of `key` that are in flight from `ts_ns` to `end_ns`.
    pub fn fill(&mut self, key: K, (ts_ns, end_ns): (i64, i64), ops: u64) {
        // Looked up before anything is added: windows may become wider with it.
        let (_, end) = (self.place(key, ts_ns), self.place(key, end_ns));
        let begin = self.place(key, ts_ns);
        let (width_ns, ops) = (self.width_ns, i64::try_from(ops).unwrap_or(i64::MAX));
        if begin == end {
            return self.add(begin, (end_ns.saturating_sub(ts_ns), 0), ops);
        }
        self.add(begin, (width_ns - ts_ns.rem_euclid(width_ns), 0), ops);
        // It fills the windows from the one after its first up to its last, of which it has a part.
        self.add(end, (end_ns.rem_euclid(width_ns), -1), ops);
        let next = self.place(key, (ts_ns.div_euclid(width_ns) + 1).saturating_mul(width_ns));
        self.add(next, (0, 1), ops);
    }

    fn add(&mut self, place: usize, (ns, begun): (i64, i64), ops: i64) {
        let filling = Filling { ns: i128::from(ns) * i128::from(ops), begun: begun.saturating_mul(ops) };
        self.cells[place].1.filling.combine(filling);
    }

    /// Returns the index of a cell.
    fn place(&mut self, key: K, ts_ns: i64) -> usize {
        let at = (key, ts_ns.div_euclid(self.width_ns));
        if let Some((_, place)) = self.last.filter(|(last, _)| *last == at) {
            return place;
        }
        self.keys.insert(key);
        self.reach((at.1, at.1));
        // Windows may be wider now.
        let at = (key, ts_ns.div_euclid(self.width_ns));
        let place = self.place_of(at);
        self.last = Some((at, place));
        place
    }

    fn place_of(&mut self, at: (K, i64)) -> usize {
        let cells = &mut self.cells;
        *self.places.entry(at).or_insert_with(|| {
            cells.push((at, Cell::default()));
            cells.len() - 1
        })
    }

    /// Extends the range of windows to these numbers.
    fn reach(&mut self, (first, last): (i64, i64)) {
        let (mine_first, mine_last) = self.ends.unwrap_or((first, last));
        self.ends = Some((mine_first.min(first), mine_last.max(last)));
        while self.exceeds_limits() {
            self.widen();
        }
    }

    fn exceeds_limits(&self) -> bool {
        let (windows, keys) = (self.windows(), self.keys.len() as u64);
        windows > self.most.windows as u64 || (windows > 2 && windows.saturating_mul(keys) > self.most.cells as u64)
    }

    fn widen_to(&mut self, width_ns: i64) {
        while self.width_ns < width_ns {
            self.widen();
        }
    }

    /// Merges adjacent pairs of windows.
    fn widen(&mut self) {
        let narrow_ns = self.width_ns;
        self.width_ns = narrow_ns.saturating_mul(2);
        self.ends = self.ends.map(|(first, last)| (first >> 1, last >> 1));
        (self.last, self.places) = (None, HashMap::default());
        for ((key, number), Cell { sums, filling: Filling { ns, begun } }) in std::mem::take(&mut self.cells) {
            let half = number & 1;
            let place = self.place_of((key, number >> 1));
            let whole = &mut self.cells[place].1;
            whole.sums.add(sums);
            // What fills only the second half fills the whole from the next window on.
            let ns = ns.saturating_add(i128::from(half) * i128::from(begun) * i128::from(narrow_ns));
            whole.filling.combine(Filling { ns, begun: begun * (1 - half) });
            if half * begun != 0 {
                let next = self.place_of((key, (number >> 1) + 1));
                self.cells[next].1.filling.combine(Filling { ns: 0, begun });
            }
        }
    }

    /// Adds the sums of `other`, whose windows initially had the same length.
    pub fn combine(&mut self, mut other: Self) {
        self.widen_to(other.width_ns);
        other.widen_to(self.width_ns);
        self.keys.append(&mut other.keys);
        other.ends.into_iter().for_each(|ends| self.reach(ends));
        other.widen_to(self.width_ns);
        for (at, Cell { sums, filling }) in other.cells {
            let place = self.place_of(at);
            let mine = &mut self.cells[place].1;
            mine.sums.add(sums);
            mine.filling.combine(filling);
        }
    }

    /// Widens the windows to at least this length.
    pub fn widened(mut self, width_ns: i64) -> Self {
        self.widen_to(width_ns);
        self
    }

    /// Iterates over all sums.
    pub fn sums_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.cells.iter_mut().map(|(_, cell)| &mut cell.sums)
    }

    /// Removes all sums and times in flight; the range of windows remains.
    pub fn clear(&mut self) {
        (self.last, self.places) = (None, HashMap::default());
        self.cells.clear();
    }

    /// Returns the first and the last window number, and the cells of each key.
    pub fn finish(self) -> (Option<(i64, i64)>, Lines<K, S>) {
        let width_ns = self.width_ns;
        let mut cells = self.cells;
        cells.sort_unstable_by_key(|(at, _)| *at);
        let mut lines: Lines<K, S> = Vec::new();
        for ((key, number), cell) in cells {
            match lines.last_mut().filter(|(last, _)| *last == key) {
                Some((_, line)) => line.cells.push((number, cell)),
                None => lines.push((key, Line { width_ns, cells: vec![(number, cell)] })),
            }
        }
        (self.ends, lines)
    }
}

/// Returns the part of a span in a window, in ns; below zero if there is none.
pub fn overlap_ns(number: i64, width_ns: i64, (begin_ns, end_ns): (i64, i64)) -> i64 {
    let (since_ns, until_ns) = (number.saturating_mul(width_ns), (number + 1).saturating_mul(width_ns));
    until_ns.min(end_ns).saturating_sub(since_ns.max(begin_ns))
}

/// Cells of each key, by key.
pub type Lines<K, S> = Vec<(K, Line<S>)>;

/// Cells of one key, by window number.
#[derive(Debug, Clone)]
pub struct Line<S> {
    width_ns: i64,
    cells: Vec<(i64, Cell<S>)>,
}

impl<S> Line<S> {
    /// Returns the sums of the windows with these numbers, windows without any included.
    pub fn over(self, (first, last): (i64, i64)) -> impl Iterator<Item = Finished<S>> {
        let (width_ns, mut cells, mut filled) = (self.width_ns, self.cells.into_iter().peekable(), 0i64);
        (first..=last).map(move |number| {
            let cell = cells.next_if(|(at, _)| *at == number).map(|(_, cell)| cell);
            let Filling { ns, begun } = cell.as_ref().map(|cell| cell.filling).unwrap_or_default();
            filled = filled.saturating_add(begun);
            // A sum of integers does not depend on the order of additions.
            let in_flight_ns = ns.saturating_add(i128::from(filled).saturating_mul(i128::from(width_ns)));
            Finished { sums: cell.map(|cell| cell.sums), in_flight_ns }
        })
    }
}
