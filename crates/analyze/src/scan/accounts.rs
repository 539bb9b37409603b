//! What rows come to, added up by whose it is before it is counted for a system, a process, a cgroup, a file and a disk: an addition
//! for each row, in place of six.

use iostrata_capture::op::{Direction, Layer};

use super::kind::{Counted, Kind};
use crate::aggregate::count::Moved;
use crate::aggregate::flow::Step;
use crate::entity::Places;
use crate::event::UNKNOWN;
use crate::partial::Partial;

/// An account, in the [`Accounts`] that opened it, and the system that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountId {
    account: u32,
    /// The slot of the system in the partial; of what is in none, one that there is not.
    pub slot: u32,
    /// Whether it serves others, whose calls are counted: it is in no total.
    pub serves: bool,
}

/// The slot of what is in no system.
pub const NO_SLOT: u32 = u32::MAX;

/// Rows that are of one kind, of one system and at the same places.
#[derive(Debug, Clone)]
struct Account {
    kind: Kind,
    slot: u32,
    /// Where its bytes are counted; nowhere, where it is not certain that they are asked for.
    places: Option<Places>,
    /// The disk, where rows tell it.
    disk: Option<i32>,
    /// Operations whose duration is not known.
    untimed: u64,
    /// Whether it is in no total.
    serves: bool,
}

/// What is added for each row: so little that it lies in one line of the CPU's cache.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Sums {
    sum_ns: u128,
    ops: u64,
    bytes: u64,
}

/// All accounts. They are closed when there are many, so that memory does not follow their number.
#[derive(Debug)]
pub struct Accounts {
    /// The first of them is of all that is not asked for.
    all: Vec<Account>,
    /// Of each.
    sums: Vec<Sums>,
    /// Whether it is counted what each process, cgroup, file and disk did.
    activity: bool,
}

/// The number of the account of what is not asked for.
const LEFT_OUT: u32 = 0;

/// Room for so many from the beginning.
const EXPECTED: usize = 1 << 14;

impl Accounts {
    /// None that is asked for.
    pub fn new(activity: bool) -> Self {
        let (all, sums) = (Vec::with_capacity(EXPECTED), Vec::with_capacity(EXPECTED));
        let mut accounts = Accounts { all, sums, activity };
        let kind = Kind { layer: Layer::Syscall, direction: None, counted: Counted::Whole(None) };
        accounts.open(kind, (NO_SLOT, false), None, None);
        accounts
    }

    /// Opens an account of a system, or of what `serves` others in it.
    pub fn open(
        &mut self,
        kind: Kind,
        (slot, serves): (u32, bool),
        places: Option<Places>,
        disk: Option<i32>,
    ) -> AccountId {
        let account = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(Account { kind, slot, places, disk, untimed: 0, serves });
        self.sums.push(Sums::default());
        AccountId { account, slot, serves }
    }

    /// Where what is in an account is counted.
    pub fn places(&self, id: AccountId) -> Option<Places> {
        self.all[id.account as usize].places
    }

    /// The account of all that is not asked for.
    pub fn left_out(&self) -> AccountId {
        AccountId { account: LEFT_OUT, slot: NO_SLOT, serves: false }
    }

    /// Adds so many operations, which moved these bytes together and took so long each, or [`UNKNOWN`].
    #[inline]
    pub fn add(&mut self, id: AccountId, (ops, bytes): (u64, u64), ns: u64) {
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

    /// Whether there are `most` of them, or so many are `remembered`, so that they are to be closed.
    pub fn are_many(&self, remembered: usize, most: usize) -> bool {
        self.all.len().max(remembered) >= most
    }

    /// Closes all: counts what is in them, which is of the capture of that number. No id holds any more.
    pub fn close(&mut self, capture: usize, partial: &mut Partial) {
        let Accounts { all, sums, activity } = std::mem::replace(self, Accounts::new(self.activity));
        for (account, sums) in all.into_iter().zip(sums).skip(LEFT_OUT as usize + 1) {
            let Account { kind: Kind { layer, direction, counted }, slot, places, disk, untimed, serves } = account;
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
