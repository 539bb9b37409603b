//! What was lost when: the table `loss` of a capture, held against the books in its manifest.
//!
//! The table is read before the scan, which then counts the rows of each table in the times when something of it was lost
//! ([`during`]). Seconds that touch become one episode ([`episodes`]), and there are never more than [`MOST`] for a table and
//! cause, so memory does not follow the length of a capture. What the books have and no row of `loss` is kept without a time, so
//! that everything together is what the books say. [`crate::tables::loss`] makes `loss.csv` and the lines on the terminal.

pub mod during;
pub mod episodes;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use anyhow::Result;
use arrow::array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::ledger::Lost;
use iostrata_capture::manifest::{Manifest, State};
use iostrata_capture::tables::{LossTable, LossView};
use iostrata_capture::{Capture, TableId};

use crate::scan::{EVENT_TABLES, EventTable};
use during::Windows;
use episodes::{Episodes, Stretch};

/// How many episodes of one table and cause are kept apart: one for each ten minutes of a week.
pub const MOST: usize = 1_000;

/// The cause of events that belong to a program which the kernel skipped.
pub const SKIPPED: &str = "skipped";

/// What was lost and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The table; none where it is not known, or all of them.
    pub table: Option<TableId>,
    /// The cause; empty where it is not known.
    pub cause: &'static str,
}

impl Kind {
    /// From words that may be anything.
    fn of(table: &str, cause: &str) -> Kind {
        let known = Lost::CAUSES.iter().find(|known| **known == cause).copied();
        Kind { table: TableId::parse(table), cause: known.unwrap_or_default() }
    }

    /// The table's name; empty where it is not known, or all of them.
    pub fn table_name(&self) -> &'static str {
        self.table.map_or("", TableId::name)
    }
}

/// By name, as in `loss.csv`.
impl Ord for Kind {
    fn cmp(&self, other: &Kind) -> Ordering {
        (self.table_name(), self.cause).cmp(&(other.table_name(), other.cause))
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Kind) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Events of which the table `loss` tells more than the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// What was lost and why.
    pub kind: Kind,
    /// What the rows of `loss` add up to.
    pub told: u64,
    /// What the books say.
    pub booked: u64,
}

/// What one capture lost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Losses {
    /// When, in order of time.
    pub episodes: Vec<(Kind, Stretch)>,
    /// What no row of `loss` has the time of.
    pub untimed: BTreeMap<Kind, u64>,
    /// Where the table and the books contradict each other.
    pub excess: Vec<Excess>,
    /// The last moment that a row of `loss` tells of.
    pub told_until_ns: Option<i64>,
    /// By table: the times in which its rows are counted.
    windows: BTreeMap<TableId, Windows>,
}

/// The rows of the table `loss`, as they are read.
struct Told {
    sums: BTreeMap<Kind, u64>,
    episodes: BTreeMap<Kind, Episodes>,
    until_ns: Option<i64>,
}

impl Losses {
    /// What `capture` lost.
    ///
    /// # Errors
    /// Where a part of its table `loss` cannot be read.
    pub fn load(capture: &Capture) -> Result<Losses> {
        let mut told = Told::new();
        for part in capture.parts::<LossTable>()? {
            part.read::<LossTable>(|batch| told.add_batch(batch))?;
        }
        Ok(told.settle(&capture.manifest))
    }

    /// The times in which rows of `table` are to be counted; none where nothing of it was lost at a known time.
    pub fn windows(&self, table: TableId) -> Option<&Windows> {
        self.windows.get(&table)
    }

    /// All that is known to be lost, by table and cause.
    pub fn by_kind(&self) -> BTreeMap<Kind, u64> {
        let mut sums = self.untimed.clone();
        for (kind, stretch) in &self.episodes {
            add(&mut sums, *kind, stretch.events);
        }
        sums
    }

    /// What is known to be lost of `table`; with `None`, of tables that are not known.
    pub fn of_table(&self, table: impl Into<Option<TableId>>) -> u64 {
        let table = table.into();
        let sums = self.by_kind();
        let of_table = sums.iter().filter(|(kind, _)| kind.table == table);
        of_table.fold(0, |sum, (_, events)| sum.saturating_add(*events))
    }

