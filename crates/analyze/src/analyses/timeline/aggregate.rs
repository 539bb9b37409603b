//! Operations, bytes, durations and operations in flight by time window.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use iostrata_capture::op::{Direction, Layer};
use serde::{Deserialize, Serialize};

use crate::aggregate::Precision;
use crate::aggregate::any_order::{Accumulate, Aggregate, Context};
use crate::aggregate::count::{DIRECTIONS, Moved};
use crate::aggregate::sequence::Owners;
use crate::aggregate::sparse::Sparse;
use crate::scan::entries::Entries;

/// Fields of a row that the timeline needs.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// Begin.
    ts_ns: i64,
    direction: Option<Direction>,
    /// Number of operations that it represents; 0 if it has bytes of an operation that is counted elsewhere.
    ops: u64,
    /// Number of bytes.
    bytes: u64,
    /// Duration of each in ns, if known.
    ns: Option<u64>,
}

/// Reads or writes of one layer that began in a window.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cell {
    /// Sums.
    pub moved: Moved,
    /// Durations.
    pub durations: Sparse,
}

/// Cells by layer and direction.
type Cells = [[Cell; DIRECTIONS.len()]; Layer::ALL.len()];

/// Time window.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Window {
    cells: Cells,
    under_way: [UnderWay; Layer::ALL.len()],
}

/// Operations of a layer that are in flight in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct UnderWay {
    /// Their time in the window in ns, except that of the operations in `begun`.
    ns: i128,
    /// Number of operations that fill the window, relative to the previous window.
    begun: i64,
}

impl UnderWay {
    fn add(&mut self, (ns, begun): (i64, i64), ops: u64) {
        let ops = i64::try_from(ops).unwrap_or(i64::MAX);
        let begun = begun.saturating_mul(ops);
        self.combine(UnderWay { ns: i128::from(ns) * i128::from(ops), begun });
    }

    fn combine(&mut self, other: UnderWay) {
        self.ns = self.ns.saturating_add(other.ns);
        self.begun = self.begun.saturating_add(other.begun);
    }
}

impl Window {
    /// Adds the contents of one half of it, the first (0) or the second (1), of length `half_ns`.
    fn add(&mut self, cells: Cells, under_way: [UnderWay; Layer::ALL.len()], half: i64, half_ns: i64) {
        self.add_cells(cells);
        for (mine, UnderWay { ns, begun }) in self.under_way.iter_mut().zip(under_way) {
            // Operations that fill only the second half fill the whole from the next window on.
            let ns = ns.saturating_add(i128::from(half) * i128::from(begun) * i128::from(half_ns));
            mine.combine(UnderWay { ns, begun: begun * (1 - half) });
        }
    }

    fn add_cells(&mut self, cells: Cells) {
        for (mine, theirs) in self.cells.as_flattened_mut().iter_mut().zip(cells.into_iter().flatten()) {
            mine.moved.add(&theirs.moved);
            mine.durations.combine(theirs.durations);
        }
    }

    /// Returns the operations of `layer` in `direction` that began in it.
    pub fn of(&self, layer: Layer, direction: Direction) -> &Cell {
        &self.cells[layer as usize][direction as usize]
    }
}

/// Maximum number of windows if a user requests their width: each may take some ten KiB.
pub const MOST_WINDOWS: usize = 10_000;

/// Maximum number of windows otherwise: no figure has as many pixels.
pub const MOST_UNASKED: usize = 5_000;

/// Division of time into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Length of a window in ns, while there are not too many; above zero.
    pub width_ns: i64,
    /// Maximum number of windows, up to [`MOST_WINDOWS`].
    pub most: usize,
}

/// Windows by number: their begin, on the clock of `ts_ns`, divided by their width. If there are too many, adjacent pairs are merged. The
/// width then depends only on the first and the last moment, not on the order of rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timeline {
    width_ns: i64,
    most: usize,
    places: HashMap<i64, usize, RandomState>,
    windows: Vec<(i64, Window)>,
    /// Number and index of the window of the previous lookup.
    #[serde(skip)]
    last: Option<(i64, usize)>,
    /// Number of the first and of the last window.
    ends: Option<(i64, i64)>,
}

/// All windows from the first to the last, after all partial results are merged.
#[derive(Debug)]
pub struct Line {
    /// Length of a window in ns.
    pub width_ns: i64,
    /// Windows, including those without operations.
    pub windows: Vec<Finished>,
}

/// Window, after all partial results are merged.
#[derive(Debug)]
pub struct Finished {
    /// Begin, on the clock of `ts_ns`.
    pub since_ns: i64,
    /// Operations that began in it; `None` if there are none.
    pub window: Option<Window>,
    /// Mean number of operations in flight, by layer.
    pub under_way: [f64; Layer::ALL.len()],
}

