//! What the program may take of memory (`--memory`): how much is done at once follows it, and what would take more is refused.

use std::fs;
use std::num::NonZeroUsize;

use anyhow::{Result, bail};
use bytesize::ByteSize;

/// What it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget(ByteSize);

/// What a thread needs beside what it is looking at: open parts, pages that are being decoded, histograms.
const OF_A_THREAD: u64 = 32 << 20;

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
    pub fn threads(self, threads: NonZeroUsize) -> NonZeroUsize {
        let room = usize::try_from(self.0.0 / OF_A_THREAD).unwrap_or(usize::MAX);
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

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).expect("not zero")
    }

    #[test]
    fn less_memory_is_less_at_once() {
        let little = Budget::new(ByteSize::mib(64));
        assert_eq!((little.threads(threads(8)), Budget::ANY.threads(threads(8))), (threads(2), threads(8)));
        assert_eq!(Budget::new(ByteSize(1)).threads(threads(8)), threads(1));
        let more = Budget::new(ByteSize::mib(512));
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
