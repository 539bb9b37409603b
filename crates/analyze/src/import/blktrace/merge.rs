//! Merge of the records of several readers by time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anyhow::{Context, Result};

use super::lane::Lane;
use super::record::{Event, Record};
use super::survey::Source;

/// Readers, each with its next record.
#[derive(Debug)]
pub struct Merge {
    sources: Vec<Source>,
    heads: Vec<Option<Record>>,
    /// Readers by the time of their next record. At equal times the first reader comes first.
    due: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Merge {
    /// Merges the records of `sources`.
    pub fn new(sources: Vec<Source>) -> Result<Merge> {
        let mut merge = Merge { heads: vec![None; sources.len()], sources, due: BinaryHeap::new() };
        for source in 0..merge.sources.len() {
            merge.advance(source, 0)?;
        }
        Ok(merge)
    }

    /// Returns the next record.
    pub fn next(&mut self) -> Result<Option<Record>> {
        let Some(Reverse((time, source))) = self.due.pop() else { return Ok(None) };
        let record = self.heads.get_mut(source).and_then(Option::take);
        self.advance(source, time)?;
        Ok(record)
    }

    /// Reads the next record of a reader. A notice sorts by the time of the previous record, not by its own: `blkparse -d` does not change the
    /// time of notices, and counts that of all other records from the first.
    fn advance(&mut self, number: usize, before: u64) -> Result<()> {
        let Source { lane, path } = &mut self.sources[number];
        let Some(record) = Lane::next(lane).with_context(|| crate::import::not_a_trace(path))? else { return Ok(()) };
        let time = if matches!(record.event(), Event::Notice(_)) { before } else { record.time.max(before) };
        self.heads[number] = Some(record);
        self.due.push(Reverse((time, number)));
        Ok(())
    }
}
