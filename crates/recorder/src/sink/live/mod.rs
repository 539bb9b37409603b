//! The live view: completed operations, printed as they come by a thread of its own.
//!
//! Nobody waits for it. It has a bounded channel; rows that find it full are not shown, and counted as that. Processes,
//! which say the system of rows, have a channel of their own that the thread empties even while its reader stands still,
//! so that a burst of operations costs no names.

mod format;
mod processes;
mod row;
mod stream;
#[cfg(test)]
mod tests;
mod view;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use iostrata_capture::TableId;
use iostrata_capture::system::Systems;

use super::{Batch, Sink};
use crate::signals::Told;

use row::is_operation;
use view::View;

/// Batches of operations that may wait: enough for a burst, of at most 131,072 rows in 13 MB, and few enough that what a
/// slow reader sees is not long past.
const CHANNEL_BATCHES: usize = 16;

/// Batches of processes that may wait; there is one at most in a flush.
const PROCESS_BATCHES: usize = 64;

/// How long, after the recording, the reader has for what is waiting.
const READER_TIME: Duration = Duration::from_secs(2);

/// How long the thread then has to notice that time is up. It does not where a terminal has stopped its output.
const NOTICE_TIME: Duration = Duration::from_millis(500);

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table with a header.
    Text,
    /// A JSON object a line.
    Json,
}

/// What a view is made of.
pub struct Settings {
    /// How rows are printed.
    pub format: Format,
    /// Which system a process belongs to.
    pub systems: Systems,
    /// Where rows go.
    pub output: OwnedFd,
    /// Who wants to know when the output takes no more; there is no live view from then on.
    pub on_end: Option<Sender<Told>>,
}

/// A copy of the descriptor of standard output.
pub fn standard_output() -> Result<OwnedFd> {
    std::io::stdout().as_fd().try_clone_to_owned().context("--live: cannot use standard output")
}

/// Rows of operations that came and what became of them.
#[derive(Debug, Default)]
struct Rows {
    came: AtomicU64,
    /// Those that found the channel full.
    refused: AtomicU64,
    shown: AtomicU64,
}

/// Why a view ended.
#[derive(Debug)]
enum End {
    /// The recording is over and every row that was taken is printed.
    Done,
    /// The recording is over and the reader did not take the rest in time.
    TimeUp,
    /// Nobody reads any more.
    Closed,
    /// The output cannot be written.
    Failed(std::io::Error),
}

enum Message {
    Rows(TableId, RecordBatch),
    EndOfFlush,
}

/// The sending side.
pub struct LiveSink {
    operations: Sender<Message>,
    processes: Sender<RecordBatch>,
    rows: Arc<Rows>,
}

/// A running view.
pub struct Showing {
    end: Receiver<End>,
    time_up: Arc<AtomicBool>,
    rows: Arc<Rows>,
}

/// What a view has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Rows printed.
    pub shown: u64,
    /// Rows not printed.
    pub not_shown: u64,
    /// Why rows were not printed.
    pub why: Option<String>,
    /// Whether that is an error, and not the reader's choice or pace.
    pub failed: bool,
}

impl LiveSink {
    /// Starts the printing thread. It ends when the sink is gone and everything is printed, when nobody reads any more, or
    /// when its time is up.
    pub fn start(settings: Settings) -> Result<(LiveSink, Showing)> {
        let (operations, messages) = bounded(CHANNEL_BATCHES);
        let (processes, arriving) = bounded(PROCESS_BATCHES);
        let (ended, end) = bounded(1);
        let rows = Arc::new(Rows::default());
        let time_up = Arc::new(AtomicBool::new(false));
        let Settings { format, systems, output, on_end } = settings;
        let view = View::new(format, systems, output, arriving, Arc::clone(&rows), Arc::clone(&time_up));
        std::thread::Builder::new()
            .name("live".into())
            .spawn(move || {
                let end = view.run(&messages);
                if let Some((reason, on_end)) = end.word().zip(on_end) {
                    let _ = on_end.send(Told::Stop(reason));
                }
                let _ = ended.send(end);
            })
            .context("cannot start the thread of the live view")?;
        Ok((LiveSink { operations, processes, rows: Arc::clone(&rows) }, Showing { end, time_up, rows }))
    }
}

impl Sink for LiveSink {
    fn offer(&mut self, batch: Batch) -> Result<(), Batch> {
        if batch.table == TableId::Process {
            let full = self.processes.try_send(batch.rows.clone()).is_err();
            return if full { Err(batch) } else { Ok(()) };
        }
        if !is_operation(batch.table) {
            return Ok(());
        }
        let count = batch.rows.num_rows() as u64;
        self.rows.came.fetch_add(count, Relaxed);
        if self.operations.try_send(Message::Rows(batch.table, batch.rows.clone())).is_err() {
            self.rows.refused.fetch_add(count, Relaxed);
            return Err(batch);
        }
        Ok(())
    }

    /// Does not wait either: a reader that stands still would hold up the end of the recording.
    fn put(&mut self, batch: Batch) -> Result<(), Batch> {
        self.offer(batch)
    }

    fn end_flush(&mut self) {
        // Where there is no room the rows are printed with those of the next flush.
        let _ = self.operations.try_send(Message::EndOfFlush);
    }
}

impl Showing {
    /// Gives the reader a little time for what is waiting. To be called when the sink is gone.
    pub fn finish(self) -> Shown {
        let end = match self.end.recv_timeout(READER_TIME) {
            Err(RecvTimeoutError::Timeout) => {
                self.time_up.store(true, Relaxed);
                // A thread that is stuck in the terminal is left behind; it ends with the process.
                self.end.recv_timeout(NOTICE_TIME)
            }
            end => end,
        };
        let shown = self.rows.shown.load(Relaxed);
        let not_shown = self.rows.came.load(Relaxed).saturating_sub(shown);
        let (why, failed) = match end {
            Ok(End::Closed) => (CLOSED.to_owned(), false),
            Ok(End::Failed(error)) => (format!("{UNWRITABLE}: {error}"), true),
            Err(RecvTimeoutError::Disconnected) => ("the thread of the live view panicked".to_owned(), true),
            Ok(End::Done | End::TimeUp) | Err(RecvTimeoutError::Timeout) => {
                ("the output was too slow".to_owned(), false)
            }
        };
        Shown { shown, not_shown, why: (failed || not_shown > 0).then_some(why), failed }
    }
}

/// The reader has gone.
const CLOSED: &str = "standard output was closed";

/// Such as a full disk.
const UNWRITABLE: &str = "standard output cannot be written";

impl End {
    /// Why there is nobody any more to record for, where that is so.
    fn word(&self) -> Option<&'static str> {
        match self {
            End::Closed => Some(CLOSED),
            End::Failed(_) => Some(UNWRITABLE),
            End::Done | End::TimeUp => None,
        }
    }
}
