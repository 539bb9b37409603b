//! Event accounting: every event that was seen is either written or lost to a named cause.
//!
//! Events are counted by class and CPU, in the kernel where they are seen and here where they are written. The accounting is
//! consistent when `seen = written + lost` for each class and CPU.

use serde::{Deserialize, Serialize};

use crate::op::Direction;
use crate::without_row::WithoutRow;

/// Declares the causes of loss once: counters, their sum and their names.
macro_rules! causes {
    ($($(#[doc = $doc:literal])+ $cause:ident,)+) => {
        /// Events that were seen and are not in the capture, by cause.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Lost { $($(#[doc = $doc])+ pub $cause: u64,)+ }

        impl Lost {
            /// Names of all causes, in order of declaration.
            pub const CAUSES: &'static [&'static str] = &[$(stringify!($cause),)+];

            /// Returns the sum over all causes.
            pub fn total(&self) -> u64 {
                0u64 $(.saturating_add(self.$cause))+
            }

            /// Adds the counts of `other`.
            pub fn add(&mut self, other: &Lost) {
                $(self.$cause = self.$cause.saturating_add(other.$cause);)+
            }

            /// Returns causes and counts, in order of declaration.
            pub fn by_cause(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($cause), self.$cause),)+]
            }
        }
    };
}

causes! {
    /// No room in the ring buffer between kernel and recorder.
    ring_full,
    /// No room in the kernel's table of operations in flight.
    inflight_full,
    /// The kernel did not report the return of a VFS function: it ran out of kretprobes, of which each waiting thread uses one.
    missed_return,
    /// The writer fell behind and its queue was full.
    channel_full,
    /// The part could not be written to the disk.
    write_failed,
    /// The recording was paused: free space on the disk was below the limit.
    disk_full,
    /// Record that the recorder could not decode.
    undecodable,
    /// Call that has ended without a captured end; `without_row` has the reason. In older captures also block requests, which
    /// have rows now.
    unseen_end,
}

/// Operations and bytes by direction, of lost or deliberately excluded I/O.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amounts {
    /// Reads.
    pub read_ops: u64,
    /// Bytes read; for lost events, an upper bound.
    pub read_bytes: u64,
    /// Writes.
    pub write_ops: u64,
    /// Bytes written; for lost events, an upper bound.
    pub write_bytes: u64,
}

impl Amounts {
    /// Whether there is no I/O.
    pub fn is_none(&self) -> bool {
        *self == Amounts::default()
    }

    /// Returns one operation of `bytes` bytes; nothing if it moves no data.
    pub fn of(direction: Option<Direction>, bytes: u64) -> Amounts {
        match direction {
            Some(Direction::Read) => Amounts { read_ops: 1, read_bytes: bytes, ..Amounts::default() },
            Some(Direction::Write) => Amounts { write_ops: 1, write_bytes: bytes, ..Amounts::default() },
            None => Amounts::default(),
        }
    }

    /// Adds the amounts of `other`.
    pub fn add(&mut self, other: &Amounts) {
        self.read_ops = self.read_ops.saturating_add(other.read_ops);
        self.read_bytes = self.read_bytes.saturating_add(other.read_bytes);
        self.write_ops = self.write_ops.saturating_add(other.write_ops);
        self.write_bytes = self.write_bytes.saturating_add(other.write_bytes);
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Event counts of one class on one CPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Table that the events belong to.
    pub class: String,
    /// CPU on which the events completed.
    pub cpu: u32,
    /// Events that the kernel side saw and that passed the filters.
    pub seen: u64,
    /// Rows in finished parts.
    pub written: u64,
    /// Events lost, by cause.
    pub lost: Lost,
    /// Upper bound of the I/O of lost events, and of events that may have ended unseen.
    pub lost_io: Amounts,
}

impl Account {
    /// Whether every event seen is written or counted as lost.
    pub fn balanced(&self) -> bool {
        self.written.checked_add(self.lost.total()) == Some(self.seen)
    }
}

/// Kernel program that the kernel skipped because it was already running on that CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Table that its events belong to; empty if they serve every table.
    #[serde(default)]
    pub class: String,
    /// Name of the program.
    pub program: String,
    /// Number of skips (`recursion_misses`). The I/O of those events is unknown.
    pub recursion: u64,
}

/// Incompletely recorded events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Incomplete {
    /// Block requests without a captured queueing: rows without a submitter.
    pub unidentified_requests: u64,
    /// Block requests that ended without a captured end: rows without a duration.
    pub unseen_ends: u64,
    /// Block requests that may have been in flight at the stop, or have ended unseen: their disk does not count
    /// (`queue/iostats`). They have no row; `lost_io` includes their I/O.
    pub unfinished_requests: u64,
    /// System calls by the 32-bit entry, in captures without their bytes. Other captures have them in `without_row`.
    pub compat_calls: u64,
    /// aio and io_uring operations that were submitted and had not ended at the stop, as far as is known. They have no row.
    pub unfinished_async: u64,
    /// System calls that had not returned at the stop. They have no row.
    pub unfinished_calls: u64,
    /// Upper bound of the I/O of both; `None` if unknown.
    pub unfinished_io: Option<Amounts>,
    /// I/O of requests that were queued before the recording and ended in it: the calls that requested it have no row.
    pub earlier_io: Amounts,
    /// Calls that began before the recording and were in flight in it, and aio and io_uring operations that also ended in it.
    /// They have no row, though the I/O that they requested may have reached a device only during the recording.
    pub earlier_calls: u64,
    /// I/O of these calls; for those that had not returned at the stop, an upper bound.
    pub earlier_calls_io: Amounts,
    /// System calls with unknown run-queue latency although `--run-queue` was set: they have no `runnable_ns`.
    pub unmeasured_calls: u64,
    /// Block requests that took less than the minimum latency of the recording. They have no row.
    #[serde(skip_serializing_if = "is_zero")]
    pub short_requests: u64,
    /// I/O of these requests.
    #[serde(skip_serializing_if = "Amounts::is_none")]
    pub short_io: Amounts,
    /// Bytes of file contents written to devices after their known owner was evicted for lack of room.
    pub forgotten_owner_bytes: u64,
}

