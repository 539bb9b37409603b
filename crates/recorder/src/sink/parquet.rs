//! The Parquet sink: a bounded channel to a writer thread that encodes, rotates and keeps the manifest.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use iostrata_capture::manifest::Manifest;
use iostrata_capture::part::PartWriter;

use super::courtesy::Courtesy;
use super::{Batch, Sink, Totals};
use crate::books::Tally;
use crate::classes::{CLASSES, Class, open_part};
use crate::report::tell;

/// Batches that may wait for the writer: with 8,192 rows of about 100 bytes each, 25 MiB.
const CHANNEL_BATCHES: usize = 32;

/// How often open parts are looked at when no batch comes, where nothing is due before.
const TICK: Duration = Duration::from_millis(500);

/// How parts are made.
pub struct Settings {
    /// The capture directory; the folders of the tables exist.
    pub directory: PathBuf,
    /// A part is closed when it has grown to this size.
    pub rotate_bytes: u64,
    /// A part is closed when it has been open this long.
    pub rotate_interval: Duration,
    /// Rows of an open part are made durable after at most this long.
    pub flush_interval: Duration,
    /// Classes that get a part even if they have no rows, so that a reader finds the table.
    pub expected: Vec<Class>,
}

/// What the writer thread leaves behind.
pub struct Written {
    /// The manifest with every finished part.
    pub manifest: Manifest,
    /// By class: rows in finished parts.
    pub written: Vec<Tally>,
    /// By class: rows in parts that could not be finished.
    pub failed: Vec<Tally>,
    /// The first thing that went wrong.
    pub error: Option<String>,
}

/// The sending side.
#[derive(Clone)]
pub struct ParquetSink {
    channel: Sender<Batch>,
}

impl ParquetSink {
    /// Starts the writer thread. It ends when every clone of the sink is gone.
    pub fn start(
        settings: Settings,
        manifest: Manifest,
        totals: Arc<Totals>,
    ) -> Result<(ParquetSink, JoinHandle<Written>)> {
        let (channel, batches) = bounded(CHANNEL_BATCHES);
        let writer = Writer {
            open: (0..CLASSES).map(|_| None).collect(),
            numbers: vec![0; CLASSES],
            result: Written {
                manifest,
                written: vec![Tally::default(); CLASSES],
                failed: vec![Tally::default(); CLASSES],
                error: None,
            },
            settings,
            totals,
        };
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || writer.run(&batches))
            .context("cannot start the writer thread")?;
        Ok((ParquetSink { channel }, thread))
    }
}

impl Sink for ParquetSink {
    fn offer(&mut self, batch: Batch) -> Result<(), Batch> {
        self.channel.try_send(batch).map_err(|e| match e {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
        })
    }

    fn put(&mut self, batch: Batch) -> Result<(), Batch> {
        self.channel.send(batch).map_err(|e| e.0)
    }
}

/// A part that is being written, with the events in it.
struct Open {
    part: PartWriter,
    tally: Tally,
    since: Instant,
    flushed: Instant,
}

struct Writer {
    settings: Settings,
    totals: Arc<Totals>,
    open: Vec<Option<Open>>,
    numbers: Vec<u32>,
    result: Written,
}

impl Writer {
    fn run(mut self, batches: &Receiver<Batch>) -> Written {
        let mut courtesy = Courtesy::new(CHANNEL_BATCHES);
        let tick = TICK.min(self.settings.flush_interval / 4);
        loop {
            courtesy.adapt(batches.len());
            match batches.recv_timeout(tick) {
                Ok(batch) => self.write(batch),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.rotate_and_flush();
        }
        for class in 0..CLASSES {
            if self.open[class].is_none() && self.numbers[class] == 0 && self.settings.expected.contains(&class) {
                let empty = self.open_part(class);
                self.note(empty);
            }
            self.close(class);
        }
        self.result
    }

    fn write(&mut self, batch: Batch) {
        let class = batch.class;
        if self.open[class].is_none()
            && let Err(error) = self.open_part(class)
        {
            self.lose(class, &batch.tally, &error);
            return;
        }
        let Some(open) = self.open[class].as_mut() else { return };
        open.tally.add(&batch.tally);
        match open.part.write(&batch.rows) {
            Ok(()) if open.part.bytes() >= self.settings.rotate_bytes => self.close(class),
            Ok(()) => {}
            Err(error) => self.give_up(class, &error.into()),
        }
    }

    fn open_part(&mut self, class: Class) -> Result<()> {
        let number = self.numbers[class] + 1;
        let part = open_part(class, &self.settings.directory, number)?;
        self.numbers[class] = number;
        let now = Instant::now();
        self.open[class] = Some(Open { part, tally: Tally::default(), since: now, flushed: now });
        Ok(())
    }

    fn rotate_and_flush(&mut self) {
        for class in 0..CLASSES {
            let Some(open) = self.open[class].as_mut() else { continue };
            if open.since.elapsed() >= self.settings.rotate_interval {
                self.close(class);
            } else if open.flushed.elapsed() >= self.settings.flush_interval {
                open.flushed = Instant::now();
                if let Err(error) = open.part.flush() {
                    self.give_up(class, &error.into());
                }
            }
        }
    }

    fn close(&mut self, class: Class) {
        let Some(open) = self.open[class].take() else { return };
        match open.part.finish() {
            Ok(part) => {
                self.totals.bytes.fetch_add(part.bytes, Relaxed);
                self.totals.parts.fetch_add(1, Relaxed);
                self.result.manifest.parts.push(part);
                self.result.written[class].add(&open.tally);
                let kept = self.result.manifest.write(&self.settings.directory).map_err(Into::into);
                self.note(kept);
            }
            Err(error) => self.lose(class, &open.tally, &error.into()),
        }
    }

    fn give_up(&mut self, class: Class, error: &anyhow::Error) {
        if let Some(open) = self.open[class].take() {
            self.lose(class, &open.tally, error);
            open.part.discard();
        }
    }

    fn lose(&mut self, class: Class, tally: &Tally, error: &anyhow::Error) {
        self.result.failed[class].add(tally);
        self.totals.lost.fetch_add(tally.events(), Relaxed);
        self.note(Err(anyhow!("{error:#}")));
    }

    /// The first error is told at once: whoever watches can still make room.
    fn note(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome
            && self.result.error.is_none()
        {
            tell(&format!("iostrata: {error:#}; what cannot be written is counted as lost\n"));
            self.result.error = Some(format!("{error:#}"));
        }
    }
}
