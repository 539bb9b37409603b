//! Two-level aggregation: rows are summed per attribution key, and then folded into the totals of a system, a process, a cgroup, a file and
//! a disk. A row costs one addition instead of six.

use iostrata_capture::op::{Direction, Layer};

use super::kind::{Counted, Kind};
use crate::aggregate::count::Moved;
use crate::aggregate::flow::Step;
use crate::entity::{CaptureNumber, Places};
use crate::event::UNKNOWN;
use crate::partial::Partial;

/// Accumulator of an [`Accumulators`], with its system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccumulatorId {
    account: u32,
    /// Slot of the system in the partial result; [`NO_SLOT`] without a system.
    pub slot: u32,
    /// Whether its process serves calls of others. Those calls are counted, so it is in no total.
    pub serves: bool,
}

/// Slot of rows in no system.
pub const NO_SLOT: u32 = u32::MAX;

/// Accumulator: rows of one kind, of one system and of the same entities.
#[derive(Debug, Clone)]
struct Accumulator {
    kind: Kind,
    slot: u32,
    /// Entities that its bytes count for; `None` if it is uncertain whether the filters match.
    places: Option<Places>,
    /// Disk, if the rows have it.
    disk: Option<i32>,
    /// Number of operations of unknown duration.
    untimed: u64,
    /// Whether it is in no total.
    serves: bool,
}

/// Sums that each row adds to. They fit into one line of the CPU's cache.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Sums {
    sum_ns: u128,
    ops: u64,
    bytes: u64,
}

/// All accumulators. They are closed when there are many, so that memory does not grow with their number.
#[derive(Debug)]
pub struct Accumulators {
    /// Accumulators; the first is for all rows that are not selected.
    all: Vec<Accumulator>,
    /// Sums of each accumulator.
    sums: Vec<Sums>,
    /// Whether the activity of each process, cgroup, file and disk is counted.
    activity: bool,
}

/// Index of the accumulator of rows that are not selected.
const LEFT_OUT: u32 = 0;

/// Initial capacity.
const EXPECTED: usize = 1 << 14;

impl Accumulators {
    /// Creates only the accumulator of rows that are not selected.
    pub fn new(activity: bool) -> Self {
        let (all, sums) = (Vec::with_capacity(EXPECTED), Vec::with_capacity(EXPECTED));
        let mut accounts = Accumulators { all, sums, activity };
        let kind = Kind { layer: Layer::Syscall, direction: None, counted: Counted::Whole(None) };
        accounts.open(kind, (NO_SLOT, false), None, None);
        accounts
    }

    /// Opens an accumulator of a system; `serves` if its process serves calls of others.
    pub fn open(
        &mut self,
        kind: Kind,
        (slot, serves): (u32, bool),
        places: Option<Places>,
        disk: Option<i32>,
    ) -> AccumulatorId {
        let account = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(Accumulator { kind, slot, places, disk, untimed: 0, serves });
        self.sums.push(Sums::default());
        AccumulatorId { account, slot, serves }
    }

    /// Returns the entities that an accumulator counts for.
    pub fn places(&self, id: AccumulatorId) -> Option<Places> {
        self.all[id.account as usize].places
    }

    /// Returns the accumulator of rows that are not selected.
    pub fn left_out(&self) -> AccumulatorId {
        AccumulatorId { account: LEFT_OUT, slot: NO_SLOT, serves: false }
    }

    /// Adds `ops` operations with the sum `bytes` and a duration of `ns` each, or [`UNKNOWN`].
    #[inline]
    pub fn add(&mut self, id: AccumulatorId, (ops, bytes): (u64, u64), ns: u64) {
        let sums = &mut self.sums[id.account as usize];
        sums.ops = sums.ops.saturating_add(ops);
        sums.bytes = sums.bytes.saturating_add(bytes);
        if ns != UNKNOWN {
            sums.sum_ns = sums.sum_ns.saturating_add(u128::from(ns) * u128::from(ops));
        } else {
            let untimed = &mut self.all[id.account as usize].untimed;
            *untimed = untimed.saturating_add(ops);
        }
    }

    /// Whether accumulators must be closed: there are `most` of them, or `remembered` in the attribution cache reaches that number.
    pub fn are_many(&self, remembered: usize, most: usize) -> bool {
        self.all.len().max(remembered) >= most
    }

    /// Closes all accumulators and adds them to `partial`, for the capture of this number. Their ids become invalid.
    pub fn close(&mut self, capture: CaptureNumber, partial: &mut Partial) {
        let Accumulators { all, sums, activity } = std::mem::replace(self, Accumulators::new(self.activity));
        for (account, sums) in all.into_iter().zip(sums).skip(LEFT_OUT as usize + 1) {
            let Accumulator { kind: Kind { layer, direction, counted }, slot, places, disk, untimed, serves } = account;
            let Sums { sum_ns, ops, bytes } = sums;
            let moved = Moved { ops, bytes, timed: ops.saturating_sub(untimed), sum_ns };
            let Some(places) = places else {
                if matches!(counted, Counted::Whole(_)) {
                    partial.doubtful.add(layer, direction, &moved);
                }
                continue;
            };
            partial.selected = true;
            match counted {
                Counted::Memory => partial.memory.add(layer, direction, &moved),
                Counted::LeftOut => partial.left_out.add(capture, disk.unwrap_or_default(), direction, (bytes, ops)),
                Counted::Whole(step) => {
                    partial.system(slot).counts.add(layer, direction, &moved);
                    if serves {
                        partial.served.add(layer, direction, &moved);
                    }
                    if activity {
                        partial.entities.count(places, (layer, direction), &moved);
                    }
                    direction.zip(step).into_iter().for_each(|way| flow(partial, (slot, places), way, bytes));
                    if let (true, Some((direction, step))) = (serves, direction.zip(step)) {
                        partial.served_flows.add(direction, step, bytes);
                    }
                }
                Counted::Way(step) => {
                    direction.into_iter().for_each(|way| flow(partial, (slot, places), (way, step), bytes));
                }
            }
        }
    }
}

fn flow(partial: &mut Partial, (slot, places): (u32, Places), (direction, step): (Direction, Step), bytes: u64) {
    if bytes > 0 {
        partial.system(slot).flows.add(direction, step, bytes);
        partial.entities.add(places, (direction, step, bytes));
    }
}
