//! Requests of disks by time window, as the kernel's device counters count them: at completion.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use iostrata_capture::op::{Layer, Op};
use serde::{Deserialize, Serialize};

use crate::aggregate::Precision;
use crate::aggregate::any_order::{Accumulate, Aggregate, Context};
use crate::aggregate::count::Moved;
use crate::aggregate::requests::Needs;
use crate::aggregate::sequence::{Owners, Span};
use crate::aggregate::windowed::{Lines, Most, Sum, Windowed};
use crate::analyses::timeline::aggregate::{MOST_WINDOWS, Windows};
use crate::entity::{CaptureNumber, Disk};
use crate::scan::entries::Entries;

/// Maximum of windows times disks: each takes some 300 bytes.
pub const MOST_CELLS: usize = 1 << 16;

/// Limits of stored windows.
pub const MOST: Most = Most { windows: MOST_WINDOWS, cells: MOST_CELLS };

/// Kind of request, as in `/sys/block/DEV/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Read.
    Read,
    /// Write; also everything that is none of the others, such as a flush without data.
    Write,
    /// Discard.
    Discard,
    /// Flush command that the block layer sends to the device.
    Flush,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Kind::Read, Kind::Write, Kind::Discard, Kind::Flush];

    /// Returns the kind of an operation (`op_stat_group()` in include/linux/blk_types.h); commands of drivers have none.
    fn of(op: Op) -> Option<Kind> {
        match op {
            Op::Read => Some(Kind::Read),
            Op::Discard => Some(Kind::Discard),
            Op::DeviceFlush => Some(Kind::Flush),
            Op::Write | Op::Flush | Op::SecureErase | Op::WriteZeroes | Op::ZoneAppend | Op::ZoneManagement => {
                Some(Kind::Write)
            }
            _ => None,
        }
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Discard => "discard",
            Kind::Flush => "flush",
        }
    }
}

/// Requests of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Sums.
    pub moved: Moved,
    /// Number of bios that were merged into one of these requests, except the first of each.
    pub merged: u64,
}

/// Requests by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds([Requests; Kind::ALL.len()]);

impl Kinds {
    /// Returns the requests of a kind.
    pub fn of(&self, kind: Kind) -> &Requests {
        &self.0[kind as usize]
    }

    /// Returns the number of requests.
    pub fn requests(&self) -> u64 {
        self.0.iter().fold(0, |sum, of| sum.saturating_add(of.moved.ops))
    }

    fn take(&mut self, kind: Kind, moved: &Moved, merged: u64) {
        let of = &mut self.0[kind as usize];
        of.moved.add(moved);
        of.merged = of.merged.saturating_add(merged);
    }
}

impl Sum for Kinds {
    fn add(&mut self, other: Kinds) {
        Kind::ALL.iter().zip(other.0).for_each(|(kind, of)| self.take(*kind, &of.moved, of.merged));
    }
}

/// Requests of a row.
#[derive(Debug, Clone, Copy)]
struct Completed {
    ts_ns: i64,
    /// Duration of each in ns, if known.
    ns: Option<u64>,
    /// Commands of drivers have none, and are only in flight.
    kind: Option<Kind>,
    /// Number of requests that the row represents.
    ops: u64,
    bytes: u64,
    merged: u64,
}

/// Requests by disk and time window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Iostat {
    windows: Windowed<Disk, Kinds>,
    /// Begin of the first request, and end of the last one, by capture.
    ends_ns: HashMap<CaptureNumber, Span, RandomState>,
}

/// Requests by disk and time window, after all partial results are merged.
#[derive(Debug)]
pub struct Finished {
    /// Length of a window in ns.
    pub width_ns: i64,
    /// Number of the first and of the last window, which is its begin divided by the length.
    pub ends: Option<(i64, i64)>,
    /// Windows of each disk, by disk.
    pub disks: Lines<Disk, Kinds>,
    /// Begin of the first request, and end of the last one, by capture.
    pub ends_ns: HashMap<CaptureNumber, Span, RandomState>,
}

impl Iostat {
    fn new(Windows { width_ns, most }: Windows) -> Iostat {
        let windows = Windowed::new(width_ns, Most { windows: most, ..MOST });
        Iostat { windows, ends_ns: HashMap::default() }
    }

    fn add(&mut self, disk: Disk, of: &Completed) {
        let Completed { ts_ns, ns, kind, ops, bytes, merged } = *of;
        let end_ns = ts_ns.saturating_add_unsigned(ns.unwrap_or(0));
        let sums = self.windows.at(disk, end_ns);
        if let Some(kind) = kind {
            sums.take(kind, &Moved::of(ops, bytes, ns), merged);
        }
        self.windows.fill(disk, (ts_ns, end_ns), ops);
        self.reach(disk.0, (ts_ns, end_ns));
    }

    fn reach(&mut self, capture: CaptureNumber, (first_ns, last_ns): Span) {
        let ends = self.ends_ns.entry(capture).or_insert((first_ns, last_ns));
        *ends = (ends.0.min(first_ns), ends.1.max(last_ns));
    }

    /// Returns the length of a window in ns.
    pub fn width_ns(&self) -> i64 {
        self.windows.width_ns()
    }
}

