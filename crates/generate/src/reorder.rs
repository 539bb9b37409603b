//! Orders rows by the end of their operations, as a recorder does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use iostrata_capture::Result;
use iostrata_capture::capture_writer::Rows;
use iostrata_capture::list::Part;
use iostrata_capture::table::Table;

/// Rows of a table, with a buffer for operations that have not ended.
pub struct Ordered<T: Table> {
    rows: Rows<T>,
    /// End time, sequence number and index in `places` of each buffered row.
    waiting: BinaryHeap<Reverse<(i64, u64, usize)>>,
    places: Vec<Option<T::Row>>,
    free: Vec<usize>,
    pushed: u64,
}

impl<T: Table> Ordered<T> {
    /// Creates an empty buffer.
    pub fn new(rows: Rows<T>) -> Self {
        Ordered { rows, waiting: BinaryHeap::new(), places: Vec::new(), free: Vec::new(), pushed: 0 }
    }

    /// Adds the row of an operation that ends at `end_ns`.
    pub fn push(&mut self, end_ns: i64, row: T::Row) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(row);
        self.waiting.push(Reverse((end_ns, self.pushed, place)));
        self.pushed += 1;
    }

    /// Writes the rows of operations that ended by `now_ns`. No later row may have an earlier end.
    pub fn until(&mut self, now_ns: i64) -> Result<()> {
        while let Some(Reverse((end_ns, _, place))) = self.waiting.peek().copied()
            && end_ns <= now_ns
        {
            self.waiting.pop();
            self.free.push(place);
            if let Some(row) = self.places[place].take() {
                self.rows.push(row)?;
            }
        }
        Ok(())
    }

    /// Number of added rows.
    pub fn rows(&self) -> u64 {
        self.pushed
    }

    /// Writes all rows and finishes the last part. Returns all parts.
    pub fn finish(mut self) -> Result<Vec<Part>> {
        self.until(i64::MAX)?;
        self.rows.finish()
    }
}