/// Kernel-side table that evicts the least recently used entry when it is full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundedTable {
    /// Contents of the table.
    pub name: String,
    /// Capacity in entries.
    pub entries: u64,
    /// Number of entries inserted.
    pub given: u64,
    /// Number of inserted entries that were no longer present at the end.
    pub forgotten: u64,
}

/// Kind of operations that are followed from begin to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowedKind {
    /// System calls.
    Calls,
    /// aio and io_uring operations.
    Async,
}

/// Followed operations: those that began and have not ended must be in the tables of operations in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// Kind of the operations.
    pub kind: FollowedKind,
    /// Number of operations that began.
    pub begun: u64,
    /// Number of these that ended, as rows or as losses.
    pub ended: u64,
    /// Number of operations in the tables at the stop.
    pub under_way: u64,
}

impl FollowedKind {
    /// Returns the name for people.
    pub const fn doc(self) -> &'static str {
        match self {
            FollowedKind::Calls => "system calls",
            FollowedKind::Async => "aio and io_uring operations",
        }
    }
}

impl Followed {
    /// Whether the number in flight exceeds the difference of begun and ended.
    pub fn has_contradiction(&self) -> bool {
        self.ended.checked_add(self.under_way).is_none_or(|known| known > self.begun)
    }

    /// Whether operations with unknown bytes vanished. For aio and io_uring, `unfinished_io` includes the bytes of vanished
    /// operations.
    pub fn has_unknown_bytes(&self) -> bool {
        self.has_contradiction() || (self.kind == FollowedKind::Calls && self.vanished() > 0)
    }

    /// Returns the number of operations that vanished, neither ended nor in flight.
    pub fn vanished(&self) -> u64 {
        self.begun.saturating_sub(self.ended).saturating_sub(self.under_way)
    }
}

/// Event accounting of a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventAccounting {
    /// Event counts by class and CPU.
    pub accounts: Vec<Account>,
    /// Programs that were skipped at least once.
    pub skipped: Vec<Skipped>,
    /// Incompletely recorded events.
    #[serde(default)]
    pub incomplete: Incomplete,
    /// Calls without a row, by kind.
    #[serde(default)]
    pub without_row: Vec<WithoutRow>,
    /// Tables that identify the owners of dirty pages.
    #[serde(default)]
    pub tables: Vec<BoundedTable>,
    /// Followed system calls, and aio and io_uring operations; empty without the application layer, and in captures of
    /// recorders that did not count them.
    #[serde(default)]
    pub followed: Vec<Followed>,
}

impl EventAccounting {
    /// Whether the counts of every class and CPU are consistent.
    pub fn balanced(&self) -> bool {
        self.accounts.iter().all(Account::balanced)
    }

    /// Returns the number of events lost over all classes, including skipped programs.
    pub fn lost(&self) -> u64 {
        let counted = self.accounts.iter().fold(0u64, |sum, a| sum.saturating_add(a.lost.total()));
        self.skipped.iter().fold(counted, |sum, s| sum.saturating_add(s.recursion))
    }

    /// Returns the number of lost events of one class, and the upper bound of their I/O.
    pub fn lost_of(&self, class: &str) -> (u64, Amounts) {
        let mut events = 0;
        let mut amounts = Amounts::default();
        for account in self.accounts.iter().filter(|a| a.class == class) {
            events = u64::saturating_add(events, account.lost.total());
            amounts.add(&account.lost_io);
        }
        (events, amounts)
    }

    /// Returns one account for each class, summed over CPUs, in order of first appearance.
    pub fn by_class(&self) -> Vec<Account> {
        let mut sums: Vec<Account> = Vec::new();
        for account in &self.accounts {
            match sums.iter_mut().find(|sum| sum.class == account.class) {
                None => sums.push(Account { cpu: 0, ..account.clone() }),
                Some(sum) => {
                    sum.seen = sum.seen.saturating_add(account.seen);
                    sum.written = sum.written.saturating_add(account.written);
                    sum.lost.add(&account.lost);
                    sum.lost_io.add(&account.lost_io);
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(seen: u64, written: u64, lost: Lost) -> Account {
        Account { class: "block".into(), cpu: 1, seen, written, lost, lost_io: Amounts::default() }
    }

    #[test]
    fn an_event_neither_written_nor_lost_unbalances_the_books() {
        let lost = Lost { ring_full: 2, channel_full: 1, ..Lost::default() };
        assert!(account(10, 7, lost).balanced());
        assert!(!account(10, 6, lost).balanced());
        assert!(!account(10, 8, lost).balanced());
    }

    #[test]
    fn classes_add_up_over_cpus() {
        let lost = Lost { write_failed: 3, ..Lost::default() };
        let books = EventAccounting {
            accounts: vec![account(10, 10, Lost::default()), account(5, 2, lost)],
            ..EventAccounting::default()
        };
        let sums = books.by_class();
        assert_eq!((sums.len(), sums[0].seen, sums[0].written, sums[0].lost.total()), (1, 15, 12, 3));
        assert!(books.balanced());
        assert_eq!(books.lost(), 3);
    }
}
