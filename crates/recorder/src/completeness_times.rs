//! Completeness times: all operations that completed before such a time have their records in the rings.
//!
//! A program reads the clock at a completion before its record is in a ring, and may be delayed in between. So this module reads the clock,
//! then waits for all programs that were running at that time. Only then the time is a completeness time. The kernel decides how long that
//! takes, so a separate thread waits.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};
use iostrata_capture::message::tell;

use crate::clock;
use crate::session::Barrier;

/// More than the few nanoseconds that the BPF programs' clock may lag behind while it is adjusted.
const BEHIND: Duration = Duration::from_micros(100);

/// Determines completeness times, one at a time.
pub struct CompletenessTimes {
    ask: SyncSender<()>,
    found: Receiver<Option<i64>>,
    is_asked: bool,
}

impl CompletenessTimes {
    /// Starts the thread, which ends when this is dropped.
    pub fn start(barrier: Barrier) -> Result<CompletenessTimes> {
        let (ask, asked) = sync_channel::<()>(1);
        let (tell_found, found) = sync_channel(1);
        let thread = move || {
            let mut has_failed = false;
            for () in asked {
                let moment_ns = clock::monotonic_ns() - BEHIND.as_nanos() as i64;
                let waited = barrier.wait();
                if let (Err(error), false) = (&waited, has_failed) {
                    has_failed = true;
                    tell(&format!(
                        "iostrata: {error:#}; after a crash the time up to which the capture is complete will be unknown\n"
                    ));
                }
                if tell_found.send(waited.is_ok().then_some(moment_ns)).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("moments".into()).spawn(thread).context("cannot start a thread")?;
        Ok(CompletenessTimes { ask, found, is_asked: false })
    }

    /// Requests one, unless a request is pending.
    pub fn ask(&mut self) {
        // The channel has space for one request, and there is never a second one.
        self.is_asked = self.is_asked || self.ask.try_send(()).is_ok();
    }

    /// Whether a request is pending.
    pub fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Returns the result of the request, once it is there: a time by the monotonic clock, or none if it cannot be determined.
    pub fn take(&mut self) -> Option<Option<i64>> {
        if !self.is_asked {
            return None;
        }
        let found = match self.found.try_recv() {
            Ok(found) => found,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => None,
        };
        self.is_asked = false;
        Some(found)
    }
}
