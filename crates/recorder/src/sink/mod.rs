//! Destinations of drained batches. A sink accepts batches and never makes the drain wait.

mod completeness;
mod count;
mod free_space;
pub mod live;
mod parquet;
mod part_catalog;
mod priority;
mod tee;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use iostrata_capture::TableId;

use crate::books::EventCounts;
use crate::health::Heartbeat;
use crate::sampling::Standing;

pub use count::{CountingSink, Counts};
pub use free_space::MinFree;
pub use parquet::{ParquetSink, Settings as ParquetSettings, Written};
pub use part_catalog::Size;
pub use tee::Tee;

/// Rows of one table, with the counts of their events.
#[derive(Clone)]
pub struct Batch {
    /// Table of the rows.
    pub table: TableId,
    /// The rows.
    pub rows: RecordBatch,
    /// Number of events, by CPU.
    pub tally: EventCounts,
}

impl Batch {
    /// Memory taken by the rows.
    pub fn bytes(&self) -> u64 {
        self.rows.get_array_memory_size() as u64
    }
}

/// Destination of batches.
pub trait Sink: Send {
    /// Accepts a batch, or returns it at once if there is no space.
    fn offer(&mut self, batch: Batch) -> Result<(), Batch>;
    /// Accepts a batch, and waits for space if that is useful; returns it if it will never be accepted.
    fn put(&mut self, batch: Batch) -> Result<(), Batch>;
    /// Signals the end of a flush: everything so far has been handed over.
    fn end_flush(&mut self) {}
    /// Requests that everything handed over so far is made durable, asynchronously, with the completeness time if known.
    fn make_durable(&mut self, _whole: Option<Whole>) {}
}

/// Completeness time: all operations that ended before it have been handed over, or are lost, and these losses have been handed over too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// The time, in `ts_ns` time.
    pub until_ns: i64,
    /// The writer's own losses counted by then ([`crate::losses::Losses::in_writing`]). Later ones are not recorded yet.
    pub lost_in_writing: u64,
}

/// Running totals for display, separate from the event accounting.
#[derive(Debug, Default)]
pub struct Totals {
    /// Events drained.
    pub events: AtomicU64,
    /// Events lost after the rings.
    pub lost: AtomicU64,
    /// Rows that match the filters, at the last flush.
    pub selected: AtomicU64,
    /// Bytes in finished parts.
    pub bytes: AtomicU64,
    /// Finished parts.
    pub parts: AtomicU64,
    /// Whether the writer waits for free space on the disk.
    pub paused: AtomicBool,
    /// Bytes of the batches in the writer's queue, and of the one being written.
    pub queued_bytes: AtomicU64,
    /// First error of the writer.
    pub error: OnceLock<String>,
    /// State of sampling.
    pub sampling: Arc<Standing>,
    /// Heartbeat of the drain.
    pub drain: Heartbeat,
    /// Heartbeat of the writer.
    pub writer: Heartbeat,
    /// Request to the writer to close the open parts; the writer resets it.
    pub rotate: AtomicBool,
}
