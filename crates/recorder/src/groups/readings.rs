//! Groups that aggregate in the kernel: counters and histograms in maps, read at an interval.
//!
//! Such a group is an object of its own (`bpf/NAME/NAME.bpf.c`). Its counters only grow, so a row is the difference of two readings: nothing is
//! missed between reading and clearing, and an interval whose rows find the writer's queue full becomes part of the next one. Rows that the writer
//! cannot write are lost, and counted.

use anyhow::{Context, Result, anyhow};
use arrow_array::RecordBatch;
use iostrata_capture::TableId;
use iostrata_capture::manifest::LayerState;
use iostrata_capture::table::{Table, TableBuilder};
use libbpf_rs::{Link, Object};

use crate::bpf::program;
use crate::kernel_facts::KernelFacts;
use crate::session::Words;

pub use crate::bpf::select;

/// Probe group that is read at an interval.
pub struct ReadingGroup {
    /// Table that it fills. The group has its name.
    pub table: TableId,
    /// Description, for the help.
    pub about: &'static str,
    /// Loads and attaches its programs.
    ///
    /// The error is the reason why this kernel cannot run them.
    pub start: fn(&Start) -> Result<Box<dyn Readings>>,
    /// Whether it applies the filter by device.
    pub filters_devices: bool,
}

/// What a group may depend on at its start.
pub struct Start<'a> {
    /// Features of the kernel.
    pub kernel: &'a dyn KernelFacts,
    /// Names of the codes in records.
    pub words: &'a Words,
    /// Device numbers of the selected disks; empty without a filter.
    pub devices: Vec<i32>,
}

/// Interval of a reading, on the clock of `ts_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Start, in ns.
    pub since_ns: i64,
    /// End, in ns.
    pub until_ns: i64,
}

/// Counters of a running group.
pub trait Source: Send {
    /// Table of its rows.
    type Table: Table;
    /// All counters at one time, since the start.
    type Counts: Send;

    /// Reads the counters.
    ///
    /// # Errors
    /// If the kernel refuses the access.
    fn counts(&self) -> Result<Self::Counts>;

    /// Returns the rows of an interval, from the counters at its ends.
    fn rows(span: Span, before: &Self::Counts, now: &Self::Counts) -> Vec<<Self::Table as Table>::Row>;

    /// Returns the events since the start that are in no row.
    fn lost(_counts: &Self::Counts) -> Lost {
        Lost::default()
    }
}

/// Events that are in no row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// A map had no room for them.
    pub table_full: u64,
    /// The kernel did not report their begin or their end.
    pub unseen_end: u64,
}

impl Lost {
    /// Adds `other`.
    pub fn add(&mut self, other: Lost) {
        self.table_full = self.table_full.saturating_add(other.table_full);
        self.unseen_end = self.unseen_end.saturating_add(other.unseen_end);
    }

    /// Difference to an earlier count.
    pub fn since(self, before: Lost) -> Lost {
        Lost {
            table_full: self.table_full.saturating_sub(before.table_full),
            unseen_end: self.unseen_end.saturating_sub(before.unseen_end),
        }
    }
}

/// Rows of one interval.
pub struct Reading {
    /// Rows.
    pub rows: RecordBatch,
    /// Events of the interval that are in no row.
    pub lost: Lost,
}

/// A running group, whatever it counts.
pub trait Readings: Send {
    /// Reads the counters as the start of the first interval.
    ///
    /// # Errors
    /// If the kernel refuses the access.
    fn begin(&mut self) -> Result<()>;

    /// Reads the counters, and returns the rows since the last reading that was kept.
    ///
    /// # Errors
    /// If the kernel refuses the access, or the rows cannot become a batch.
    fn read(&mut self, span: Span) -> Result<Reading>;

    /// Ends the interval of the last reading: its rows have been handed over.
    fn keep(&mut self);
}

/// Differences of the counters of a source between two readings.
pub struct Differences<S: Source> {
    source: S,
    kept: Option<S::Counts>,
    read: Option<S::Counts>,
}

