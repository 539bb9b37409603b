//! Heatmaps: operations by time and duration, and requests by time and device offset, in the cells of a grid.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use iostrata_capture::op::{Direction, Layer};
use serde::{Deserialize, Serialize};

use crate::aggregate::Precision;
use crate::aggregate::any_order::{Accumulate, Aggregate, Context};
use crate::aggregate::requests::Needs;
use crate::aggregate::sequence::Owners;
use crate::entity::Disk;
use crate::scan::entries::Entries;
use crate::valid::are_windows;

/// Maximum number of time windows: with this many windows and offset ranges a figure is full, and memory is not.
pub const MOST_WINDOWS: u64 = 512;

/// Maximum number of offset ranges of a disk.
pub const MOST_STRETCHES: u64 = 256;

/// Minimum length of an offset range in bytes.
const LEAST_STRETCH_BYTES: u64 = 4_096;

/// Minimum length of a time window in ns: shorter ones carry no information about a machine.
const LEAST_WINDOW_NS: u64 = 1 << 10;

/// Maximum length of a window and of an offset range: with these, the range of all times and offsets is divided into few.
const MOST_SIZE: u64 = 1 << 62;

/// Number of bits of a duration that determine its class, besides the highest one.
const CLASS_BITS: u32 = 2;

/// Returns the class of a duration: four for each power of two.
pub fn class_of(ns: u64) -> u32 {
    let bits = u64::BITS - ns.leading_zeros();
    match bits.checked_sub(CLASS_BITS + 1) {
        Some(shift) => (shift << CLASS_BITS) + (ns >> shift) as u32,
        None => ns as u32,
    }
}

/// Returns the minimum and the maximum duration of a class.
pub fn ends_of(class: u32) -> (u64, u64) {
    let Some(shift) = (class >> CLASS_BITS).checked_sub(1) else { return (u64::from(class), u64::from(class)) };
    let first = u64::from((class & ((1 << CLASS_BITS) - 1)) | 1 << CLASS_BITS) << shift;
    (first, first + ((1 << shift) - 1))
}

/// Contents of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Number of operations.
    pub ops: u64,
    /// Number of bytes.
    pub bytes: u64,
}

impl Cell {
    fn add(&mut self, other: Cell) {
        self.ops = self.ops.saturating_add(other.ops);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Cells by number of the time window, and by another key.
type Cells<K> = HashMap<(i64, K), Cell, RandomState>;

fn put<K: Hash + Eq>(cells: &mut Cells<K>, at: (i64, K), cell: Cell) {
    cells.entry(at).or_default().add(cell);
}

/// Disk, direction, begin of the window on the clock of `ts_ns`, and first byte of the offset range.
pub type Place = (Disk, Direction, i64, u64);

/// Requests of one disk, by direction and offset range.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OnDisk {
    stretch_bytes: u64,
    cells: Cells<(Direction, u64)>,
}

impl OnDisk {
    fn empty() -> OnDisk {
        OnDisk { stretch_bytes: LEAST_STRETCH_BYTES, cells: Cells::default() }
    }

    fn is_sound(&self) -> bool {
        self.cells.keys().all(|(_, (_, stretch))| *stretch < MOST_STRETCHES)
    }

    fn add(&mut self, (window, direction, position): (i64, Direction, u64), cell: Cell) {
        while position / self.stretch_bytes >= MOST_STRETCHES {
            self.widen();
        }
        put(&mut self.cells, (window, (direction, position / self.stretch_bytes)), cell);
    }

    fn widen(&mut self) {
        self.stretch_bytes *= 2;
        let cells = std::mem::take(&mut self.cells);
        cells.into_iter().for_each(|((window, (direction, stretch)), cell)| {
            put(&mut self.cells, (window, (direction, stretch / 2)), cell);
        });
    }

