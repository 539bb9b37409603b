//! Sums over calls.

use serde::{Deserialize, Serialize};

use super::join::Found;
use super::rows::Call;
use super::spent::{Forced, Spent};
use crate::aggregate::sample::Sample;

/// Calls, and the bytes that they moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Number of calls.
    pub ops: u64,
    /// Number of bytes.
    pub bytes: u64,
}

impl Amount {
    /// Adds the amount of `other`.
    pub fn add(&mut self, other: Amount) {
        self.ops = self.ops.saturating_add(other.ops);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Sums over the calls of one kind of one subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sums {
    /// All calls.
    pub calls: Amount,
    /// Number of failed calls.
    pub failed: u64,
    /// Number of calls that waited for a request.
    pub waited: u64,
    /// Number of calls with a known run-queue latency.
    pub measured: u64,
    /// Calls that moved bytes and are known to have waited for no request.
    pub hits: Amount,
    /// Calls that waited for a request, of those for which the absence of requests would be known.
    pub misses: Amount,
    /// Number of bytes of regular files, the only ones with records of what enters the page cache.
    pub file_bytes: u64,
    /// Number of pages of regular files that they touched; a page counts at each touch.
    pub pages: u64,
    /// Breakdown of their time.
    pub spent: Spent,
    /// Number of calls with unknown forced I/O.
    pub unknown_ops: u64,
    /// I/O that the others forced out.
    pub forced: Forced,
    /// Maximum duration in ns.
    pub max_ns: u64,
    /// Durations of syncs; only for all, systems and disks.
    pub durations: Option<Sample>,
}

impl Sums {
    /// Creates sums over no calls.
    pub(super) fn empty(durations: Option<Sample>) -> Sums {
        Sums {
            calls: Amount::default(),
            failed: 0,
            waited: 0,
            measured: 0,
            hits: Amount::default(),
            misses: Amount::default(),
            file_bytes: 0,
            pages: 0,
            spent: Spent::default(),
            unknown_ops: 0,
            forced: Forced::default(),
            max_ns: 0,
            durations,
        }
    }

    /// Adds the sums of `other`.
    pub(super) fn combine(&mut self, other: Sums) {
        self.calls.add(other.calls);
        self.hits.add(other.hits);
        self.misses.add(other.misses);
        for (mine, more) in [
            (&mut self.failed, other.failed),
            (&mut self.waited, other.waited),
            (&mut self.measured, other.measured),
            (&mut self.file_bytes, other.file_bytes),
            (&mut self.pages, other.pages),
            (&mut self.unknown_ops, other.unknown_ops),
        ] {
            *mine = mine.saturating_add(more);
        }
        self.spent.add(&other.spent, 1);
        self.forced.add(&other.forced);
        self.max_ns = self.max_ns.max(other.max_ns);
        match (&mut self.durations, other.durations) {
            (Some(mine), Some(more)) => mine.combine(more),
            (mine @ None, more) => *mine = more,
            (Some(_), None) => {}
        }
    }

    /// Adds a call with its requests and forced I/O.
    pub(super) fn count(&mut self, call: &Call, found: &Found, spent: &Spent) {
        let (ns, weight) = (call.end_ns.abs_diff(call.ts_ns), u64::from(call.weight));
        let amount = Amount { ops: weight, bytes: call.bytes.saturating_mul(weight) };
        let counted = |is: bool| if is { weight } else { 0 };
        let waited = found.waited();
        // For other calls a request may be missing or belong to another thread.
        let would_be_known = !call.is_async && call.weight == 1;
        self.calls.add(amount);
        match waited {
            true if would_be_known => self.misses.add(amount),
            false if would_be_known && call.bytes > 0 && !call.is_direct => self.hits.add(amount),
            _ => {}
        }
        let is_told = call.weight == 1 && call.is_placed();
        let of_file = if call.is_regular { (amount.bytes, call.pages().saturating_mul(weight)) } else { (0, 0) };
        for (mine, more) in [
            (&mut self.failed, counted(call.failed)),
            (&mut self.waited, counted(waited)),
            (&mut self.measured, counted(call.runnable_ns.is_some())),
            (&mut self.file_bytes, of_file.0),
            (&mut self.pages, of_file.1),
            (&mut self.unknown_ops, counted(!is_told)),
        ] {
            *mine = mine.saturating_add(more);
        }
        self.spent.add(spent, call.weight);
        if is_told {
            self.forced.add(&found.forced);
        }
        self.max_ns = self.max_ns.max(ns);
        self.durations.iter_mut().for_each(|durations| durations.update(ns, weight));
    }
}
