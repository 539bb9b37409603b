//! Kinds of calls, breakdown of their time, and I/O that they force out.

use serde::{Deserialize, Serialize};

/// Kind of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Read through the page cache.
    Read,
    /// Read that bypasses the page cache.
    DirectRead,
    /// Write through the page cache that does not wait until the data are on the disk.
    Write,
    /// Write that bypasses the page cache.
    DirectWrite,
    /// Write to a file that was opened so that each write is synced.
    SyncWrite,
    /// The same, bypassing the page cache.
    DirectSyncWrite,
    /// Sync.
    Sync,
}

impl Kind {
    /// Returns its name in tables.
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

    /// Whether it waits until data are on the disk.
    pub const fn syncs(self) -> bool {
        matches!(self, Kind::SyncWrite | Kind::DirectSyncWrite | Kind::Sync)
    }
}

/// I/O that syncs forced out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    /// Number of block requests.
    pub requests: u64,
    /// Number of bytes of files.
    pub data_bytes: u64,
    /// Number of bytes of journals.
    pub journal_bytes: u64,
    /// Number of all other bytes.
    pub other_bytes: u64,
    /// Number of flush commands to devices.
    pub flushes: u64,
    /// Number of journal commits.
    pub commits: u64,
    /// Number of blocks that these logged.
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

/// Breakdown of the time of calls, in nanoseconds. The first six sum to the time of the calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Time of calls that waited for no request: page cache.
    pub cache_ns: u128,
    /// Time while no request that the call waits for was in flight.
    pub rest_ns: u128,
    /// Run-queue latency while none was in flight. Its length is known for some calls, its place in time is not: as much of it as fits is taken
    /// from the time without requests in flight.
    pub runnable_ns: u128,
    /// Time with requests in flight, but none at the device: queued, or in the scheduler.
    pub queue_ns: u128,
    /// Time with at least one request at the device.
    pub device_ns: u128,
    /// Time of unknown breakdown.
    pub unknown_ns: u128,
    /// Lower bound of `runnable_ns`: the part of it that does not fit into the time with requests in flight.
    pub runnable_low_ns: u128,
    /// Run-queue latency in addition to `runnable_ns`: it does not fit into the time without requests in flight.
    pub runnable_in_flight_ns: u128,
}

impl Spent {
    /// Returns the sum.
    pub fn total_ns(&self) -> u128 {
        let Spent { cache_ns, rest_ns, runnable_ns, queue_ns, device_ns, unknown_ns, .. } = *self;
        [rest_ns, runnable_ns, queue_ns, device_ns, unknown_ns].into_iter().fold(cache_ns, u128::saturating_add)
    }

    /// Returns the breakdown for a call with this run-queue latency. With requests in flight, the latency may have been while they were, or
    /// while they were not: it is subtracted from the time without them, as far as it fits.
    pub(super) fn less_runnable(mut self, runnable_ns: u128) -> Spent {
        let under_way_ns = self.queue_ns.saturating_add(self.device_ns);
        let is_told = self.unknown_ns == 0;
        // A call has time in one of these three only.
        let left = match (is_told, self.cache_ns) {
            (false, _) => &mut self.unknown_ns,
            (true, 0) => &mut self.rest_ns,
            (true, _) => &mut self.cache_ns,
        };
        self.runnable_ns = runnable_ns.min(*left);
        *left -= self.runnable_ns;
        self.runnable_in_flight_ns = runnable_ns - self.runnable_ns;
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
            (&mut self.runnable_in_flight_ns, &other.runnable_in_flight_ns),
        ] {
            *mine = mine.saturating_add(more.saturating_mul(u128::from(weight)));
        }
    }
}
