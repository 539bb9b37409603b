//! What the recorder loses, as it happens: one ledger for all its threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use iostrata_capture::TableId;

use crate::books::Tally;

/// Why the recorder lost an event that the kernel side had handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The writer was behind and its queue full.
    ChannelFull,
    /// The disk refused the part.
    WriteFailed,
    /// The disk had less free space than is to be left.
    DiskFull,
    /// A record that could not be read.
    Undecodable,
    /// No loss: the device filter leaves it out, which the kernel side could not know.
    LeftOut,
}

/// Events that the recorder lost, by table and cause.
#[derive(Debug, Default)]
pub struct Losses {
    sums: Mutex<HashMap<(TableId, Cause), Tally>>,
    in_writing: AtomicU64,
}

impl Losses {
    /// Counts the events of `tally`.
    pub fn add(&self, table: TableId, cause: Cause, tally: &Tally) {
        // Sums are whole whatever a thread was doing when it ended.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).entry((table, cause)).or_default().add(tally);
        if matches!(cause, Cause::WriteFailed | Cause::DiskFull) {
            self.in_writing.fetch_add(tally.events(), Ordering::Release);
        }
    }

    /// Events that the writer lost until now. They are in the sums that are read afterwards.
    pub fn in_writing(&self) -> u64 {
        self.in_writing.load(Ordering::Acquire)
    }

    /// What was lost until now.
    pub fn of(&self, table: TableId, cause: Cause) -> Tally {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).get(&(table, cause)).cloned().unwrap_or_default()
    }
}