impl Accumulate for Iostat {
    fn update(&mut self, entries: &Entries) {
        if entries.layer != Layer::Block {
            return;
        }
        for entry in entries.each().filter(|entry| entry.ops > 0) {
            let (Some(dev), kind) = (entry.disk(), Kind::of(entry.op)) else { continue };
            let ops = u64::from(entry.ops);
            let merged = u64::from(entry.bios.saturating_sub(1)).saturating_mul(ops);
            let bytes = entry.size.saturating_mul(ops);
            let completed = Completed { ts_ns: entry.ts_ns, ns: entry.total_ns, kind, ops, bytes, merged };
            self.add((entries.capture, dev), &completed);
        }
    }
}

impl Aggregate for Iostat {
    const NAME: &'static str = "iostat";
    const VERSION: u32 = 1;
    const NEEDS: Needs = Needs { bios: true, memory_bytes: (20 << 20, 20 << 20), ..Needs::NOTHING };
    type Config = Windows;
    type Open = Iostat;
    type Finished = Finished;

    fn open(windows: &Windows, _precision: Precision) -> Iostat {
        Iostat::new(*windows)
    }

    fn close(iostat: Iostat, _owners: &Owners) -> Iostat {
        iostat
    }

    fn is_sound(&self) -> bool {
        self.windows.is_sound(MOST) && self.ends_ns.values().all(|(first_ns, last_ns)| first_ns <= last_ns)
    }

    fn combine(&mut self, other: Iostat) {
        self.windows.combine(other.windows);
        other.ends_ns.into_iter().for_each(|(capture, ends)| self.reach(capture, ends));
    }

    fn finish(self, _context: &Context) -> Finished {
        let width_ns = self.width_ns();
        let (ends, disks) = self.windows.finish();
        Finished { width_ns, ends, disks, ends_ns: self.ends_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::windowed::Line;
    use proptest::prelude::*;

    const WINDOWS: Windows = Windows { width_ns: 100, most: 8 };

    fn read(ts_ns: i64, ns: u64) -> Completed {
        Completed { ts_ns, ns: Some(ns), kind: Some(Kind::Read), ops: 1, bytes: 10, merged: 1 }
    }

    fn of(requests: &[(i32, Completed)]) -> Iostat {
        let mut iostat = Iostat::new(WINDOWS);
        requests.iter().for_each(|(dev, of)| iostat.add((CaptureNumber::default(), *dev), of));
        iostat
    }

    /// Returns all results as text.
    fn told(iostat: Iostat) -> String {
        let (width_ns, ends_ns) = (iostat.width_ns(), format!("{:?}", iostat.ends_ns));
        let (ends, lines) = iostat.windows.finish();
        let line = |(disk, line): (Disk, Line<Kinds>)| {
            let cells = line.over(ends.expect("requests")).map(|of| (of.sums.unwrap_or_default(), of.in_flight_ns));
            format!("{disk:?} {:?}\n", cells.collect::<Vec<_>>())
        };
        format!("{width_ns} {ends_ns} {}", lines.into_iter().map(line).collect::<String>())
    }

    #[test]
    fn a_request_counts_in_the_window_in_which_it_completes_and_is_in_flight_in_all() {
        let untimed = Completed { ns: None, kind: Some(Kind::Flush), ..read(320, 0) };
        let iostat = of(&[(1, read(50, 200)), (1, read(210, 20)), (1, untimed)]);
        assert_eq!(iostat.ends_ns[&CaptureNumber::default()], (50, 320));
        let (ends, mut lines) = iostat.windows.finish();
        let cells: Vec<_> = lines.remove(0).1.over(ends.expect("requests")).collect();
        let of = |at: usize, kind| cells[at].sums.clone().unwrap_or_default().of(kind).moved;
        assert_eq!([0, 1, 2, 3].map(|at| of(at, Kind::Read).ops), [0, 0, 2, 0]);
        assert_eq!(of(2, Kind::Read), Moved { ops: 2, bytes: 20, timed: 2, sum_ns: 220 });
        assert_eq!([0, 1, 2, 3].map(|at| cells[at].in_flight_ns), [50, 100, 70, 0]);
        assert_eq!(of(3, Kind::Flush), Moved { ops: 1, bytes: 10, timed: 0, sum_ns: 0 });
    }

    #[test]
    fn windows_are_fewer_with_many_disks() {
        let wide = |disks: i32| {
            let mut iostat = Iostat::new(Windows { width_ns: 1, most: MOST_WINDOWS });
            for dev in 0..disks {
                iostat.add((CaptureNumber::default(), dev), &read(i64::from(dev % 100) * 50, 0));
            }
            assert!(Aggregate::is_sound(&iostat));
            (iostat.width_ns(), iostat.windows.windows())
        };
        assert_eq!(wide(13), (1, 601));
        // 4,951 windows of 1 ns times 1,000 disks are too many.
        assert_eq!(wide(1_000), (128, 39));
        assert_eq!(wide(100_000).1, 2);
    }

    proptest! {
        #[test]
        fn any_partition_tells_the_same(
            tagged in prop::collection::vec(((-800i64..800, 0u64..700, 0i32..3), 0..3usize), 1..100),
        ) {
            let requests = |wanted: Option<usize>| -> Vec<(i32, Completed)> {
                let chosen = tagged.iter().filter(|(_, tag)| wanted.is_none_or(|wanted| *tag == wanted));
                chosen.map(|((ts_ns, ns, dev), _)| (*dev, read(*ts_ns, *ns))).collect()
            };
            let mut sum = of(&requests(Some(1)));
            Aggregate::combine(&mut sum, of(&requests(Some(2))));
            Aggregate::combine(&mut sum, of(&requests(Some(0))));
            prop_assert!(told(sum) == told(of(&requests(None))));
        }
    }
}