impl Timeline {
    /// Creates a timeline without rows.
    fn new(Windows { width_ns, most }: Windows) -> Timeline {
        Timeline { width_ns, most, ..Timeline::default() }
    }

    /// Adds a row of `layer`.
    fn add(&mut self, layer: Layer, moment: &Moment) {
        let Moment { ts_ns, direction, ops, bytes, ns } = *moment;
        let place = self.place(ts_ns);
        if let Some(direction) = direction {
            let cell = &mut self.windows[place].1.cells[layer as usize][direction as usize];
            let timed = if ns.is_some() { ops } else { 0 };
            let sum_ns = u128::from(ns.unwrap_or(0)) * u128::from(timed);
            cell.moved.add(&Moved { ops, bytes, timed, sum_ns });
            if let Some(ns) = ns.filter(|_| ops > 0) {
                cell.durations.add(ns, ops);
            }
        }
        if let Some(ns) = ns.filter(|_| ops > 0) {
            self.add_under_way(layer, ts_ns, (ns, ops));
        }
    }

    fn add_under_way(&mut self, layer: Layer, ts_ns: i64, (ns, ops): (u64, u64)) {
        let end_ns = ts_ns.saturating_add_unsigned(ns);
        // Looked up before anything is added: windows may become wider with it.
        let (_, end) = (self.place(ts_ns), self.place(end_ns));
        let begin = self.place(ts_ns);
        let (width_ns, mut add) = (self.width_ns, |place: usize, (ns, begun): (i64, i64)| {
            self.windows[place].1.under_way[layer as usize].add((ns, begun), ops);
        });
        if begin == end {
            return add(begin, (end_ns - ts_ns, 0));
        }
        add(begin, (width_ns - ts_ns.rem_euclid(width_ns), 0));
        // The operation fills the windows from the one after its first up to its last, of which it has a part.
        add(end, (end_ns.rem_euclid(width_ns), -1));
        let next = self.place((ts_ns.div_euclid(width_ns) + 1).saturating_mul(width_ns));
        self.windows[next].1.under_way[layer as usize].add((0, 1), ops);
    }

    /// Returns the index of the window that contains `ts_ns`.
    fn place(&mut self, ts_ns: i64) -> usize {
        let number = ts_ns.div_euclid(self.width_ns);
        if let Some((_, place)) = self.last.filter(|(last, _)| *last == number) {
            return place;
        }
        self.reach((number, number));
        // Windows may be wider now.
        let place = self.place_of(ts_ns.div_euclid(self.width_ns));
        self.last = Some((ts_ns.div_euclid(self.width_ns), place));
        place
    }

    fn place_of(&mut self, number: i64) -> usize {
        let windows = &mut self.windows;
        *self.places.entry(number).or_insert_with(|| {
            windows.push((number, Window::default()));
            windows.len() - 1
        })
    }

    /// Extends the range of windows to these numbers.
    fn reach(&mut self, (first, last): (i64, i64)) {
        let (mine_first, mine_last) = self.ends.unwrap_or((first, last));
        self.ends = Some((mine_first.min(first), mine_last.max(last)));
        while self.len() > self.most as u64 {
            self.widen();
        }
    }

    fn widen_to(&mut self, width_ns: i64) {
        while self.width_ns < width_ns {
            self.widen();
        }
    }

    /// Merges adjacent pairs of windows.
    fn widen(&mut self) {
        self.settle();
        let narrow_ns = self.width_ns;
        self.width_ns = narrow_ns.saturating_mul(2);
        self.ends = self.ends.map(|(first, last)| (first >> 1, last >> 1));
        (self.last, self.places) = (None, HashMap::default());
        for (number, Window { cells, under_way }) in std::mem::take(&mut self.windows) {
            let place = self.place_of(number >> 1);
            self.windows[place].1.add(cells, under_way, number & 1, narrow_ns);
            let later = under_way.map(|of| UnderWay { ns: 0, begun: of.begun * (number & 1) });
            if later.iter().any(|of| of.begun != 0) {
                let next = self.place_of((number >> 1) + 1);
                let Window { under_way, .. } = &mut self.windows[next].1;
                under_way.iter_mut().zip(later).for_each(|(mine, later)| mine.combine(later));
            }
        }
    }

    /// Frees memory where possible.
    fn settle(&mut self) {
        let cells = self.windows.iter_mut().flat_map(|(_, window)| window.cells.as_flattened_mut());
        cells.for_each(|cell| cell.durations.settle());
    }