    fn combine(&mut self, mut other: OnDisk) {
        while self.stretch_bytes < other.stretch_bytes {
            self.widen();
        }
        while other.stretch_bytes < self.stretch_bytes {
            other.widen();
        }
        other.cells.into_iter().for_each(|(at, cell)| put(&mut self.cells, at, cell));
    }
}

/// Both grids. If there would be too many windows or offset ranges, adjacent pairs are merged. Their sizes then depend only on the first and
/// the last moment and on the highest offset, not on the order of rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Heatmap {
    width_ns: u64,
    /// Number of the first and of the last window.
    ends: Option<(i64, i64)>,
    durations: Cells<(Layer, Direction, u32)>,
    disks: HashMap<Disk, OnDisk, RandomState>,
}

/// Operation, or several that are equal.
#[derive(Debug, Clone, Copy)]
struct Spot {
    /// Begin.
    ts_ns: i64,
    /// Layer and direction.
    way: (Layer, Direction),
    /// Duration in ns, if known.
    ns: Option<u64>,
    /// Disk and offset in bytes, if known.
    place: Option<(Disk, u64)>,
    /// Operations and bytes that it represents.
    cell: Cell,
}

/// Both grids, after all partial results are merged. Cells without operations do not exist.
#[derive(Debug, Clone, Default)]
pub struct Finished {
    /// Length of a window in ns.
    pub width_ns: u64,
    /// Cells by layer, direction, begin of the window on the clock of `ts_ns`, and class of durations, in order.
    pub durations: Vec<((Layer, Direction, i64, u32), Cell)>,
    /// Cells by disk, direction, begin of the window, and first byte of the offset range, in order; with the length of the offset range.
    pub places: Vec<(Place, (Cell, u64))>,
}

impl Heatmap {
    /// Creates grids without operations.
    fn new() -> Heatmap {
        Heatmap { width_ns: LEAST_WINDOW_NS, ends: None, durations: Cells::default(), disks: HashMap::default() }
    }

    /// Adds an operation.
    fn add(&mut self, spot: &Spot) {
        let Spot { ts_ns, way: (layer, direction), ns, place, cell } = *spot;
        self.reach((self.number(ts_ns), self.number(ts_ns)));
        let window = self.number(ts_ns);
        if let Some(ns) = ns {
            put(&mut self.durations, (window, (layer, direction, class_of(ns))), cell);
        }
        if let Some((disk, position)) = place {
            self.disks.entry(disk).or_insert_with(OnDisk::empty).add((window, direction, position), cell);
        }
    }

    fn number(&self, ts_ns: i64) -> i64 {
        ts_ns.div_euclid(i64::try_from(self.width_ns).unwrap_or(i64::MAX))
    }

    /// Extends the range of windows to these numbers.
    fn reach(&mut self, (first, last): (i64, i64)) {
        let (mine_first, mine_last) = self.ends.unwrap_or((first, last));
        self.ends = Some((mine_first.min(first), mine_last.max(last)));
        while self.ends.is_some_and(|(first, last)| last.abs_diff(first) >= MOST_WINDOWS) {
            self.widen();
        }
    }

    fn widen(&mut self) {
        self.width_ns *= 2;
        self.ends = self.ends.map(|(first, last)| (first >> 1, last >> 1));
        halve(&mut self.durations);
        self.disks.values_mut().for_each(|disk| halve(&mut disk.cells));
    }

    /// Adds the cells of `other`.
    fn combine(&mut self, mut other: Heatmap) {
        while self.width_ns < other.width_ns {
            self.widen();
        }
        while other.width_ns < self.width_ns {
            other.widen();
        }
        other.ends.into_iter().for_each(|ends| self.reach(ends));
        while other.width_ns < self.width_ns {
            other.widen();
        }
        other.durations.into_iter().for_each(|(at, cell)| put(&mut self.durations, at, cell));
        for (disk, theirs) in other.disks {
            self.disks.entry(disk).or_insert_with(OnDisk::empty).combine(theirs);
        }
    }

