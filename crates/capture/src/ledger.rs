//! The loss ledger: every event that was seen is either written or lost to a named cause.
//!
//! Events are counted by class and CPU, in the kernel where they are seen and here where they are written. The books
//! balance when `seen = written + lost` for each class and CPU.

use serde::{Deserialize, Serialize};

use crate::op::Direction;
use crate::unseen::WithoutRow;

/// Declares the causes of loss once: the counters, their sum and their names.
macro_rules! causes {
    ($($(#[doc = $doc:literal])+ $cause:ident,)+) => {
        /// Events that were seen and are not in the capture, by cause.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Lost { $($(#[doc = $doc])+ pub $cause: u64,)+ }

        impl Lost {
            /// All causes, in order of declaration.
            pub const CAUSES: &'static [&'static str] = &[$(stringify!($cause),)+];

            /// The sum over all causes.
            pub fn total(&self) -> u64 {
                0u64 $(.saturating_add(self.$cause))+
            }

            /// Adds the counts of `other`.
            pub fn add(&mut self, other: &Lost) {
                $(self.$cause = self.$cause.saturating_add(other.$cause);)+
            }

            /// Causes and counts, in order of declaration.
            pub fn by_cause(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($cause), self.$cause),)+]
            }
        }
    };
}

causes! {
    /// No room in the ring buffer between kernel and recorder.
    ring_full,
    /// No room in the kernel's table of operations under way.
    inflight_full,
    /// The kernel did not tell of the return of a VFS function: it ran out of kretprobes, of which each waiting thread uses one.
    missed_return,
    /// The writer was behind and its queue full.
    channel_full,
    /// The disk refused the part.
    write_failed,
    /// The recording paused: the disk had less free space than is to be left.
    disk_full,
    /// A record that the recorder could not read.
    undecodable,
    /// A call that is over, though nobody saw it end: `without_row` says why. In older captures block requests too, of which rows are made now.
    unseen_end,
}

/// Bytes and operations by direction: of I/O that was lost, or left out on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amounts {
    /// Reads.
    pub read_ops: u64,
    /// Bytes read; of lost events, at most these.
    pub read_bytes: u64,
    /// Writes.
    pub write_ops: u64,
    /// Bytes written; of lost events, at most these.
    pub write_bytes: u64,
}

impl Amounts {
    /// One operation of so many bytes; nothing where it moves no data.
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

/// The account of one class of events on one CPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The table that the events belong to.
    pub class: String,
    /// The CPU on which they completed.
    pub cpu: u32,
    /// Events that the kernel side saw and that pass the filters.
    pub seen: u64,
    /// Rows in finished parts.
    pub written: u64,
    /// Events lost, by cause.
    pub lost: Lost,
    /// What the lost events can have carried at most, and what may have ended without anyone having seen it.
    pub lost_io: Amounts,
}

impl Account {
    /// Whether every event seen is written or counted as lost.
    pub fn balanced(&self) -> bool {
        self.written.checked_add(self.lost.total()) == Some(self.seen)
    }
}

/// A kernel program that the kernel did not run because it was already running on that CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The table that its events belong to; empty where they serve every table.
    #[serde(default)]
    pub class: String,
    /// The program.
    pub program: String,
    /// How often (`recursion_misses`). What those events carried is not known.
    pub recursion: u64,
}

/// What is in the capture, but less completely than the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Incomplete {
    /// Block requests whose queueing was not seen: rows without a submitter.
    pub unidentified_requests: u64,
    /// Block requests whose end was not seen, only that they were over: rows without a duration.
    pub unseen_ends: u64,
    /// Block requests that may have been under way at the stop, or over without anyone having seen it: their disk does not count
    /// (`queue/iostats`). They have no row; what they carry is in `lost_io`.
    pub unfinished_requests: u64,
    /// System calls by the 32-bit entry, in captures that do not say what they moved. Others have them in `without_row`.
    pub compat_calls: u64,
    /// Operations of aio and io_uring that were submitted and had not ended at the stop, as far as is known. They have no row.
    pub unfinished_async: u64,
    /// System calls that had not returned at the stop. They have no row.
    pub unfinished_calls: u64,
    /// What both can carry at most; `None` where that is not known.
    pub unfinished_io: Option<Amounts>,
    /// What requests carried that were queued before the recording began and ended in it: calls that asked for them have no row.
    pub earlier_io: Amounts,
    /// Calls that had begun before the recording and were under way in it, operations of aio and io_uring that also ended in it. They have
    /// no row, though what they asked for may have reached a device only then.
    pub earlier_calls: u64,
    /// What these moved; those that had not returned at the stop, at most.
    pub earlier_calls_io: Amounts,
    /// System calls of which it was asked, and is not known, for how long they waited for a CPU (`--run-queue`): they have no `runnable_ns`.
    pub unmeasured_calls: u64,
    /// Bytes of file contents written to devices whose owner had been known and was forgotten for want of room.
    pub forgotten_owner_bytes: u64,
}

