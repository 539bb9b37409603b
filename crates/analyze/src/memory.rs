//! What the program may take of memory (`--memory`): how much is done at once follows it, and what would take more is refused.

pub mod allocator;

use std::fs;
use std::num::NonZeroUsize;

use anyhow::{Result, bail};
use bytesize::ByteSize;

use crate::aggregate::Settings;

/// What it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget(ByteSize);

/// What an analysis needs, about: what there is once, and what each thread has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    once: u64,
    of_thread: u64,
}

impl Need {
    /// Of what it is known to do. Measured with captures of 20,000 files (docs/analyzing.md).
    pub fn of(settings: &Settings, reads_again: bool) -> Need {
        // Open parts, pages that are being decoded, histograms.
        let mut need = Need { once: 64 << 20, of_thread: 16 << 20 };
        for (is_asked, once, of_thread) in [
            (settings.ordered.any() || reads_again, 64 << 20, 40 << 20),
            (settings.footprint, 64 << 20, 56 << 20),
            (settings.heatmap, 48 << 20, 12 << 20),
        ] {
            if is_asked {
                need = Need { once: need.once + once, of_thread: need.of_thread + of_thread };
            }
        }
        need
    }
}

/// An operation whose order is looked at, while it is sorted and made a sequence of.
const OF_A_ROW: u64 = 512;

/// As many operations as are looked at together at least, whatever there is: with fewer, each row would be read again and again.
const FEWEST_ROWS: u64 = 1 << 13;

impl Budget {
    /// As much as it needs.
    pub const ANY: Budget = Budget(ByteSize(u64::MAX));

    /// What the program takes before it has read anything is near this.
    pub const LEAST: ByteSize = ByteSize(32 << 20);

    /// So much.
    pub const fn new(size: ByteSize) -> Budget {
        Budget(size)
    }

    /// As many of `threads` as there is room for.
    pub fn threads(self, threads: NonZeroUsize, need: Need) -> NonZeroUsize {
        let room = usize::try_from(self.0.0.saturating_sub(need.once) / need.of_thread.max(1)).unwrap_or(usize::MAX);
        NonZeroUsize::new(room).map_or(NonZeroUsize::MIN, |room| threads.min(room))
    }

    /// Of so many rows, at most `most`, the order may be looked at together by each of `threads`: half of the budget.
    pub fn stretch_rows(self, threads: NonZeroUsize, most: u64) -> u64 {
        (self.0.0 / 2 / OF_A_ROW / threads.get() as u64).clamp(FEWEST_ROWS.min(most), most)
    }

    /// Whether more than that is taken by now, where the kernel tells.
    ///
    /// # Errors
    /// Where it is.
    pub fn check(self) -> Result<()> {
        match resident() {
            Some(taken) if taken > self.0 => bail!(
                "this takes more than {} of memory, {} by now: expected more (--memory), or less that is asked for (--since, --until, --layer, \
                 --process, …)",
                self.0.display().iec(),
                taken.display().iec()
            ),
            _ => Ok(()),
        }
    }
}

/// What is resident of this process (`VmRSS`, proc_pid_status(5)).
fn resident() -> Option<ByteSize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok().map(ByteSize::kib)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Precision;

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).expect("not zero")
    }

    #[test]
    fn less_memory_is_less_at_once() {
        let little = Budget::new(ByteSize::mib(64));
        let mut settings = Settings::new(Precision::DEFAULT);
        let summary = Need::of(&settings, false);
        assert_eq!(
            (little.threads(threads(8), summary), Budget::ANY.threads(threads(8), summary)),
            (threads(1), threads(8))
        );
        assert_eq!(Budget::new(ByteSize(1)).threads(threads(8), summary), threads(1));
        let more = Budget::new(ByteSize::mib(512));
        assert_eq!(more.threads(threads(64), summary), threads(28));
        (settings.heatmap, settings.footprint) = (true, true);
        assert_eq!(more.threads(threads(64), Need::of(&settings, true)), threads(2));
        assert_eq!(Budget::ANY.stretch_rows(threads(64), 1 << 18), 1 << 18);
        assert_eq!(more.stretch_rows(threads(1), 1 << 18), 1 << 18);
        assert_eq!(more.stretch_rows(threads(16), 1 << 19), 1 << 15);
        assert_eq!(little.stretch_rows(threads(64), 1 << 19), FEWEST_ROWS);
        assert_eq!(little.stretch_rows(threads(1), 7), 7, "a test may want fewer");
    }

    #[test]
    fn what_is_taken_is_known_and_held_against_it() {
        assert!(resident().is_some_and(|taken| taken > ByteSize::mib(1)));
        assert!(Budget::ANY.check().is_ok());
        let error = Budget::new(ByteSize::kib(1)).check().expect_err("any process takes more");
        assert!(error.to_string().starts_with("this takes more than 1.0 KiB of memory"), "{error}");
    }
}
