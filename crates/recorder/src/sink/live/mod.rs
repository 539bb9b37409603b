//! Live view: completed operations, printed as they occur by a separate thread.
//!
//! No other thread waits for it. It has a bounded channel; rows that find it full are not shown, and are counted.
//! Processes, which determine the system of rows, have a separate channel. The thread empties it even while its reader is
//! stalled, so that a burst of operations costs no names.

mod files;
mod format;
mod history;
mod printer;
mod processes;
mod requests;
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
use arrow_array::RecordBatch;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use iostrata_capture::TableId;
use iostrata_capture::system::Systems;

use super::{Batch, Sink};
use crate::signals::Told;

pub use requests::Shape;
use row::is_operation;
use view::View;

/// Maximum number of waiting batches of operations: enough for a burst, at most 131,072 rows in 13 MB, and few enough that
/// a slow reader sees recent rows.
const CHANNEL_BATCHES: usize = 16;

/// Maximum number of waiting batches of processes and files; a flush has at most one of each.
const PROCESS_BATCHES: usize = 64;

/// Time for the reader to take the waiting rows after the recording.
const READER_TIME: Duration = Duration::from_secs(2);

/// Time for the thread to notice the end of that time. It does not if a terminal has stopped its output.
const NOTICE_TIME: Duration = Duration::from_millis(500);

/// Output format of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table with a header.
    Text,
    /// One JSON object per line.
    Json,
}

/// Rows that are printed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Operations of all layers.
    Operations(Format),
    /// Block requests with their files.
    Requests(Shape),
}

impl Form {
    /// Whether rows have the paths of files.
    pub fn has_files(self) -> bool {
        matches!(self, Form::Requests(_))
    }
}

/// Settings of a view.
pub struct Settings {
    /// Rows that are printed.
    pub form: Form,
    /// Rules that map a process to a system.
    pub systems: Systems,
    /// Output of the rows.
    pub output: OwnedFd,
    /// Receiver of a notification when the output accepts no more rows; the live view has ended then.
    pub on_end: Option<Sender<Told>>,
}

/// Duplicates the descriptor of standard output.
pub fn standard_output() -> Result<OwnedFd> {
    std::io::stdout().as_fd().try_clone_to_owned().context("cannot use standard output")
}

/// Counters of the rows of operations.
#[derive(Debug, Default)]
struct Rows {
    came: AtomicU64,
    /// Rows that found the channel full.
    refused: AtomicU64,
    shown: AtomicU64,
}

/// Reason for the end of a view.
#[derive(Debug)]
enum End {
    /// The recording has ended and all accepted rows are printed.
    Done,
    /// The recording has ended and the reader did not take the remaining rows in time.
    TimeUp,
    /// The reader has closed the output.
    Closed,
    /// The output failed.
    Failed(std::io::Error),
}

enum Message {
    Rows(TableId, RecordBatch),
    EndOfFlush,
}

/// Sending side.
pub struct LiveSink {
    operations: Sender<Message>,
    /// Rows of processes and files.
    names: Sender<(TableId, RecordBatch)>,
    has_files: bool,
    rows: Arc<Rows>,
}

/// A running view.
pub struct Showing {
    end: Receiver<End>,
    time_up: Arc<AtomicBool>,
    rows: Arc<Rows>,
}

/// Result of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Number of rows printed.
    pub shown: u64,
    /// Number of rows not printed.
    pub not_shown: u64,
    /// Reason for the rows not printed.
    pub why: Option<String>,
    /// Whether that is an error, and not the choice or speed of the reader.
    pub failed: bool,
}

impl LiveSink {
    /// Starts the printing thread. It ends when the sink is dropped and everything is printed, when the reader closes the
    /// output, or when its time is up.
    pub fn start(settings: Settings) -> Result<(LiveSink, Showing)> {
        let (operations, messages) = bounded(CHANNEL_BATCHES);
        let (names, arriving) = bounded(PROCESS_BATCHES);
        let (ended, end) = bounded(1);
        let rows = Arc::new(Rows::default());
        let time_up = Arc::new(AtomicBool::new(false));
        let Settings { form, systems, output, on_end } = settings;
        let view = View::new(form, systems, output, arriving, Arc::clone(&rows), Arc::clone(&time_up));
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
        Ok((
            LiveSink { operations, names, has_files: form.has_files(), rows: Arc::clone(&rows) },
            Showing { end, time_up, rows },
        ))
    }
}

impl Sink for LiveSink {
    fn offer(&mut self, batch: Batch) -> Result<(), Batch> {
        if batch.table == TableId::Process || (batch.table == TableId::File && self.has_files) {
            let full = self.names.try_send((batch.table, batch.rows.clone())).is_err();
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

    /// Does not wait either: a stalled reader would delay the end of the recording.
    fn put(&mut self, batch: Batch) -> Result<(), Batch> {
        self.offer(batch)
    }

    fn end_flush(&mut self) {
        // If the channel is full, the rows are printed with those of the next flush.
        let _ = self.operations.try_send(Message::EndOfFlush);
    }
}

impl Showing {
    /// Gives the reader a short time for the waiting rows. Call when the sink is dropped.
    pub fn finish(self) -> Shown {
        let end = match self.end.recv_timeout(READER_TIME) {
            Err(RecvTimeoutError::Timeout) => {
                self.time_up.store(true, Relaxed);
                // A thread blocked on the terminal is abandoned; it ends with the process.
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
            Ok(End::Done | End::TimeUp) | Err(RecvTimeoutError::Timeout) => (SLOW.to_owned(), false),
        };
        Shown { shown, not_shown, why: (failed || not_shown > 0).then_some(why), failed }
    }
}

/// The reader has not taken all rows.
const SLOW: &str = "the output was too slow";

impl Shown {
    /// Whether rows were dropped because the reader was too slow.
    pub fn is_slow(&self) -> bool {
        self.not_shown > 0 && self.why.as_deref() == Some(SLOW)
    }
}

/// The reader has closed the output.
const CLOSED: &str = "standard output was closed";

/// For example, a full disk.
const UNWRITABLE: &str = "standard output cannot be written";

impl End {
    /// Reason why the recording has no output any more, if so.
    fn word(&self) -> Option<&'static str> {
        match self {
            End::Closed => Some(CLOSED),
            End::Failed(_) => Some(UNWRITABLE),
            End::Done | End::TimeUp => None,
        }
    }
}