    /// Returns all cells, in order.
    fn finish(self) -> Finished {
        let since_ns = |window: i64| window.saturating_mul(i64::try_from(self.width_ns).unwrap_or(i64::MAX));
        let durations = self.durations.into_iter();
        let mut durations: Vec<_> = durations
            .map(|((window, (layer, direction, class)), cell)| ((layer, direction, since_ns(window), class), cell))
            .collect();
        durations.sort_unstable_by_key(|(of, _)| *of);
        let mut places = Vec::new();
        for (disk, OnDisk { stretch_bytes, cells }) in self.disks {
            places.extend(cells.into_iter().map(|((window, (direction, stretch)), cell)| {
                ((disk, direction, since_ns(window), stretch * stretch_bytes), (cell, stretch_bytes))
            }));
        }
        places.sort_unstable_by_key(|(of, _)| *of);
        Finished { width_ns: self.width_ns, durations, places }
    }
}

impl Accumulate for Heatmap {
    fn update(&mut self, entries: &Entries) {
        let layer = entries.layer;
        for entry in entries.each_once().filter(|entry| entry.ops > 0 && layer != Layer::Fs) {
            let Some(direction) = entry.direction else { continue };
            let disk = entry.disk().map(|dev| (entries.capture, dev));
            let place = disk.zip(entry.position.and_then(|position| u64::try_from(position).ok()));
            let ops = u64::from(entry.ops);
            let cell = Cell { ops, bytes: entry.size.saturating_mul(ops) };
            self.add(&Spot { ts_ns: entry.ts_ns, way: (layer, direction), ns: entry.total_ns, place, cell });
        }
    }
}

impl Aggregate for Heatmap {
    const NAME: &'static str = "heatmap";
    const VERSION: u32 = 2;
    const NEEDS: Needs = Needs { positions: true, memory_bytes: (48 << 20, 12 << 20), ..Needs::NOTHING };
    type Config = ();
    type Open = Heatmap;
    type Finished = Finished;

    fn open((): &(), _precision: Precision) -> Heatmap {
        Heatmap::new()
    }

    fn close(heatmap: Heatmap, _owners: &Owners) -> Heatmap {
        heatmap
    }

    fn is_sound(&self) -> bool {
        // Sizes only double. Others would never become equal, or merge windows of unequal lengths.
        let doubled = |size: u64, least: u64| size.is_power_of_two() && (least..=MOST_SIZE).contains(&size);
        let width_ns = i64::try_from(self.width_ns).unwrap_or(i64::MAX);
        doubled(self.width_ns, LEAST_WINDOW_NS)
            && self.ends.is_none_or(|ends| are_windows(ends, width_ns))
            && self.disks.values().all(OnDisk::is_sound)
            && self.disks.values().all(|disk| doubled(disk.stretch_bytes, LEAST_STRETCH_BYTES))
    }

    fn combine(&mut self, other: Heatmap) {
        self.combine(other);
    }

    fn finish(self, _context: &Context) -> Finished {
        self.finish()
    }
}

