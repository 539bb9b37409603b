//! Progress of a long scan on a terminal.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Delay before the line appears; shorter scans show none.
const QUIET: Duration = Duration::from_secs(1);

/// Progress line on standard error, if that is a terminal.
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    shown: OnceLock<()>,
}

impl Progress {
    /// Creates the progress of `steps` steps with the label `what`.
    pub fn of(steps: usize, what: &'static str) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent} %  {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(what);
        Progress { bar, began: Instant::now(), shown: OnceLock::new() }
    }

    /// Counts a finished step.
    pub fn step(&self) {
        self.bar.inc(1);
        if self.began.elapsed() >= QUIET {
            // If standard error is no terminal, the line stays hidden.
            self.shown.get_or_init(|| self.bar.set_draw_target(ProgressDrawTarget::stderr()));
        }
    }
}

impl Drop for Progress {
    /// Removes the line, however the scan ended.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
