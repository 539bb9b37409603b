//! How far a scan is, on a terminal, where it takes long.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is done before is not worth a line.
const QUIET: Duration = Duration::from_secs(1);

/// A line on standard error, if that is a terminal.
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    shown: OnceLock<()>,
}

impl Progress {
    /// Of so many steps, which `what` says.
    pub fn of(steps: usize, what: &'static str) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent} %  {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(what);
        Progress { bar, began: Instant::now(), shown: OnceLock::new() }
    }

    /// One more is done.
    pub fn step(&self) {
        self.bar.inc(1);
        if self.began.elapsed() >= QUIET {
            // Where standard error is no terminal this stays hidden.
            self.shown.get_or_init(|| self.bar.set_draw_target(ProgressDrawTarget::stderr()));
        }
    }
}

impl Drop for Progress {
    /// Takes the line away, whatever ended the scan.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