/// Merges adjacent pairs of windows.
fn halve<K: Hash + Eq>(cells: &mut Cells<K>) {
    for ((window, of), cell) in std::mem::take(cells) {
        put(cells, (window >> 1, of), cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::CaptureNumber;
    use proptest::prelude::*;

    #[test]
    fn each_duration_is_in_its_class_and_classes_follow_each_other() {
        let mut next = 0u64;
        for class in 0..=class_of(u64::MAX) {
            let (least, greatest) = ends_of(class);
            assert_eq!((least, class_of(least), class_of(greatest)), (next, class, class));
            next = greatest.wrapping_add(1);
        }
        assert_eq!(next, 0, "the last class ends at the maximum duration");
        assert_eq!(ends_of(class_of(1_000_000)), (917_504, 1_048_575));
    }

    fn of(spots: &[Spot]) -> Heatmap {
        let mut heatmap = Heatmap::new();
        spots.iter().for_each(|spot| heatmap.add(spot));
        heatmap
    }

    #[test]
    fn cells_become_as_large_as_it_takes() {
        let spot = |ts_ns: i64, position: u64| Spot {
            ts_ns,
            way: (Layer::Block, Direction::Read),
            ns: Some(100),
            place: Some(((CaptureNumber::default(), 1), position)),
            cell: Cell { ops: 1, bytes: 10 },
        };
        let small = of(&[spot(5_000, 8_191), spot(5_000, 4_096)]).finish();
        assert_eq!(small.width_ns, LEAST_WINDOW_NS);
        let all: Vec<_> = small.places.into_iter().collect();
        assert_eq!(
            all,
            [(((CaptureNumber::default(), 1), Direction::Read, 4_096, 4_096), (Cell { ops: 2, bytes: 20 }, 4_096))]
        );
        let large = of(&[spot(0, 0), spot(3_600_000_000_000, 1 << 40), spot(i64::MAX, u64::MAX)]).finish();
        assert!(large.durations.iter().all(|((_, _, since_ns, _), _)| *since_ns >= 0) && large.places.len() == 2);
    }

    #[test]
    fn a_stored_heatmap_whose_sizes_did_not_double_is_refused() {
        let disk = |stretch_bytes, stretch| OnDisk {
            stretch_bytes,
            cells: Cells::from_iter([((0, (Direction::Read, stretch)), Cell::default())]),
        };
        let heatmap = |width_ns, ends, on_disk| Heatmap {
            width_ns,
            ends,
            durations: Cells::default(),
            disks: HashMap::from_iter([((CaptureNumber::default(), 1), on_disk)]),
        };
        assert!(heatmap(LEAST_WINDOW_NS, Some((-1, 1)), disk(LEAST_STRETCH_BYTES, 0)).is_sound());
        assert!(heatmap(MOST_SIZE, Some((-2, 1)), disk(MOST_SIZE, MOST_STRETCHES - 1)).is_sound());
        for width_ns in [0, 1, LEAST_WINDOW_NS + 1, i64::MAX as u64, 1 << 63, u64::MAX] {
            assert!(!heatmap(width_ns, None, disk(LEAST_STRETCH_BYTES, 0)).is_sound(), "{width_ns}");
        }
        for ends in [(1, -1), (i64::MIN, 0), (0, i64::MAX)] {
            assert!(!heatmap(LEAST_WINDOW_NS, Some(ends), disk(LEAST_STRETCH_BYTES, 0)).is_sound(), "{ends:?}");
        }
        for (stretch_bytes, stretch) in [(0, 0), (4_097, 0), (1 << 63, 0), (LEAST_STRETCH_BYTES, MOST_STRETCHES)] {
            assert!(!heatmap(LEAST_WINDOW_NS, None, disk(stretch_bytes, stretch)).is_sound(), "{stretch_bytes}");
        }
    }

    proptest! {
        #[test]
        fn any_partition_tells_the_same(
            tagged in prop::collection::vec(((0i64..50_000_000, 0u32..50, any::<u64>(), 0i32..2), 0..3usize), 0..100),
        ) {
            let spots = |wanted: Option<usize>| -> Vec<Spot> {
                let chosen = tagged.iter().filter(|(_, tag)| wanted.is_none_or(|wanted| *tag == wanted));
                let spot = |((ts_ns, shift, position, disk), _): &((i64, u32, u64, i32), usize)| Spot {
                    ts_ns: *ts_ns,
                    way: (Layer::Block, Direction::Write),
                    ns: Some(position >> shift),
                    place: Some(((CaptureNumber::default(), *disk), position >> shift)),
                    cell: Cell { ops: 1, bytes: 7 },
                };
                chosen.map(spot).collect()
            };
            let mut sum = of(&spots(Some(1)));
            sum.combine(of(&spots(Some(2))));
            sum.combine(of(&spots(Some(0))));
            let told = |heatmap: Heatmap| format!("{:?}", heatmap.finish());
            prop_assert!(told(sum) == told(of(&spots(None))));
        }
    }
}