/// A table of the kernel side that forgets what was used least recently where it has no room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundedTable {
    /// What it remembers.
    pub name: String,
    /// For how many it has room.
    pub entries: u64,
    /// How many it was given.
    pub given: u64,
    /// How many of these it did not have at the end any more.
    pub forgotten: u64,
}

/// What is followed from begin to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowedKind {
    /// System calls.
    Calls,
    /// Operations of aio and io_uring.
    Async,
}

/// Operations that were followed: those that began and have not ended must be in the tables of what is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// What they are.
    pub kind: FollowedKind,
    /// How many began.
    pub begun: u64,
    /// How many of these ended, as rows or as losses.
    pub ended: u64,
    /// How many were in the tables at the stop.
    pub under_way: u64,
}

impl FollowedKind {
    /// In words.
    pub const fn doc(self) -> &'static str {
        match self {
            FollowedKind::Calls => "system calls",
            FollowedKind::Async => "operations of aio and io_uring",
        }
    }
}

impl Followed {
    /// Whether what is under way cannot be the difference of what began and what ended.
    pub fn has_contradiction(&self) -> bool {
        self.ended.checked_add(self.under_way).is_none_or(|known| known > self.begun)
    }

    /// Whether operations vanished that nobody knows the bytes of: of those of aio and io_uring, `unfinished_io` has what is left.
    pub fn has_unknown_bytes(&self) -> bool {
        self.has_contradiction() || (self.kind == FollowedKind::Calls && self.vanished() > 0)
    }

    /// How many vanished, neither ended nor under way.
    pub fn vanished(&self) -> u64 {
        self.begun.saturating_sub(self.ended).saturating_sub(self.under_way)
    }
}

/// All accounts of a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// By class and CPU.
    pub accounts: Vec<Account>,
    /// Programs that were skipped at least once.
    pub skipped: Vec<Skipped>,
    /// Rows that lack something.
    #[serde(default)]
    pub incomplete: Incomplete,
    /// Calls without a row, by kind.
    #[serde(default)]
    pub without_row: Vec<WithoutRow>,
    /// The tables that tell whose dirty pages are.
    #[serde(default)]
    pub tables: Vec<BoundedTable>,
    /// System calls, and operations of aio and io_uring; empty without the application layer, and in captures of recorders that did not
    /// count them.
    #[serde(default)]
    pub followed: Vec<Followed>,
}

impl Books {
    /// Whether every account balances.
    pub fn balanced(&self) -> bool {
        self.accounts.iter().all(Account::balanced)
    }

    /// Events lost over all classes, skipped programs included.
    pub fn lost(&self) -> u64 {
        let counted = self.accounts.iter().fold(0u64, |sum, a| sum.saturating_add(a.lost.total()));
        self.skipped.iter().fold(counted, |sum, s| sum.saturating_add(s.recursion))
    }

    /// Events lost of one class, and what they can have carried.
    pub fn lost_of(&self, class: &str) -> (u64, Amounts) {
        let mut events = 0;
        let mut amounts = Amounts::default();
        for account in self.accounts.iter().filter(|a| a.class == class) {
            events = u64::saturating_add(events, account.lost.total());
            amounts.add(&account.lost_io);
        }
        (events, amounts)
    }

    /// One account for each class, CPUs added up, in order of first appearance.
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
        let books = Books { accounts: vec![account(10, 10, Lost::default()), account(5, 2, lost)], ..Books::default() };
        let sums = books.by_class();
        assert_eq!((sums.len(), sums[0].seen, sums[0].written, sums[0].lost.total()), (1, 15, 12, 3));
        assert!(books.balanced());
        assert_eq!(books.lost(), 3);
    }
}
