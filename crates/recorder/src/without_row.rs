//! Calls without a row: the counts of the BPF programs, and the resulting number of calls in flight at the stop.

use iostrata_capture::TableId;
use iostrata_capture::ledger::{Account, Amounts, EventAccounting, Followed, FollowedKind};
use iostrata_capture::op::Direction;
use iostrata_capture::without_row::{UnseenKind, WithoutRow};

use crate::bpf::types;

/// Maximum number of bytes of a call (MAX_RW_COUNT in include/linux/fs.h).
const MOST_BYTES: u64 = 0x7fff_f000;

/// Counts of the BPF programs, over all CPUs.
#[derive(Debug, Clone, Default)]
pub struct Unseen {
    /// Calls by kind (`enum unseen_kind`).
    pub calls: Vec<(UnseenKind, types::unseen_calls)>,
    /// io_uring requests with unknown I/O, by name of the operation.
    pub unknown_opcodes: Vec<(String, u64)>,
}

fn amounts(calls: &types::unseen_calls) -> Amounts {
    Amounts {
        read_ops: calls.read_ops,
        read_bytes: calls.read_bytes,
        write_ops: calls.write_ops,
        write_bytes: calls.write_bytes,
    }
}

/// Maximum I/O of a call that requests `requested_bytes`; zero if it moves no data.
pub fn at_most(direction: Option<Direction>, requested_bytes: i64) -> Amounts {
    // A missing value: the size is unknown.
    let bytes = if requested_bytes == i64::MIN {
        MOST_BYTES
    } else {
        u64::try_from(requested_bytes).unwrap_or(0).min(MOST_BYTES)
    };
    Amounts::of(direction, bytes)
}

/// Number of operations in flight when `accounts` were read, with their maximum I/O.
fn under_way(accounts: &[types::account]) -> (u64, Amounts) {
    // An operation may end on another CPU than the one it began on, so only the sums are valid.
    let left = |begun: fn(&types::account) -> u64, ended: fn(&types::account) -> u64| {
        let sum = |of: fn(&types::account) -> u64| accounts.iter().map(of).fold(0u64, u64::saturating_add);
        sum(begun).saturating_sub(sum(ended))
    };
    let io = Amounts {
        read_bytes: left(|a| a.async_begun_read_bytes, |a| a.async_ended_read_bytes),
        write_bytes: left(|a| a.async_begun_write_bytes, |a| a.async_ended_write_bytes),
        ..Amounts::default()
    };
    (left(|a| a.async_begun, |a| a.async_ended), io)
}

/// Content of the in-flight tables after everything was detached.
#[derive(Debug, Clone, Default)]
pub struct InTables {
    /// Number of system calls.
    pub calls: u64,
    /// Maximum I/O of these calls.
    pub calls_io: Amounts,
    /// Number of operations of aio and io_uring.
    pub asyncs: u64,
}

fn followed(accounts: &[types::account], left: &InTables) -> Vec<Followed> {
    let sum = |of: fn(&types::account) -> u64| accounts.iter().map(of).fold(0u64, u64::saturating_add);
    let of = |kind, begun, ended, under_way| Followed { kind, begun, ended, under_way };
    vec![
        of(FollowedKind::Calls, sum(|a| a.calls_begun), sum(|a| a.calls_ended), left.calls),
        of(FollowedKind::Async, sum(|a| a.async_begun), sum(|a| a.async_ended), left.asyncs),
    ]
}

