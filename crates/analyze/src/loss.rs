//! Losses over time: the table `loss` of a capture, checked against the event accounting in its manifest.
//!
//! The table is read before the scan, which then counts the rows of each table in its loss windows ([`during`]). Adjacent seconds become one
//! episode ([`episodes`]). There are at most [`MOST`] per table and cause, so memory does not grow with the length of a capture. Losses that are in
//! the manifest but not in a row of `loss` have no time; with them the sum equals the manifest. [`crate::analyses::loss`] makes `loss.csv` and the
//! lines on the terminal.

pub mod during;
pub mod episodes;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use anyhow::Result;
use arrow_array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::ledger::Lost;
use iostrata_capture::manifest::{Manifest, State};
use iostrata_capture::tables::{LossTable, LossView};
use iostrata_capture::{Capture, TableId};

use crate::scan::{EVENT_TABLES, EventTable};
use during::Windows;
use episodes::{Episodes, Stretch};

/// Maximum number of episodes of one table and cause: one per ten minutes of a week.
pub const MOST: usize = 1_000;

/// Cause of events of a program that the kernel skipped.
pub const SKIPPED: &str = "skipped";

/// Kind of loss: table and cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Table; none if it is unknown, or all of them.
    pub table: Option<TableId>,
    /// Cause; empty if unknown.
    pub cause: &'static str,
}

impl Kind {
    /// Parses words, which may have any content.
    fn of(table: &str, cause: &str) -> Kind {
        let known = Lost::CAUSES.iter().find(|known| **known == cause).copied();
        Kind { table: TableId::parse(table), cause: known.unwrap_or_default() }
    }

    /// Returns the name of the table; empty if it is unknown, or all of them.
    pub fn table_name(&self) -> &'static str {
        self.table.map_or("", TableId::name)
    }
}

/// Order by name, as in `loss.csv`.
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

/// Losses of which the table `loss` has more than the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// Table and cause.
    pub kind: Kind,
    /// Sum of the rows of `loss`.
    pub told: u64,
    /// Sum in the manifest.
    pub booked: u64,
}

/// Losses of one capture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Losses {
    /// Losses with a time, in order of time.
    pub episodes: Vec<(Kind, Stretch)>,
    /// Losses without a row of `loss`, and so without a time.
    pub untimed: BTreeMap<Kind, u64>,
    /// Contradictions between the table and the manifest.
    pub excess: Vec<Excess>,
    /// Last moment that a row of `loss` covers.
    pub told_until_ns: Option<i64>,
    /// Loss windows, by table.
    windows: BTreeMap<TableId, Windows>,
}

/// Rows of the table `loss` while it is read.
struct LossRows {
    sums: BTreeMap<Kind, u64>,
    episodes: BTreeMap<Kind, Episodes>,
    until_ns: Option<i64>,
}

impl Losses {
    /// Loads the losses of `capture`.
    ///
    /// # Errors
    /// If a part of its table `loss` cannot be read.
    pub fn load(capture: &Capture) -> Result<Losses> {
        let mut told = LossRows::new();
        for part in capture.parts::<LossTable>()? {
            part.read::<LossTable>(|batch| told.add_batch(batch))?;
        }
        Ok(told.settle(&capture.manifest))
    }

    /// Returns the loss windows of `table`; none if it has no losses with a time.
    pub fn windows(&self, table: TableId) -> Option<&Windows> {
        self.windows.get(&table)
    }

    /// Returns all known losses, by table and cause.
    pub fn by_kind(&self) -> BTreeMap<Kind, u64> {
        let mut sums = self.untimed.clone();
        for (kind, stretch) in &self.episodes {
            add(&mut sums, *kind, stretch.events);
        }
        sums
    }

    /// Returns the known losses of `table`; with `None`, those of unknown tables.
    pub fn of_table(&self, table: impl Into<Option<TableId>>) -> u64 {
        let table = table.into();
        let sums = self.by_kind();
        let of_table = sums.iter().filter(|(kind, _)| kind.table == table);
        of_table.fold(0, |sum, (_, events)| sum.saturating_add(*events))
    }

    /// Returns the losses of `table` in windows that ended at or before `until_ns`.
    pub fn until(&self, table: TableId, until_ns: i64) -> u64 {
        let over = self.episodes.iter().filter(|(kind, of)| kind.table == Some(table) && of.until_ns <= until_ns);
        over.fold(0, |sum, (_, stretch)| sum.saturating_add(stretch.events))
    }
}

fn add(sums: &mut BTreeMap<Kind, u64>, kind: Kind, events: u64) {
    let sum = sums.entry(kind).or_default();
    *sum = sum.saturating_add(events);
}

impl LossRows {
    fn new() -> LossRows {
        LossRows { sums: BTreeMap::new(), episodes: BTreeMap::new(), until_ns: None }
    }

    fn add_batch(&mut self, batch: &RecordBatch) -> std::result::Result<(), String> {
        let view = LossView::new(batch)?;
        (0..view.rows).for_each(|row| self.add(&view, row));
        Ok(())
    }

    fn add(&mut self, view: &LossView, row: usize) {
        // Zero or negative counts are invalid.
        let Some(events) = u64::try_from(view.events.at(row)).ok().filter(|events| *events > 0) else { return };
        let kind = Kind::of(view.class.at(row).unwrap_or_default(), view.cause.at(row).unwrap_or_default());
        let (since_ns, until_ns) = (view.since_ns.at(row), view.ts_ns.at(row));
        add(&mut self.sums, kind, events);
        self.until_ns = self.until_ns.max(Some(until_ns));
        // A window that ends before it begins is invalid: its losses have no time.
        if since_ns <= until_ns {
            let stretch = Stretch::new(since_ns, until_ns, events, view.cpu.at(row));
            self.episodes.entry(kind).or_insert_with(|| Episodes::new(MOST)).add(stretch);
        }
    }

    /// Compares the rows with the manifest, which also has losses that are known only at the end of a recording.
    fn settle(self, manifest: &Manifest) -> Losses {
        let booked = booked(manifest);
        let mut losses = Losses { told_until_ns: self.until_ns, ..Losses::default() };
        // The manifest of an incomplete recording has no accounting.
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

/// Returns the losses in the manifest.
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
