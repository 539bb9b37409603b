//! What kinds of calls there are, where their time goes, and what they force out.

use serde::{Deserialize, Serialize};

/// What kind of call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// It reads through the page cache.
    Read,
    /// It reads past the page cache.
    DirectRead,
    /// It writes through the page cache, and does not wait until that is on the disk.
    Write,
    /// It writes past the page cache.
    DirectWrite,
    /// It writes to a file that was opened so that each write is synced.
    SyncWrite,
    /// The same past the page cache.
    DirectSyncWrite,
    /// It syncs.
    Sync,
}

impl Kind {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::DirectRead => "direct_read",
            Kind::Write => "write",
            Kind::DirectWrite => "direct_write",
            Kind::SyncWrite => "sync_write",
            Kind::DirectSyncWrite => "direct_sync_write",
            Kind::Sync => "sync",
        }
    }

    /// Whether it waits until something is on the disk.
    pub const fn syncs(self) -> bool {
        matches!(self, Kind::SyncWrite | Kind::DirectSyncWrite | Kind::Sync)
    }
}

/// What syncs forced out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    /// Block requests.
    pub requests: u64,
    /// Bytes of files.
    pub data_bytes: u64,
    /// Bytes of journals.
    pub journal_bytes: u64,
    /// All other bytes.
    pub other_bytes: u64,
    /// Flush commands to devices.
    pub flushes: u64,
    /// Commits of journals.
    pub commits: u64,
    /// Blocks that these logged.
    pub journal_blocks: u64,
}

impl Forced {
    pub(super) fn add(&mut self, other: &Forced) {
        let Forced { requests, data_bytes, journal_bytes, other_bytes, flushes, commits, journal_blocks } = other;
        for (mine, more) in [
            (&mut self.requests, requests),
            (&mut self.data_bytes, data_bytes),
            (&mut self.journal_bytes, journal_bytes),
            (&mut self.other_bytes, other_bytes),
            (&mut self.flushes, flushes),
            (&mut self.commits, commits),
            (&mut self.journal_blocks, journal_blocks),
        ] {
            *mine = mine.saturating_add(*more);
        }
    }
}

/// Where the time of calls went, in nanoseconds. The first six together are the time of the calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Calls that waited for no request: the page cache.
    pub cache_ns: u128,
    /// No request that the call waits for was under way.
    pub rest_ns: u128,
    /// Nor was the thread on a CPU, though it was runnable. How long it was is known of some calls, when is not: as if all of it that
    /// has room there was while none was under way.
    pub runnable_ns: u128,
    /// Some were, but none with the device: queued, or in the scheduler.
    pub queue_ns: u128,
    /// At least one was with the device.
    pub device_ns: u128,
    /// Which of these it was is not known.
    pub unknown_ns: u128,
    /// What of `runnable_ns` had no room while requests were under way.
    pub runnable_low_ns: u128,
    /// For how long threads were runnable beside `runnable_ns`: it had no room while no requests were under way.
    pub runnable_under_way_ns: u128,
}

impl Spent {
    /// All of it.
    pub fn total_ns(&self) -> u128 {
        let Spent { cache_ns, rest_ns, runnable_ns, queue_ns, device_ns, unknown_ns, .. } = *self;
        [rest_ns, runnable_ns, queue_ns, device_ns, unknown_ns].into_iter().fold(cache_ns, u128::saturating_add)
    }

    /// The same of a call whose thread was runnable for so long. Where requests were under way, that was when these were, or when they were not:
    /// it is taken off what is left beside these, as far as it has room there.
    pub(super) fn less_runnable(mut self, runnable_ns: u128) -> Spent {
        let under_way_ns = self.queue_ns.saturating_add(self.device_ns);
        let is_told = self.unknown_ns == 0;
        // A call has one of these three.
        let left = match (is_told, self.cache_ns) {
            (false, _) => &mut self.unknown_ns,
            (true, 0) => &mut self.rest_ns,
            (true, _) => &mut self.cache_ns,
        };
        self.runnable_ns = runnable_ns.min(*left);
        *left -= self.runnable_ns;
        self.runnable_under_way_ns = runnable_ns - self.runnable_ns;
        self.runnable_low_ns = if is_told { runnable_ns.saturating_sub(under_way_ns) } else { 0 };
        self
    }

    pub(super) fn add(&mut self, other: &Spent, weight: u32) {
        let Spent { cache_ns, rest_ns, runnable_ns, queue_ns, device_ns, unknown_ns, .. } = other;
        for (mine, more) in [
            (&mut self.cache_ns, cache_ns),
            (&mut self.rest_ns, rest_ns),
            (&mut self.runnable_ns, runnable_ns),
            (&mut self.queue_ns, queue_ns),
            (&mut self.device_ns, device_ns),
            (&mut self.unknown_ns, unknown_ns),
            (&mut self.runnable_low_ns, &other.runnable_low_ns),
            (&mut self.runnable_under_way_ns, &other.runnable_under_way_ns),
        ] {
            *mine = mine.saturating_add(more.saturating_mul(u128::from(weight)));
        }
    }
}
