//! The end of a capture that was cut off, or is still being recorded: what ended when not all is there any more, and is left out.
//!
//! Up to a moment that the recorder wrote down ([`iostrata_capture::whole`]) everything is there, of all CPUs and in all tables. Of what
//! ended later some rows had reached the disk and others had not: counted, they would make one process or layer look busier than
//! another. What ended is found before the scan, in the few row groups that reach so far, because parts of requests (`share`) do not tell
//! when their request ended, and because it is to be said how much is left out.

use std::collections::HashSet;

use anyhow::Result;
use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type};
use foldhash::fast::RandomState;
use iostrata_capture::guard::reading;
use iostrata_capture::manifest::State;
use iostrata_capture::part::OpenPart;
use iostrata_capture::{Capture, TableId};

use crate::memory::Budget;
use crate::scan::{BEGIN, EVENT_TABLES, EventTable};
use crate::valid::end_ns;

/// How long an operation was under way.
const DURATION: &str = "dur_ns";

/// What says which request a part is of, beside when it began, in `block` and in `share`.
const REQUEST: [&str; 2] = ["dev", "sector"];

/// In `block`: how much of a request is in rows of `share`.
const SHARED: &str = "shared_bytes";

/// When a request began, its device and its first sector.
type Request = (i64, i32, Option<i64>);

/// What is left out at the end of one capture.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    /// Up to when all is there; none of a capture that came to its end, and where nobody knows.
    pub whole_until_ns: Option<i64>,
    /// Whether that moment may come to be a later one.
    pub grows: bool,
    /// Rows of events that ended later.
    pub rows: u64,
    /// Requests among them that have parts.
    requests: HashSet<Request, RandomState>,
    /// When the first of these began.
    first_ns: Option<i64>,
}

impl Tail {
    /// Of `capture`.
    ///
    /// # Errors
    /// Where a part that reaches so far cannot be read, and where there is more of it than there is memory for.
    pub fn load(capture: &Capture, memory: Budget) -> Result<Tail> {
        let grows = capture.manifest.state == State::Recording;
        let mut tail = Tail { whole_until_ns: capture.whole_until_ns, grows, ..Tail::default() };
        if tail.whole_until_ns.is_none() {
            return Ok(tail);
        }
        // `share` after `block`, which says of which requests.
        for table in &EVENT_TABLES {
            tail.add(table, capture, memory)?;
        }
        Ok(tail)
    }

    /// Whether what began then, and took so long, is left out. What does not tell how long it took is looked at when it began.
    #[inline]
    pub fn leaves_out(&self, ts_ns: i64, dur_ns: Option<i64>) -> bool {
        self.whole_until_ns.is_some_and(|until_ns| end_ns(ts_ns, dur_ns).unwrap_or(ts_ns) > until_ns)
    }

    /// Whether a part of a request is left out, with its request.
    #[inline]
    pub fn leaves_out_part(&self, ts_ns: i64, dev: i32, sector: Option<i64>) -> bool {
        self.whole_until_ns.is_some() && (self.leaves_out(ts_ns, None) || self.requests.contains(&(ts_ns, dev, sector)))
    }

    fn add(&mut self, table: &EventTable, capture: &Capture, memory: Budget) -> Result<()> {
        let mut columns = vec![BEGIN];
        if table.has_ends {
            columns.push(DURATION);
        }
        if !table.has_ends || table.id == TableId::Block {
            columns.extend(REQUEST);
        }
        if table.id == TableId::Block {
            columns.push(SHARED);
        }
        for part in table.parts(capture)? {
            reading(part.path(), || {
                let mut open = table.open(&part, &columns)?;
                let reaching: Vec<usize> =
                    (0..open.groups()).filter(|group| self.reaches(table, &open, *group)).collect();
                open.read(&reaching)?.each(|batch| self.add_batch(table, batch))
            })?;
            memory.check()?;
        }
        Ok(())
    }

    /// Whether something in a row group may be left out, as far as the part tells.
    fn reaches(&self, table: &EventTable, part: &OpenPart, group: usize) -> bool {
        let Some((_, begin_ns)) = part.bounds(group, BEGIN) else { return true };
        let last_ns = match part.bounds(group, DURATION) {
            Some((_, longest_ns)) if table.has_ends => begin_ns.saturating_add(longest_ns.max(0)),
            None if table.has_ends => return true,
            _ => begin_ns,
        };
        let has_parts = !table.has_ends && self.first_ns.is_some_and(|first_ns| begin_ns >= first_ns);
        has_parts || self.whole_until_ns.is_some_and(|until_ns| last_ns > until_ns)
    }

    fn add_batch(&mut self, table: &EventTable, batch: &RecordBatch) -> Result<(), String> {
        let begins = column::<Int64Type>(batch, BEGIN)?;
        let durations = table.has_ends.then(|| column::<Int64Type>(batch, DURATION)).transpose()?;
        let request = match table.id {
            TableId::Block | TableId::Share => {
                Some((column::<Int32Type>(batch, REQUEST[0])?, column::<Int64Type>(batch, REQUEST[1])?))
            }
            _ => None,
        };
        let shared = (table.id == TableId::Block).then(|| column::<Int64Type>(batch, SHARED)).transpose()?;
        let at = |of: &PrimitiveArray<Int64Type>, row: usize| of.is_valid(row).then(|| of.value(row));
        for row in 0..begins.len() {
            let ts_ns = begins.value(row);
            let request = request.map(|(dev, sector)| (ts_ns, dev.value(row), at(sector, row)));
            let is_left_out = match (durations, request) {
                (None, Some((ts_ns, dev, sector))) => self.leaves_out_part(ts_ns, dev, sector),
                (durations, _) => self.leaves_out(ts_ns, durations.and_then(|durations| at(durations, row))),
            };
            if !is_left_out {
                continue;
            }
            self.rows = self.rows.saturating_add(1);
            if shared.is_some_and(|shared| shared.value(row) > 0) {
                self.requests.extend(request);
                self.first_ns = Some(self.first_ns.map_or(ts_ns, |first_ns| first_ns.min(ts_ns)));
            }
        }
        Ok(())
    }
}

fn column<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>, String> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
    column.ok_or_else(|| format!("column {name} is not of whole numbers of this size"))
}
