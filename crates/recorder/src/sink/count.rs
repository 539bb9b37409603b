//! The keeper of a recording that writes nothing: it counts, so that the books can be settled.

use anyhow::{Result, anyhow};
use crossbeam_channel::{Receiver, Sender, bounded};
use iostrata_capture::ByTable;

use super::{Batch, Sink};
use crate::books::Tally;

/// Takes every batch and keeps its account only.
pub struct CountingSink {
    tallies: ByTable<Tally>,
    /// Hands the counts over when the sink is gone.
    done: Sender<ByTable<Tally>>,
}

/// What a [`CountingSink`] leaves behind.
pub struct Counts(Receiver<ByTable<Tally>>);

impl CountingSink {
    /// A sink, and where its counts come from.
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
    /// By table: the events taken. Waits until the sink is gone.
    pub fn get(self) -> Result<ByTable<Tally>> {
        self.0.recv().map_err(|_| anyhow!("the counting sink left no counts"))
    }
}
