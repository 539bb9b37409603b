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

/// Where the time of calls went, in nanoseconds. All of them together are the time of the calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Calls that waited for no request: the page cache.
    pub cache_ns: u128,
    /// No request that the call waits for was under way.
    pub rest_ns: u128,
    /// Some were, but none with the device: queued, or in the scheduler.
    pub queue_ns: u128,
    /// At least one was with the device.
    pub device_ns: u128,
    /// Which of these it was is not known.
    pub unknown_ns: u128,
}

impl Spent {
    pub(super) fn add(&mut self, other: &Spent, weight: u32) {
        let Spent { cache_ns, rest_ns, queue_ns, device_ns, unknown_ns } = other;
        for (mine, more) in [
            (&mut self.cache_ns, cache_ns),
            (&mut self.rest_ns, rest_ns),
            (&mut self.queue_ns, queue_ns),
            (&mut self.device_ns, device_ns),
            (&mut self.unknown_ns, unknown_ns),
        ] {
            *mine = mine.saturating_add(more.saturating_mul(u128::from(weight)));
        }
    }
}