impl<S: Source + 'static> Differences<S> {
    /// Wraps a source as a running group.
    pub fn of(source: S) -> Box<dyn Readings> {
        Box::new(Differences::new(source))
    }
}

impl<S: Source> Differences<S> {
    /// Wraps a source.
    pub fn new(source: S) -> Differences<S> {
        Differences { source, kept: None, read: None }
    }

    /// Reads the counters. Returns the rows and the lost events since the last reading that was kept.
    ///
    /// # Errors
    /// If the kernel refuses the access, or there was no start.
    pub fn rows(&mut self, span: Span) -> Result<(Vec<<S::Table as Table>::Row>, Lost)> {
        let now = self.source.counts()?;
        let before = self.kept.as_ref().ok_or_else(|| anyhow!("the counters have no start"))?;
        let lost = S::lost(&now).since(S::lost(before));
        let rows = S::rows(span, before, &now);
        self.read = Some(now);
        Ok((rows, lost))
    }
}

impl<S: Source> Readings for Differences<S> {
    fn begin(&mut self) -> Result<()> {
        self.kept = Some(self.source.counts()?);
        Ok(())
    }

    fn read(&mut self, span: Span) -> Result<Reading> {
        let (rows, lost) = self.rows(span)?;
        let mut builder = <S::Table as Table>::Builder::default();
        rows.into_iter().for_each(|row| builder.push(row));
        Ok(Reading { rows: builder.finish()?, lost })
    }

    fn keep(&mut self) {
        if let Some(read) = self.read.take() {
            self.kept = Some(read);
        }
    }
}

/// Attaches the programs. They run until the links are dropped.
///
/// # Errors
/// The program that the kernel refuses, and why.
pub fn attach(object: &Object, programs: &[&str]) -> Result<Vec<Link>> {
    let attach = |name: &&str| program(object, name)?.attach().with_context(|| format!("cannot attach {name}"));
    programs.iter().map(attach).collect()
}

/// State of a group in the manifest. `filters` names the filters of the recording that it does not apply.
pub fn state(started: &Result<Box<dyn Readings>>, filters: Vec<String>) -> LayerState {
    match started {
        Ok(_) => LayerState { captured: true, how: "tp_btf".to_owned(), without: filters },
        Err(why) => LayerState { captured: false, how: format!("{why:#}"), without: Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use iostrata_capture::tables::{ClockRow, ClockTable};

    use super::*;

    /// A counter that grows by one at each reading, of which none is lost but the third.
    struct Counter(std::sync::atomic::AtomicI64);

    impl Source for Counter {
        type Table = ClockTable;
        type Counts = i64;

        fn counts(&self) -> Result<i64> {
            Ok(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        }

        fn rows(span: Span, before: &i64, now: &i64) -> Vec<ClockRow> {
            vec![ClockRow { ts_ns: span.until_ns, wall_ns: now - before, boot_ns: 0 }]
        }

        fn lost(counts: &i64) -> Lost {
            Lost { table_full: u64::from(*counts >= 3), unseen_end: 0 }
        }
    }

    #[test]
    fn a_reading_that_was_not_kept_is_part_of_the_next() {
        let mut readings = Differences::of(Counter(0.into()));
        let span = Span { since_ns: 0, until_ns: 1 };
        assert!(readings.read(span).is_err(), "there was no start");
        readings.begin().expect("a counter");
        let mut read = || {
            let reading = readings.read(span).expect("a counter");
            let moved = iostrata_capture::tables::ClockView::new(&reading.rows).expect("the schema").wall_ns;
            (iostrata_capture::column::Reader::at(&moved, 0), reading.lost.table_full)
        };
        assert_eq!([read(), read()], [(1, 0), (2, 1)]);
        readings.keep();
        let reading = readings.read(span).expect("a counter");
        assert_eq!((reading.rows.num_rows(), reading.lost), (1, Lost::default()));
    }
}