    /// What was lost of `table` in times that were over at `until_ns`.
    pub fn until(&self, table: TableId, until_ns: i64) -> u64 {
        let over = self.episodes.iter().filter(|(kind, of)| kind.table == Some(table) && of.until_ns <= until_ns);
        over.fold(0, |sum, (_, stretch)| sum.saturating_add(stretch.events))
    }
}

fn add(sums: &mut BTreeMap<Kind, u64>, kind: Kind, events: u64) {
    let sum = sums.entry(kind).or_default();
    *sum = sum.saturating_add(events);
}

impl Told {
    fn new() -> Told {
        Told { sums: BTreeMap::new(), episodes: BTreeMap::new(), until_ns: None }
    }

    fn add_batch(&mut self, batch: &RecordBatch) -> std::result::Result<(), String> {
        let view = LossView::new(batch)?;
        (0..view.rows).for_each(|row| self.add(&view, row));
        Ok(())
    }

    fn add(&mut self, view: &LossView, row: usize) {
        // Nothing, or less, cannot have been lost.
        let Some(events) = u64::try_from(view.events.at(row)).ok().filter(|events| *events > 0) else { return };
        let kind = Kind::of(view.class.at(row).unwrap_or_default(), view.cause.at(row).unwrap_or_default());
        let (since_ns, until_ns) = (view.since_ns.at(row), view.ts_ns.at(row));
        add(&mut self.sums, kind, events);
        self.until_ns = self.until_ns.max(Some(until_ns));
        // A time that ends before it begins is none: what was lost then stays without one.
        if since_ns <= until_ns {
            let stretch = Stretch::new(since_ns, until_ns, events, view.cpu.at(row));
            self.episodes.entry(kind).or_insert_with(|| Episodes::new(MOST)).add(stretch);
        }
    }

    /// Holds the rows against the books, which know also what only the end of a recording tells.
    fn settle(self, manifest: &Manifest) -> Losses {
        let booked = booked(manifest);
        let mut losses = Losses { told_until_ns: self.until_ns, ..Losses::default() };
        // The books of a recording that was cut off were never written.
        let compared = if manifest.state == State::Complete { &self.sums } else { &BTreeMap::new() };
        for (kind, told) in compared {
            let booked = booked.get(kind).copied().unwrap_or_default();
            if *told > booked {
                losses.excess.push(Excess { kind: *kind, told: *told, booked });
            }
        }
        let mut timed: BTreeMap<Kind, u64> = BTreeMap::new();
        for (kind, episodes) in self.episodes {
            for stretch in episodes.finish() {
                add(&mut timed, kind, stretch.events);
                losses.episodes.push((kind, stretch));
            }
        }
        let mut all = booked;
        for (kind, told) in self.sums {
            let sum = all.entry(kind).or_default();
            *sum = told.max(*sum);
        }
        let untimed =
            |(kind, sum): (Kind, u64)| (kind, sum.saturating_sub(timed.get(&kind).copied().unwrap_or_default()));
        losses.untimed = all.into_iter().map(untimed).filter(|(_, events)| *events > 0).collect();
        losses.episodes.sort_by_key(|(kind, stretch)| (stretch.since_ns, stretch.until_ns, *kind));
        for EventTable { id, .. } in EVENT_TABLES.iter().filter(|table| table.has_ends) {
            let of_table = losses.episodes.iter().filter(|(kind, _)| kind.table == Some(*id));
            let mut times = of_table.map(|(_, stretch)| (stretch.since_ns, stretch.until_ns)).peekable();
            if times.peek().is_some() {
                losses.windows.insert(*id, Windows::new(times));
            }
        }
        losses
    }
}

/// What the books of a capture say was lost.
fn booked(manifest: &Manifest) -> BTreeMap<Kind, u64> {
    let mut sums = BTreeMap::new();
    for account in &manifest.books.accounts {
        for (cause, events) in account.lost.by_cause().into_iter().filter(|(_, events)| *events > 0) {
            add(&mut sums, Kind::of(&account.class, cause), events);
        }
    }
    for skipped in manifest.books.skipped.iter().filter(|skipped| skipped.recursion > 0) {
        add(&mut sums, Kind { cause: SKIPPED, ..Kind::of(&skipped.class, "") }, skipped.recursion);
    }
    sums
}

#[cfg(test)]
mod tests;
