//! The progress line: elapsed time, events per second, written, lost, parts. Shown only on a terminal, and not with a
//! live view.

use std::io::IsTerminal;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::sink::Totals;

/// The progress line.
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    last: (Instant, u64),
}

impl Progress {
    /// Starts a line on standard error, if that is a terminal and there is no live view (`live`).
    pub fn start(live: bool) -> Self {
        #[allow(clippy::disallowed_methods, reason = "nothing is printed")]
        let visible = !live && std::io::stderr().is_terminal();
        let bar = if visible { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        let now = Instant::now();
        Progress { bar, started: now, last: (now, 0) }
    }

    /// Shows the current state; `kernel_lost` is the number of events lost before the rings.
    pub fn show(&mut self, totals: &Totals, kernel_lost: u64) {
        let (then, before) = self.last;
        let events = totals.events.load(Relaxed);
        let seconds = then.elapsed().as_secs_f64();
        if seconds < 0.2 {
            return;
        }
        self.last = (Instant::now(), events);
        self.bar.set_message(format!(
            "{}  {} events/s  {} written  {} lost  {} parts",
            clock(self.started.elapsed()),
            HumanCount(((events - before) as f64 / seconds) as u64),
            HumanBytes(totals.bytes.load(Relaxed)),
            HumanCount(totals.lost.load(Relaxed) + kernel_lost),
            totals.parts.load(Relaxed),
        ));
        self.bar.tick();
    }

    /// Removes the line.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