/// Adds the calls without a row to `books`. `accounts` are the system call accounts by CPU, read after everything was detached.
pub fn settle(books: &mut EventAccounting, accounts: &[types::account], unseen: Unseen, in_tables: &InTables) {
    books.followed = followed(accounts, in_tables);
    books.incomplete.unfinished_calls = in_tables.calls;
    let (mut left, mut left_io) = under_way(accounts);
    let overflows = accounts.iter().map(|account| account.uring_overflows).fold(0u64, u64::saturating_add);
    let mut kinds = unseen.calls;
    for (_, calls) in kinds.iter_mut().filter(|(kind, _)| *kind == UnseenKind::UringNotTold) {
        // Of the remaining requests, those with a known completion queue overflow have completed. Which ones is unknown.
        let over = overflows.saturating_sub(calls.ops).min(left);
        if over > 0 {
            lose(books, over, &left_io);
            calls.ops = calls.ops.saturating_add(over);
            calls.read_bytes = calls.read_bytes.saturating_add(left_io.read_bytes);
            calls.write_bytes = calls.write_bytes.saturating_add(left_io.write_bytes);
            left -= over;
            left_io = Amounts::default();
        }
    }
    left_io.add(&in_tables.calls_io);
    books.incomplete.unfinished_async = left;
    books.incomplete.unfinished_io = Some(left_io);
    let known = kinds.iter().filter(|(_, calls)| calls.ops > 0).map(|(kind, calls)| WithoutRow {
        kind: *kind,
        opcode: None,
        calls: calls.ops,
        io: Some(amounts(calls)),
    });
    let unknown = unseen.unknown_opcodes.into_iter().map(|(name, calls)| WithoutRow {
        kind: UnseenKind::UringUnknown,
        opcode: Some(name),
        calls,
        io: None,
    });
    books.without_row = known.chain(unknown).collect();
}

/// Counts calls as lost that were not counted as seen before. The CPU on which they ended is unknown.
fn lose(books: &mut EventAccounting, calls: u64, io: &Amounts) {
    let class = TableId::Syscall.name();
    if !books.accounts.iter().any(|account| account.class == class && account.cpu == 0) {
        books.accounts.push(Account { class: class.to_owned(), ..Account::default() });
    }
    for account in books.accounts.iter_mut().filter(|account| account.class == class && account.cpu == 0) {
        account.seen = account.seen.saturating_add(calls);
        account.lost.unseen_end = account.lost.unseen_end.saturating_add(calls);
        account.lost_io.add(io);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun_and_ended(begun: u64, ended: u64) -> types::account {
        types::account {
            async_begun: begun,
            async_begun_read_bytes: begun * 4096,
            async_ended: ended,
            async_ended_read_bytes: ended * 4096,
            ..Default::default()
        }
    }

    fn settled(accounts: &[types::account]) -> EventAccounting {
        let calls = vec![(UnseenKind::UringNotTold, types::unseen_calls { ops: 1, ..Default::default() })];
        let mut books = EventAccounting::default();
        settle(&mut books, accounts, Unseen { calls, ..Unseen::default() }, &InTables::default());
        books
    }

    #[test]
    fn calls_under_way_carry_what_they_were_asked_for() {
        let mut books = EventAccounting::default();
        let accounts = [types::account { calls_begun: 9, calls_ended: 8, ..begun_and_ended(4, 2) }];
        let io = Amounts { write_ops: 1, write_bytes: 100, ..Amounts::default() };
        settle(&mut books, &accounts, Unseen::default(), &InTables { calls: 1, calls_io: io, asyncs: 2 });
        assert_eq!((books.incomplete.unfinished_calls, books.incomplete.unfinished_async), (1, 2));
        assert_eq!(books.incomplete.unfinished_io, Some(Amounts { read_bytes: 2 * 4096, ..io }));
        let counts = |of: &Followed| (of.begun, of.ended, of.under_way);
        assert_eq!(books.followed.iter().map(counts).collect::<Vec<_>>(), [(9, 8, 1), (4, 2, 2)]);
    }

    #[test]
    fn what_is_under_way_is_the_difference_of_the_sums_and_never_wraps() {
        let books = settled(&[begun_and_ended(10, 2), begun_and_ended(0, 5)]);
        assert_eq!(books.incomplete.unfinished_async, 3);
        let io = Amounts { read_bytes: 3 * 4096, ..Amounts::default() };
        assert_eq!(books.incomplete.unfinished_io, Some(io));
        assert_eq!(settled(&[begun_and_ended(1, 2)]).incomplete.unfinished_async, 0);
    }

    #[test]
    fn what_found_the_completion_ring_full_is_over_and_lost_with_its_bytes() {
        let overflowed = types::account { uring_overflows: 3, ..begun_and_ended(10, 7) };
        let books = settled(&[overflowed]);
        assert_eq!(books.incomplete.unfinished_async, 1);
        assert_eq!((books.without_row[0].calls, books.lost()), (3, 2));
        assert_eq!(books.lost_of("syscall").1.read_bytes, 3 * 4096);
        assert!(books.balanced());
    }
}