    /// Adds the windows of `other`, which initially had the same width.
    fn combine(&mut self, mut other: Timeline) {
        self.settle();
        other.settle();
        self.widen_to(other.width_ns);
        other.widen_to(self.width_ns);
        other.ends.into_iter().for_each(|ends| self.reach(ends));
        other.widen_to(self.width_ns);
        for (number, Window { cells, under_way }) in other.windows {
            let place = self.place_of(number);
            let mine = &mut self.windows[place].1;
            mine.add_cells(cells);
            mine.under_way.iter_mut().zip(under_way).for_each(|(mine, theirs)| mine.combine(theirs));
        }
    }

    /// Returns the number of windows from the first to the last.
    fn len(&self) -> u64 {
        self.ends.map_or(0, |(first, last)| last.abs_diff(first).saturating_add(1))
    }

    /// Returns the length of a window in ns.
    pub fn width_ns(&self) -> i64 {
        self.width_ns
    }

    /// Returns all windows from the first to the last, including those without operations.
    fn finish(mut self) -> Vec<Finished> {
        self.settle();
        let Some((first, last)) = self.ends else { return Vec::new() };
        let mut windows: HashMap<i64, Window, RandomState> = self.windows.into_iter().collect();
        let mut filled = [0i64; Layer::ALL.len()];
        let width_ns = self.width_ns;
        let finish = |number: i64| {
            let window = windows.remove(&number);
            let under_way = std::array::from_fn(|layer| {
                let of = window.as_ref().map(|window| window.under_way[layer]).unwrap_or_default();
                filled[layer] = filled[layer].saturating_add(of.begun);
                // A sum of integers does not depend on the order of additions.
                let ns = of.ns.saturating_add(i128::from(filled[layer]).saturating_mul(i128::from(width_ns)));
                ns as f64 / width_ns as f64
            });
            Finished { since_ns: number.saturating_mul(width_ns), window, under_way }
        };
        (first..=last).map(finish).collect()
    }
}

impl Accumulate for Timeline {
    fn update(&mut self, entries: &Entries) {
        for entry in entries.each_once() {
            let (ops, ns) = (u64::from(entry.ops), entry.total_ns);
            self.add(
                entries.layer,
                &Moment { ts_ns: entry.ts_ns, direction: entry.direction, ops, bytes: entry.bytes, ns },
            );
        }
    }

    fn settle(&mut self) {
        self.settle();
    }
}

impl Aggregate for Timeline {
    const NAME: &'static str = "timeline";
    const VERSION: u32 = 1;
    type Config = Windows;
    type Open = Timeline;
    type Finished = Line;

    fn open(windows: &Windows, _precision: Precision) -> Timeline {
        Timeline::new(*windows)
    }

    fn close(timeline: Timeline, _owners: &Owners) -> Timeline {
        timeline
    }

    fn is_sound(&self) -> bool {
        let places = self.places.values().all(|place| *place < self.windows.len());
        // The windows from -1 to 0 remain two, however often they are merged.
        self.width_ns > 0 && (2..=MOST_WINDOWS).contains(&self.most) && self.len() <= self.most as u64 && places
    }

    fn combine(&mut self, other: Timeline) {
        self.combine(other);
    }

