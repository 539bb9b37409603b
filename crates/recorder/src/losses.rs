//! Events lost in the recorder: one counter set for all its threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use iostrata_capture::TableId;

use crate::books::EventCounts;

/// Cause of a loss after the BPF programs had handed over the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The writer was behind and its queue was full.
    ChannelFull,
    /// The part could not be written.
    WriteFailed,
    /// The disk had less free space than `--min-free`.
    DiskFull,
    /// The record could not be decoded.
    Undecodable,
    /// Not a loss: excluded by the device filter in user space, because the BPF programs did not know the file
    /// system.
    LeftOut,
}

/// Events lost in the recorder, by table and cause.
#[derive(Debug, Default)]
pub struct Losses {
    sums: Mutex<HashMap<(TableId, Cause), EventCounts>>,
    in_writing: AtomicU64,
}

impl Losses {
    /// Counts the events of `tally`.
    pub fn add(&self, table: TableId, cause: Cause, tally: &EventCounts) {
        // The sums stay valid even if a thread panicked with the lock held.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).entry((table, cause)).or_default().add(tally);
        if matches!(cause, Cause::WriteFailed | Cause::DiskFull) {
            self.in_writing.fetch_add(tally.events(), Ordering::Release);
        }
    }

    /// Number of events that the writer has lost so far. Sums that are read afterwards include them.
    pub fn in_writing(&self) -> u64 {
        self.in_writing.load(Ordering::Acquire)
    }

    /// Events lost so far.
    pub fn of(&self, table: TableId, cause: Cause) -> EventCounts {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).get(&(table, cause)).cloned().unwrap_or_default()
    }
}
