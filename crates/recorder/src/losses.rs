//! What the recorder loses, as it happens: one ledger for all its threads.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::books::Tally;
use crate::classes::Class;

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

/// Events that the recorder lost, by class and cause.
#[derive(Debug, Default)]
pub struct Losses(Mutex<HashMap<(Class, Cause), Tally>>);

impl Losses {
    /// Counts the events of `tally`.
    pub fn add(&self, class: Class, cause: Cause, tally: &Tally) {
        // Sums are whole whatever a thread was doing when it ended.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((class, cause)).or_default().add(tally);
    }

    /// What was lost until now.
    pub fn of(&self, class: Class, cause: Cause) -> Tally {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(class, cause)).cloned().unwrap_or_default()
    }
}
