//! Moments of which it is known that all that had ended by then is in the rings.
//!
//! A program takes the time of an end before its record is in a ring, and may be held up in between. So a moment is taken, the programs are
//! waited for that were at work then, and only then it is one of these. That takes as long as the kernel likes, so it is done by a thread
//! of its own and nobody waits for it.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};
use iostrata_capture::message::tell;

use crate::clock;
use crate::session::Barrier;

/// The clock of the kernel side may be behind by some nanoseconds where it is adjusted; this is more.
const BEHIND: Duration = Duration::from_micros(100);

/// Finds moments, one at a time.
pub struct Moments {
    ask: SyncSender<()>,
    found: Receiver<Option<i64>>,
    is_asked: bool,
}

impl Moments {
    /// Starts the thread, which ends when this is dropped.
    pub fn start(barrier: Barrier) -> Result<Moments> {
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
                        "iostrata: {error:#}; after a kill it will not be known up to when the capture is complete\n"
                    ));
                }
                if tell_found.send(waited.is_ok().then_some(moment_ns)).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("moments".into()).spawn(thread).context("cannot start a thread")?;
        Ok(Moments { ask, found, is_asked: false })
    }

    /// Asks for one, unless one is being looked for.
    pub fn ask(&mut self) {
        // There is room for what is asked: nothing is asked twice.
        self.is_asked = self.is_asked || self.ask.try_send(()).is_ok();
    }

    /// Whether one is being looked for.
    pub fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// What was found since it was asked: by the monotonic clock, or nothing where there is no way to know one.
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
