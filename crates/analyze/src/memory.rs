//! Memory limit of the program (`--memory`): parallelism follows it, and work that needs more is refused.

pub mod allocator;
pub mod watch;

use std::fs;
use std::num::NonZeroUsize;

use anyhow::{Result, bail};
use bytesize::ByteSize;

use crate::aggregate::Settings;
use allocator::page_bytes;

/// Memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget(ByteSize);

/// Approximate memory need of an analysis: a part that is needed once, and a part that is needed by each thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    once: u64,
    of_thread: u64,
}

impl Need {
    /// Returns the need of an analysis with these settings. Measured with captures of 20,000 files (docs/measurements/analyzing.md).
    pub fn of(settings: &Settings) -> Need {
        // Open parts, pages that are being decoded, histograms.
        let mut need = Need { once: 64 << 20, of_thread: 16 << 20 };
        let order = settings.has_order().then_some(OF_ORDER);
        for (once, of_thread) in order.into_iter().chain(settings.memory_bytes()) {
            need = Need { once: need.once + once, of_thread: need.of_thread + of_thread };
        }
        need
    }

    /// Adds the need of this number of processes and files.
    pub fn with_names(self, names: usize) -> Need {
        let (once, of_thread) = OF_A_NAME;
        let names = names as u64;
        Need {
            once: self.once.saturating_add(names.saturating_mul(once)),
            of_thread: self.of_thread.saturating_add(names.saturating_mul(of_thread)),
        }
    }
}

/// Bytes, once and per thread, if results depend on the order of operations.
const OF_ORDER: (u64, u64) = (64 << 20, 40 << 20);

/// Bytes per operation of a stretch while it is sorted and processed in time order.
const OF_A_ROW: u64 = 512;

/// Bytes per accumulator, with its entry in the attribution cache.
const OF_AN_ACCOUNT: u64 = 256;

/// Maximum number of open accumulators, and their minimum with little memory. Rows are first summed in these accumulators, instead of in every
/// total for each row.
const MOST_ACCOUNTS: usize = 1 << 18;
const FEWEST_ACCOUNTS: usize = 1 << 13;

/// Bytes per row of the tables of processes and files while events are read: once for the row, and per thread for the results of the process or
/// file.
const OF_A_NAME: (u64, u64) = (64, 192);

/// Minimum number of operations in a stretch, whatever the memory: with fewer, each row would be read many times.
const FEWEST_ROWS: u64 = 1 << 13;

impl Budget {
    /// No limit.
    pub const ANY: Budget = Budget(ByteSize(u64::MAX));

    /// Smallest limit; approximately the memory of the program before it reads anything.
    pub const LEAST: ByteSize = ByteSize(32 << 20);

    /// Limit of `size`.
    pub const fn new(size: ByteSize) -> Budget {
        Budget(size)
    }

    /// Returns how many of `threads` fit into memory.
    pub fn threads(self, threads: NonZeroUsize, need: Need) -> NonZeroUsize {
        let room = usize::try_from(self.0.0.saturating_sub(need.once) / need.of_thread.max(1)).unwrap_or(usize::MAX);
        NonZeroUsize::new(room).map_or(NonZeroUsize::MIN, |room| threads.min(room))
    }

    /// Returns the number of rows, at most `most`, in a stretch of each of `threads`; they take half of the limit.
    pub fn stretch_rows(self, threads: NonZeroUsize, most: u64) -> u64 {
        (self.0.0 / 2 / OF_A_ROW / threads.get() as u64).clamp(FEWEST_ROWS.min(most), most)
    }

    /// Returns the number of accumulators that each of `threads` may keep open: a sixteenth of the limit.
    pub fn accounts(self, threads: NonZeroUsize) -> usize {
        let room = usize::try_from(self.0.0 / 16 / OF_AN_ACCOUNT / threads.get() as u64).unwrap_or(usize::MAX);
        room.clamp(FEWEST_ACCOUNTS, MOST_ACCOUNTS)
    }

    /// Returns a message if the limit is exceeded now, where the kernel reports memory use.
    pub fn refusal(self) -> Option<String> {
        self.refusal_beyond(ByteSize(0))
    }

    /// Returns a message if the limit is exceeded by more than `slack`.
    fn refusal_beyond(self, slack: ByteSize) -> Option<String> {
        let taken = resident().filter(|taken| taken.0 > self.0.0.saturating_add(slack.0))?;
        Some(format!(
            "memory limit of {} exceeded, {} in use: expected a larger --memory, or a narrower selection (--since, --until, --layer, \
             --process, …)",
            self.0.display().iec(),
            taken.display().iec()
        ))
    }

    /// Checks memory use against the limit.
    ///
    /// # Errors
    /// If the limit is exceeded.
    pub fn check(self) -> Result<()> {
        self.refusal().map_or(Ok(()), |why| bail!("{why}"))
    }
}

/// Returns the resident memory of this process (`resident` of `/proc/PID/statm`, proc_pid_statm(5), in pages).
fn resident() -> Option<ByteSize> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(ByteSize(pages.saturating_mul(page_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Precision;
    use crate::analyses::footprint::aggregate::Footprint;
    use crate::analyses::heatmap::aggregate::Heatmap;

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).expect("not zero")
    }

    #[test]
    fn less_memory_is_less_at_once() {
        let little = Budget::new(ByteSize::mib(64));
        let mut settings = Settings::new(Precision::DEFAULT);
        let summary = Need::of(&settings);
        assert_eq!(
            (little.threads(threads(8), summary), Budget::ANY.threads(threads(8), summary)),
            (threads(1), threads(8))
        );
        assert_eq!(Budget::new(ByteSize(1)).threads(threads(8), summary), threads(1));
        let more = Budget::new(ByteSize::mib(512));
        assert_eq!(more.threads(threads(64), summary), threads(28));
        settings.any_order.request::<Heatmap>(());
        settings.any_order.request::<Footprint>(());
        settings.crossing = true;
        assert_eq!(more.threads(threads(64), Need::of(&settings)), threads(2));
        assert_eq!(Budget::ANY.stretch_rows(threads(64), 1 << 18), 1 << 18);
        assert_eq!(more.stretch_rows(threads(1), 1 << 18), 1 << 18);
        assert_eq!(more.stretch_rows(threads(16), 1 << 19), 1 << 15);
        assert_eq!(little.stretch_rows(threads(64), 1 << 19), FEWEST_ROWS);
        assert_eq!(little.stretch_rows(threads(1), 7), 7, "a test may want fewer");
        assert_eq!([little, Budget::ANY].map(|budget| budget.accounts(threads(2))), [FEWEST_ACCOUNTS, MOST_ACCOUNTS]);
        // A million processes fit into memory with one thread only.
        assert_eq!(more.threads(threads(8), summary.with_names(1_000_000)), threads(1));
        assert_eq!(more.threads(threads(8), summary.with_names(20_000)), threads(8));
    }

    #[test]
    fn what_is_taken_is_known_and_held_against_it() {
        assert!(resident().is_some_and(|taken| taken > ByteSize::mib(1)));
        assert!(Budget::ANY.check().is_ok());
        let error = Budget::new(ByteSize::kib(1)).check().expect_err("any process takes more");
        assert!(error.to_string().starts_with("memory limit of 1.0 KiB exceeded"), "{error}");
    }
}
