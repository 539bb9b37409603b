//! Sink of a recording without a capture: counts rows for event accounting.

use anyhow::{Result, anyhow};
use crossbeam_channel::{Receiver, Sender, bounded};
use iostrata_capture::ByTable;

use super::{Batch, Sink};
use crate::books::EventCounts;

/// Counts every batch and drops it.
pub struct CountingSink {
    tallies: ByTable<EventCounts>,
    /// Receives the counts when the sink is dropped.
    done: Sender<ByTable<EventCounts>>,
}

/// Counts of a [`CountingSink`].
pub struct Counts(Receiver<ByTable<EventCounts>>);

impl CountingSink {
    /// Creates a sink and the receiver of its counts.
    pub fn start() -> (CountingSink, Counts) {
        let (done, counts) = bounded(1);
        (CountingSink { tallies: ByTable::default(), done }, Counts(counts))
    }
}

impl Sink for CountingSink {
    fn offer(&mut self, batch: Batch) -> Result<(), Batch> {
        self.tallies[batch.table].add(&batch.tally);
        Ok(())
    }

    fn put(&mut self, batch: Batch) -> Result<(), Batch> {
        self.offer(batch)
    }
}

impl Drop for CountingSink {
    fn drop(&mut self) {
        let _ = self.done.send(std::mem::take(&mut self.tallies));
    }
}

impl Counts {
    /// Number of events, by table. Waits until the sink is dropped.
    pub fn get(self) -> Result<ByTable<EventCounts>> {
        self.0.recv().map_err(|_| anyhow!("the counting sink left no counts"))
    }
}
