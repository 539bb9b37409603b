//! The Parquet sink: a queue to a writer thread, bounded by what its batches take in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Sender, TrySendError, bounded};
use iostrata_capture::ByTable;
use iostrata_capture::dir::Dir;

use super::room::MinFree;
use super::shelf::Size;
use super::writer::Writer;
use super::{Batch, Sink, Totals, Whole};
use crate::books::Tally;
use crate::classes::OFTEN;
use crate::losses::Losses;
use crate::memory::Memory;

/// Batches that may wait for the writer, however small they are.
const CHANNEL_BATCHES: usize = 256;

/// So many wishes for what was sent to be made durable may wait besides. One that finds no room comes again after the flush interval.
const CHANNEL_WISHES: usize = 8;

/// What the writer is sent.
pub enum Sent {
    /// Rows.
    Batch(Batch),
    /// What was sent before is to be made durable, and until when that is all, where it is known.
    Durable(Option<Whole>),
}

/// How often a sender that waits for room looks for it.
const LOOK: Duration = Duration::from_millis(5);

/// How parts are made.
pub struct Settings {
    /// The capture directory; it and the folders of the tables in it are kept.
    pub directory: Dir,
    /// The capture's id, which is in each part's footer.
    pub capture_id: String,
    /// Before when nothing is recorded, in the time of `ts_ns`.
    pub began_ns: i64,
    /// The segments before this one, in order.
    pub older: Vec<Dir>,
    /// Free space that is left on its file system.
    pub min_free: MinFree,
    /// What the capture may take.
    pub max_disk_bytes: Option<u64>,
    /// A part is closed when it has grown to this size.
    pub rotate_bytes: u64,
    /// A part is closed when it has been open this long.
    pub rotate_interval: Duration,
    /// Rows of an open part are made durable after at most this long, if nobody has asked for it before.
    pub flush_interval: Duration,
    /// How often open parts are looked at when no batch comes.
    pub tick: Duration,
    /// What the queue and the open parts may take.
    pub memory: Memory,
}

/// What the writer thread leaves behind.
pub struct Written {
    /// The parts that are there.
    pub size: Size,
    /// By table: events whose rows are in finished parts.
    pub written: ByTable<Tally>,
    /// The first thing that went wrong.
    pub error: Option<String>,
}

/// The sending side.
#[derive(Clone)]
pub struct ParquetSink {
    channel: Sender<Sent>,
    totals: Arc<Totals>,
    memory: Memory,
}

impl ParquetSink {
    /// Starts the writer thread. It ends when every clone of the sink is gone.
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

    /// Whether a batch finds room in the queue. An empty one has room for any; what comes often leaves a quarter to the rest.
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
        // Where the writer is gone the channel is empty, and says so when it is sent to.
        while !self.has_room(&batch) && !self.channel.is_empty() {
            std::thread::sleep(LOOK);
        }
        self.send(batch, |sent| self.channel.send(sent).map_err(|e| e.0))
    }

    fn make_durable(&mut self, whole: Option<Whole>) {
        let _ = self.channel.try_send(Sent::Durable(whole));
    }
}
