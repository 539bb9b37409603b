//! Operations, bytes, durations and operations in flight by time window.

use iostrata_capture::op::{Direction, Layer};
use serde::{Deserialize, Serialize};

use crate::aggregate::Precision;
use crate::aggregate::any_order::{Accumulate, Aggregate, Context};
use crate::aggregate::count::{DIRECTIONS, Moved};
use crate::aggregate::sequence::Owners;
use crate::aggregate::sparse::Sparse;
use crate::aggregate::windowed::{Most, Sum, Windowed};
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

/// Reads and writes of one layer that began in a window.
type Ways = [Cell; DIRECTIONS.len()];

impl Sum for Ways {
    fn add(&mut self, other: Ways) {
        for (mine, theirs) in self.iter_mut().zip(other) {
            mine.moved.add(&theirs.moved);
            mine.durations.combine(theirs.durations);
        }
    }
}

/// Time window.
#[derive(Debug, Clone, Default)]
pub struct Window([Ways; Layer::ALL.len()]);

impl Window {
    /// Returns the operations of `layer` in `direction` that began in it.
    pub fn of(&self, layer: Layer, direction: Direction) -> &Cell {
        &self.0[layer as usize][direction as usize]
    }
}

/// Maximum number of windows if a user requests their width: each may take some ten KiB.
pub const MOST_WINDOWS: usize = 10_000;

/// Limits of a stored timeline.
const MOST: Most = Most { windows: MOST_WINDOWS, cells: usize::MAX };

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

/// Operations by layer and window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Timeline(Windowed<Layer, Ways>);

/// All windows from the first to the last, after all partial results are merged.
#[derive(Debug)]
pub struct Line {
    /// Length of a window in ns.
    pub width_ns: i64,
    /// Windows, including those without operations.
    pub windows: Vec<Finished>,
}

/// Window, after all partial results are merged.
#[derive(Debug, Default)]
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
        Timeline(Windowed::new(width_ns, Most { windows: most, ..MOST }))
    }

    /// Adds a row of `layer`.
    fn add(&mut self, layer: Layer, moment: &Moment) {
        let Moment { ts_ns, direction, ops, bytes, ns } = *moment;
        let ways = self.0.at(layer, ts_ns);
        if let Some(direction) = direction {
            let cell = &mut ways[direction as usize];
            cell.moved.add(&Moved::of(ops, bytes, ns));
            if let Some(ns) = ns.filter(|_| ops > 0) {
                cell.durations.add(ns, ops);
            }
        }
        if let Some(ns) = ns.filter(|_| ops > 0) {
            self.0.fill(layer, (ts_ns, ts_ns.saturating_add_unsigned(ns)), ops);
        }
    }

    /// Frees memory where possible.
    fn settle(&mut self) {
        self.0.sums_mut().flatten().for_each(|cell| cell.durations.settle());
    }

    /// Adds the windows of `other`, which initially had the same width.
    fn combine(&mut self, mut other: Timeline) {
        self.settle();
        other.settle();
        self.0.combine(other.0);
    }

    /// Returns the length of a window in ns.
    pub fn width_ns(&self) -> i64 {
        self.0.width_ns()
    }

    /// Returns all windows from the first to the last, including those without operations.
    fn finish(mut self) -> Vec<Finished> {
        self.settle();
        let width_ns = self.width_ns();
        let (Some(ends), lines) = self.0.finish() else { return Vec::new() };
        let window = |number: i64| Finished { since_ns: number.saturating_mul(width_ns), ..Finished::default() };
        let mut windows: Vec<Finished> = (ends.0..=ends.1).map(window).collect();
        for (layer, line) in lines {
            for (window, of_layer) in windows.iter_mut().zip(line.over(ends)) {
                window.under_way[layer as usize] = of_layer.in_flight_ns as f64 / width_ns as f64;
                if let Some(ways) = of_layer.sums {
                    window.window.get_or_insert_default().0[layer as usize] = ways;
                }
            }
        }
        windows
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
    const VERSION: u32 = 2;
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
        self.0.is_sound(MOST)
    }

    fn combine(&mut self, other: Timeline) {
        self.combine(other);
    }

    fn finish(self, _context: &Context) -> Line {
        Line { width_ns: self.width_ns(), windows: self.finish() }
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
                window
                    .0
                    .map(|ways| ways.map(|cell| (cell.moved, cell.durations.max(), cell.durations.at(&PERCENTILES[0]))))
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
        let timeline = |width_ns, most| Timeline::new(Windows { width_ns, most });
        assert!(Aggregate::is_sound(&timeline(100, 2)) && Aggregate::is_sound(&timeline(1, MOST_WINDOWS)));
        assert!(
            [(0, 2), (-1, 2), (100, 0), (100, 1), (100, MOST_WINDOWS + 1)]
                .iter()
                .all(|of| !Aggregate::is_sound(&timeline(of.0, of.1)))
        );
        let mut merged = timeline(i64::MAX, 2);
        merged.combine(of(&[moment(i64::MIN, 1), moment(i64::MAX - 5, 1)]));
        assert!(merged.0.windows() == 2 && Aggregate::is_sound(&merged));
    }

    #[test]
    fn the_greatest_durations_are_no_mistake() {
        let timeline = of(&[moment(i64::MAX - 5, u64::MAX - 1), moment(i64::MIN, i64::MAX as u64)]);
        assert!(timeline.0.windows() <= MOST_WINDOWS as u64 && timeline.width_ns() > 1 << 50);
        assert_eq!(timeline.0.windows(), timeline.finish().len() as u64);
    }

    #[test]
    fn windows_that_would_be_too_many_become_wider_whatever_the_order() {
        let spread = 4 * MOST_WINDOWS as i64 - 10;
        let rows: Vec<Moment> =
            (0..spread).step_by(7).map(|window| moment(window * 100 + 50, (window as u64 % 5) * 130)).collect();
        let whole = of(&rows);
        assert_eq!((whole.width_ns(), whole.0.windows().div_ceil(10)), (400, MOST_WINDOWS as u64 / 10));
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
