//! Where drained batches go. A sink takes batches and never makes the drain wait.

mod courtesy;
mod parquet;

use std::sync::atomic::AtomicU64;

use arrow::array::RecordBatch;

use crate::books::Tally;
use crate::classes::Class;

pub use parquet::{ParquetSink, Settings as ParquetSettings, Written};

/// Rows of one class, with the account of their events.
pub struct Batch {
    /// The class, which says the table.
    pub class: Class,
    /// The rows.
    pub rows: RecordBatch,
    /// How many events they are, by CPU.
    pub tally: Tally,
}

/// Takes batches.
pub trait Sink: Send {
    /// Takes a batch, or gives it back at once where there is no room.
    fn offer(&mut self, batch: Batch) -> Result<(), Batch>;
    /// Takes a batch, waiting for room; gives it back where the sink has failed for good.
    fn put(&mut self, batch: Batch) -> Result<(), Batch>;
}

/// Running totals for people to look at; the books are kept elsewhere.
#[derive(Debug, Default)]
pub struct Totals {
    /// Events drained.
    pub events: AtomicU64,
    /// Events lost on this side of the rings.
    pub lost: AtomicU64,
    /// Bytes in finished parts.
    pub bytes: AtomicU64,
    /// Finished parts.
    pub parts: AtomicU64,
}