    fn finish(self, _context: &Context) -> Line {
        Line { width_ns: self.width_ns, windows: self.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::sample::PERCENTILES;
    use proptest::prelude::*;

    fn moment(ts_ns: i64, ns: u64) -> Moment {
        Moment { ts_ns, direction: Some(Direction::Read), ops: 1, bytes: 10, ns: Some(ns) }
    }

    fn of(moments: &[Moment]) -> Timeline {
        let mut timeline = Timeline::new(Windows { width_ns: 100, most: MOST_WINDOWS });
        moments.iter().for_each(|moment| timeline.add(Layer::Block, moment));
        timeline
    }

    /// Returns all results as text.
    fn told_of(timeline: Timeline) -> String {
        let window = |Finished { since_ns, window, under_way }: Finished| {
            let cells = window.map(|window| {
                window.cells.map(|cells| {
                    cells.map(|cell| (cell.moved, cell.durations.max(), cell.durations.at(&PERCENTILES[0])))
                })
            });
            format!("{since_ns} {under_way:?} {cells:?}\n")
        };
        timeline.finish().into_iter().map(window).collect()
    }

    fn under_way(timeline: Timeline) -> Vec<f64> {
        timeline.finish().iter().map(|window| window.under_way[Layer::Block as usize]).collect()
    }

    #[test]
    fn an_operation_is_under_way_in_every_window_that_it_touches() {
        assert_eq!(under_way(of(&[moment(120, 30)])), [0.3]);
        assert_eq!(under_way(of(&[moment(150, 300)])), [0.5, 1.0, 1.0, 0.5]);
        assert_eq!(under_way(of(&[moment(150, 50)])), [0.5, 0.0]);
        assert_eq!(under_way(of(&[moment(150, 300), moment(210, 60)])), [0.5, 1.6, 1.0, 0.5]);
        assert_eq!(under_way(of(&[moment(-50, 100)])), [0.5, 0.5]);
    }

    #[test]
    fn what_begins_in_a_window_counts_there_and_windows_without_any_are_there_too() {
        let untimed = Moment { ns: None, ops: 3, ..moment(399, 0) };
        let windows = of(&[moment(100, 7), moment(199, 9), untimed]).finish();
        let told: Vec<_> = windows
            .iter()
            .map(|window| {
                let moved = window.window.as_ref().map(|window| window.of(Layer::Block, Direction::Read).moved);
                (window.since_ns, moved.map(|moved| (moved.ops, moved.bytes, moved.avg_ns())))
            })
            .collect();
        assert_eq!(told[0], (100, Some((2, 20, Some(8)))));
        // The second operation ended in it.
        assert_eq!(told[1], (200, Some((0, 0, None))));
        assert_eq!(told[2..], [(300, Some((3, 10, None)))]);
    }

    #[test]
    fn a_stored_timeline_that_could_never_be_merged_is_refused() {
        let timeline = |width_ns, most| Timeline { width_ns, most, ..Timeline::default() };
        assert!(timeline(100, 2).is_sound() && timeline(1, MOST_WINDOWS).is_sound());
        assert!(
            [(0, 2), (-1, 2), (100, 0), (100, 1), (100, MOST_WINDOWS + 1)]
                .iter()
                .all(|of| !timeline(of.0, of.1).is_sound())
        );
        let mut merged = timeline(i64::MAX, 2);
        merged.combine(of(&[moment(i64::MIN, 1), moment(i64::MAX - 5, 1)]));
        assert!(merged.len() == 2 && merged.is_sound());
    }

    #[test]
    fn the_greatest_durations_are_no_mistake() {
        let timeline = of(&[moment(i64::MAX - 5, u64::MAX - 1), moment(i64::MIN, i64::MAX as u64)]);
        assert!(timeline.len() <= MOST_WINDOWS as u64 && timeline.width_ns() > 1 << 50);
        assert_eq!(timeline.len(), timeline.finish().len() as u64);
    }

    #[test]
    fn windows_that_would_be_too_many_become_wider_whatever_the_order() {
        let spread = 4 * MOST_WINDOWS as i64 - 10;
        let rows: Vec<Moment> =
            (0..spread).step_by(7).map(|window| moment(window * 100 + 50, (window as u64 % 5) * 130)).collect();
        let whole = of(&rows);
        assert_eq!((whole.width_ns(), whole.len().div_ceil(10)), (400, MOST_WINDOWS as u64 / 10));
        let busy: u64 = rows.iter().filter_map(|row| row.ns).sum();
        let told = under_way(whole.clone());
        assert_eq!((told.iter().sum::<f64>() * 400.0).round(), busy as f64);
        let (one, other) = rows.split_at(rows.len() / 3);
        let mut sum = of(other);
        sum.combine(of(one));
        let all = told_of(whole);
        assert!(told_of(sum) == all);
        let backwards: Vec<Moment> = rows.into_iter().rev().collect();
        assert!(told_of(of(&backwards)) == all);
    }

    proptest! {
        #[test]
        fn any_partition_tells_the_same(
            tagged in prop::collection::vec(((-500i64..500, 0u64..700), 0..3usize), 0..100),
        ) {
            let moments = |wanted: Option<usize>| -> Vec<Moment> {
                let chosen = tagged.iter().filter(|(_, tag)| wanted.is_none_or(|wanted| *tag == wanted));
                chosen.map(|((ts_ns, ns), _)| moment(*ts_ns, *ns)).collect()
            };
            let mut sum = of(&moments(Some(1)));
            sum.combine(of(&moments(Some(2))));
            sum.combine(of(&moments(Some(0))));
            let whole = of(&moments(None));
            let busy: f64 = tagged.iter().map(|((_, ns), _)| *ns as f64 / 100.0).sum();
            let told = under_way(sum.clone());
            prop_assert!((told.iter().sum::<f64>() - busy).abs() < 1e-6, "{told:?} {busy}");
            prop_assert!(told_of(sum) == told_of(whole));
        }
    }
}
