//! Rows come when what they are of is over, as they do from a recorder.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use iostrata_capture::Result;
use iostrata_capture::author::Rows;
use iostrata_capture::list::Part;
use iostrata_capture::table::Table;

/// The rows of a table, of which those wait that are not over.
pub struct Ordered<T: Table> {
    rows: Rows<T>,
    /// When each is over, its number, and where it waits.
    waiting: BinaryHeap<Reverse<(i64, u64, usize)>>,
    places: Vec<Option<T::Row>>,
    free: Vec<usize>,
    pushed: u64,
}

impl<T: Table> Ordered<T> {
    /// None yet.
    pub fn new(rows: Rows<T>) -> Self {
        Ordered { rows, waiting: BinaryHeap::new(), places: Vec::new(), free: Vec::new(), pushed: 0 }
    }

    /// Adds the row of what is over at `end_ns`.
    pub fn push(&mut self, end_ns: i64, row: T::Row) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(row);
        self.waiting.push(Reverse((end_ns, self.pushed, place)));
        self.pushed += 1;
    }

    /// Lets go what is over at `now_ns`: nothing comes any more that is over before.
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

    /// How many were added.
    pub fn rows(&self) -> u64 {
        self.pushed
    }

    /// Lets go of all, and ends the last part. All parts.
    pub fn finish(mut self) -> Result<Vec<Part>> {
        self.until(i64::MAX)?;
        self.rows.finish()
    }
}
