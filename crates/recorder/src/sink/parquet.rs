//! Parquet sink: a queue to a writer thread, bounded by the memory of its batches.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Sender, TrySendError, bounded};
use iostrata_capture::ByTable;
use iostrata_capture::dir::Dir;

use super::free_space::MinFree;
use super::part_catalog::Size;
use super::writer::Writer;
use super::{Batch, Sink, Totals, Whole};
use crate::books::EventCounts;
use crate::classes::OFTEN;
use crate::losses::Losses;
use crate::memory::Memory;

/// Maximum number of batches in the queue, regardless of their size.
const CHANNEL_BATCHES: usize = 256;

/// Additional queue space for requests to make data durable. A request that finds no space is repeated after the flush interval.
const CHANNEL_WISHES: usize = 8;

/// Message to the writer.
pub enum Sent {
    /// Rows.
    Batch(Batch),
    /// Make everything sent before durable, with the completeness time if known.
    Durable(Option<Whole>),
}

/// Interval at which a waiting sender checks for space.
const LOOK: Duration = Duration::from_millis(5);

/// Settings for writing parts.
pub struct Settings {
    /// Directory of the capture; it and the folders of its tables stay open.
    pub directory: Dir,
    /// Id of the capture, which is in each part's footer.
    pub capture_id: String,
    /// Start of the recording, in `ts_ns` time.
    pub began_ns: i64,
    /// Previous segments, in order.
    pub older: Vec<Dir>,
    /// Free space to leave on its file system.
    pub min_free: MinFree,
    /// Size limit of the capture.
    pub max_disk_bytes: Option<u64>,
    /// Size at which a part is closed.
    pub rotate_bytes: u64,
    /// Age at which a part is closed.
    pub rotate_interval: Duration,
    /// Maximum time until rows of an open part are made durable, without an earlier request.
    pub flush_interval: Duration,
    /// Interval at which open parts are checked while no batch arrives.
    pub tick: Duration,
    /// Memory limits of the queue and the open parts.
    pub memory: Memory,
}

/// Result of the writer thread.
pub struct Written {
    /// Number and size of the finished parts.
    pub size: Size,
    /// Events with rows in finished parts, by table.
    pub written: ByTable<EventCounts>,
    /// First error of the writer.
    pub error: Option<String>,
}

/// Sending side.
#[derive(Clone)]
pub struct ParquetSink {
    channel: Sender<Sent>,
    totals: Arc<Totals>,
    memory: Memory,
}

impl ParquetSink {
    /// Starts the writer thread. It ends when every clone of the sink is dropped.
    pub fn start(
        settings: Settings,
        (totals, losses): (Arc<Totals>, Arc<Losses>),
    ) -> Result<(ParquetSink, JoinHandle<Written>)> {
        let (channel, batches) = bounded(CHANNEL_BATCHES + CHANNEL_WISHES);
        let memory = settings.memory;
        let writer = Writer::new(settings, (Arc::clone(&totals), losses))?;
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || writer.run(&batches))
            .context("cannot start the writer thread")?;
        Ok((ParquetSink { channel, totals, memory }, thread))
    }

    /// Whether the queue has space for a batch. An empty queue has space for any batch; frequent tables leave a quarter to the
    /// others.
    fn has_room(&self, batch: &Batch) -> bool {
        let (queue_bytes, batches) = match OFTEN.contains(&batch.table) {
            true => (self.memory.often_queue_bytes(), CHANNEL_BATCHES / 4 * 3),
            false => (self.memory.queue_bytes, CHANNEL_BATCHES),
        };
        let queued = self.totals.queued_bytes.load(Relaxed);
        queued == 0 || queued + batch.bytes() <= queue_bytes && self.channel.len() < batches
    }

    fn send(&self, batch: Batch, send: impl FnOnce(Sent) -> Result<(), Sent>) -> Result<(), Batch> {
        let bytes = batch.bytes();
        self.totals.queued_bytes.fetch_add(bytes, Relaxed);
        match send(Sent::Batch(batch)) {
            Err(Sent::Batch(batch)) => {
                self.totals.queued_bytes.fetch_sub(bytes, Relaxed);
                Err(batch)
            }
            _ => Ok(()),
        }
    }
}

impl Sink for ParquetSink {
    fn offer(&mut self, batch: Batch) -> Result<(), Batch> {
        if !self.has_room(&batch) {
            return Err(batch);
        }
        self.send(batch, |sent| self.channel.try_send(sent).map_err(TrySendError::into_inner))
    }

    fn put(&mut self, batch: Batch) -> Result<(), Batch> {
        // If the writer has ended, the channel is empty, and sending returns an error.
        while !self.has_room(&batch) && !self.channel.is_empty() {
            std::thread::sleep(LOOK);
        }
        self.send(batch, |sent| self.channel.send(sent).map_err(|e| e.0))
    }

    fn make_durable(&mut self, whole: Option<Whole>) {
        let _ = self.channel.try_send(Sent::Durable(whole));
    }
}
