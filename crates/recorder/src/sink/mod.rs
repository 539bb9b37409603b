//! Where drained batches go. A sink takes batches and never makes the drain wait.

mod completeness;
mod count;
mod courtesy;
pub mod live;
mod parquet;
mod room;
mod shelf;
mod tee;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use iostrata_capture::TableId;

use crate::books::Tally;
use crate::health::Pulse;
use crate::sampling::Standing;

pub use count::{CountingSink, Counts};
pub use parquet::{ParquetSink, Settings as ParquetSettings, Written};
pub use room::MinFree;
pub use shelf::Size;
pub use tee::Tee;

/// Rows of one table, with the account of their events.
#[derive(Clone)]
pub struct Batch {
    /// The table.
    pub table: TableId,
    /// The rows.
    pub rows: RecordBatch,
    /// How many events they are, by CPU.
    pub tally: Tally,
}

impl Batch {
    /// What its rows take in memory.
    pub fn bytes(&self) -> u64 {
        self.rows.get_array_memory_size() as u64
    }
}

/// Takes batches.
pub trait Sink: Send {
    /// Takes a batch, or gives it back at once where there is no room.
    fn offer(&mut self, batch: Batch) -> Result<(), Batch>;
    /// Takes a batch, waiting for room where that is worth it; gives it back where it will never be taken.
    fn put(&mut self, batch: Batch) -> Result<(), Batch>;
    /// Learns that all that has happened until now has been handed over.
    fn end_flush(&mut self) {}
    /// Makes durable, in its own time, what has been handed over until now, and until when that is all, where it is known.
    fn make_durable(&mut self, _whole: Option<Whole>) {}
}

/// All that had ended by a moment has been handed over, or is lost, which has been handed over too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// The moment, in the time of `ts_ns`.
    pub until_ns: i64,
    /// The writer's own losses that were counted by then ([`crate::losses::Losses::in_writing`]). Those that come after are not told yet.
    pub lost_in_writing: u64,
}

/// Running totals for people to look at; the books are kept elsewhere.
#[derive(Debug, Default)]
pub struct Totals {
    /// Events drained.
    pub events: AtomicU64,
    /// Events lost on this side of the rings.
    pub lost: AtomicU64,
    /// Rows of what the filters are for, at the last flush.
    pub selected: AtomicU64,
    /// Bytes in finished parts.
    pub bytes: AtomicU64,
    /// Finished parts.
    pub parts: AtomicU64,
    /// Whether the writer waits for room on the disk.
    pub paused: AtomicBool,
    /// Bytes of the batches that wait for the writer, and of the one that it has.
    pub queued_bytes: AtomicU64,
    /// The first thing that went wrong with writing.
    pub error: OnceLock<String>,
    /// What of all that happens is recorded.
    pub sampling: Arc<Standing>,
    /// Whether the drain is at work.
    pub drain: Pulse,
    /// Whether the writer is.
    pub writer: Pulse,
    /// Whether the writer is to close the open parts; it takes the wish away.
    pub rotate: AtomicBool,
}
