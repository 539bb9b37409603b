//! End of a capture that is incomplete or still being recorded: events after the complete range are excluded.
//!
//! The recorder writes down a time up to which the rows of all CPUs and tables are on the disk ([`iostrata_capture::whole`]). Of events that ended
//! later, only some rows had reached the disk. If counted, they would make one process or layer look busier than another. These events are found
//! before the scan, in the few row groups that extend that far: parts of requests (`share`) do not have the end of their request, and the number of
//! excluded rows is reported.

use std::collections::HashSet;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int32Type, Int64Type};
use arrow_array::{Array, PrimitiveArray, RecordBatch};
use foldhash::fast::RandomState;
use iostrata_capture::manifest::State;
use iostrata_capture::panic_guard::reading;
use iostrata_capture::part::OpenPart;
use iostrata_capture::{Capture, TableId};

use serde::{Deserialize, Serialize};

use crate::memory::Budget;
use crate::scan::{BEGIN, EVENT_TABLES, EventTable};
use crate::valid::end_ns;

/// Column with the duration of an operation.
const DURATION: &str = "dur_ns";

/// Columns that, together with its begin, identify a request in `block` and in `share`.
const REQUEST: [&str; 2] = ["dev", "sector"];

/// Column of `block` with the bytes of a request that are in rows of `share`.
const SHARED: &str = "shared_bytes";

/// Begin of a request, its device and its first sector.
type Request = (i64, i32, Option<i64>);

/// Excluded end of one capture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// End of the complete range; none for a complete capture, and if unknown.
    pub whole_until_ns: Option<i64>,
    /// Whether that time may still increase.
    pub grows: bool,
    /// Number of rows of events that ended later.
    pub rows: u64,
    /// Excluded requests that have parts; only for reading events.
    #[serde(skip)]
    requests: HashSet<Request, RandomState>,
    /// Begin of the first of these requests.
    #[serde(skip)]
    first_ns: Option<i64>,
}

impl Tail {
    /// Finds the excluded rows of `capture`.
    ///
    /// # Errors
    /// If a part that extends that far cannot be read, or the requests do not fit into memory.
    pub fn load(capture: &Capture, memory: Budget) -> Result<Tail> {
        let grows = capture.manifest.state == State::Recording;
        let mut tail = Tail { whole_until_ns: capture.whole_until_ns, grows, ..Tail::default() };
        if tail.whole_until_ns.is_none() {
            return Ok(tail);
        }
        // `share` after `block`, which has the requests.
        for table in &EVENT_TABLES {
            tail.add(table, capture, memory)?;
        }
        Ok(tail)
    }

    /// Whether an event with this begin and duration is excluded. Without a duration its begin counts.
    #[inline]
    pub fn leaves_out(&self, ts_ns: i64, dur_ns: Option<i64>) -> bool {
        self.whole_until_ns.is_some_and(|until_ns| end_ns(ts_ns, dur_ns).unwrap_or(ts_ns) > until_ns)
    }

    /// Whether a part of a request is excluded, together with its request.
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

    /// Whether a row group may have excluded rows, by the statistics of the part.
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
