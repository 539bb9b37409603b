use iostrata_capture::column::Comm;
use iostrata_capture::ledger::{Account, Amounts, EventAccounting, Skipped};
use iostrata_capture::table::TableBuilder;
use iostrata_capture::tables::{LossBuilder, LossRow};

use proptest::prelude::*;

use super::*;
use crate::trust::tests::sound;

fn row(since_ns: i64, ts_ns: i64, class: &str, cause: &str, events: i64) -> LossRow {
    LossRow { ts_ns, since_ns, class: Comm::of(class), cpu: 0, cause: Comm::of(cause), events }
}

fn account(class: &str, lost: Lost) -> Account {
    Account { class: class.into(), cpu: 0, seen: lost.total(), written: 0, lost, lost_io: Amounts::default() }
}

/// Returns the losses of these rows and this accounting.
fn settled(rows: Vec<LossRow>, books: EventAccounting, state: State) -> Losses {
    let mut builder = LossBuilder::default();
    rows.into_iter().for_each(|row| builder.push(row));
    let batch = builder.finish().expect("equal columns");
    let view = LossView::new(&batch).expect("its columns");
    let mut told = LossRows::new();
    (0..view.rows).for_each(|row| told.add(&view, row));
    told.settle(&Manifest { books, state, ..sound().manifest })
}

fn times(losses: &Losses) -> Vec<(&str, &str, i64, i64, u64)> {
    let time = |(kind, of): &(Kind, Stretch)| (kind.table_name(), kind.cause, of.since_ns, of.until_ns, of.events);
    losses.episodes.iter().map(time).collect()
}

const SYSCALL: Kind = Kind { table: Some(TableId::Syscall), cause: "ring_full" };

#[test]
fn what_the_table_tells_and_what_only_the_books_have_make_the_books() {
    let lost = Lost { ring_full: 9, unseen_end: 4, ..Lost::default() };
    let skipped = |class: &str| Skipped { class: class.into(), program: "a_program".into(), recursion: 2 };
    let books = EventAccounting {
        accounts: vec![account("syscall", lost), account("syscall", lost)],
        skipped: vec![skipped("vfs"), skipped("")],
        ..EventAccounting::default()
    };
    let rows = vec![
        row(5, 6, "syscall", "ring_full", 3),
        row(0, 1, "syscall", "ring_full", 5),
        row(1, 2, "syscall", "ring_full", 7),
    ];
    let losses = settled(rows, books, State::Complete);
    assert_eq!(times(&losses), [("syscall", "ring_full", 0, 2, 12), ("syscall", "ring_full", 5, 6, 3)]);
    let untimed = [
        (Kind { table: None, cause: SKIPPED }, 2),
        (SYSCALL, 3),
        (Kind { table: Some(TableId::Syscall), cause: "unseen_end" }, 8),
        (Kind { table: Some(TableId::Vfs), cause: SKIPPED }, 2),
    ];
    assert_eq!(losses.untimed, BTreeMap::from(untimed));
    assert_eq!(
        (losses.of_table(TableId::Syscall), losses.of_table(TableId::Vfs), losses.of_table(TableId::Block)),
        (26, 2, 0)
    );
    assert_eq!(
        (losses.until(TableId::Syscall, 5), losses.until(TableId::Syscall, 6), losses.until(TableId::Vfs, 9)),
        (12, 15, 0)
    );
    assert_eq!((losses.excess, losses.told_until_ns), (vec![], Some(6)));
}

#[test]
fn a_table_that_tells_more_than_the_books_is_told() {
    let books = || EventAccounting {
        accounts: vec![account("syscall", Lost { ring_full: 2, ..Lost::default() })],
        ..EventAccounting::default()
    };
    let rows = || vec![row(0, 1, "syscall", "ring_full", 5)];
    let losses = settled(rows(), books(), State::Complete);
    assert_eq!(losses.excess, [Excess { kind: SYSCALL, told: 5, booked: 2 }]);
    assert_eq!((losses.of_table(TableId::Syscall), losses.untimed.len()), (5, 0));
    // The manifest of an incomplete recording has no accounting yet.
    let cut_off = settled(rows(), books(), State::Recording);
    assert_eq!((cut_off.of_table(TableId::Syscall), cut_off.excess.len(), cut_off.told_until_ns), (5, 0, Some(1)));
}

#[test]
fn what_cannot_be_true_or_is_not_known_takes_no_time_and_no_amount() {
    let rows = vec![
        row(0, 1, "block", "ring_full", 0),
        row(0, 1, "block", "ring_full", i64::MIN),
        row(9, 3, "block", "ring_full", 4),
        row(0, 1, "nonsense", "more", 5),
        row(i64::MIN, i64::MAX, "vfs", "ring_full", i64::MAX),
        row(i64::MIN, i64::MAX, "vfs", "ring_full", i64::MAX),
        row(i64::MIN, i64::MAX, "vfs", "ring_full", i64::MAX),
    ];
    let losses = settled(rows, EventAccounting::default(), State::Recording);
    assert_eq!(times(&losses), [("vfs", "ring_full", i64::MIN, i64::MAX, u64::MAX), ("", "", 0, 1, 5)]);
    assert_eq!(losses.untimed, BTreeMap::from([(Kind { table: Some(TableId::Block), cause: "ring_full" }, 4)]));
    assert!(losses.windows(TableId::Vfs).is_some() && losses.windows(TableId::Block).is_none());
}

fn any_row() -> impl Strategy<Value = LossRow> {
    let class = prop::sample::select(vec!["syscall", "block", "process", "clock", "", "what?"]);
    let cause = prop::sample::select(vec!["ring_full", "disk_full", "", "why?"]);
    let ns = || prop_oneof![0..20i64, any::<i64>()];
    let events = prop_oneof![-1..50i64, any::<i64>()];
    (ns(), ns(), class, cause, events)
        .prop_map(|(since, until, class, cause, events)| row(since, until, class, cause, events))
}

proptest! {
    #[test]
    fn whatever_a_capture_claims_all_of_the_books_and_of_the_table_is_told_once(
        rows in prop::collection::vec(any_row(), 0..60),
        booked in prop::collection::vec((prop::sample::select(vec!["syscall", "block", "nothing"]), 0..90u64, any::<u64>()), 0..4),
        complete in any::<bool>(),
    ) {
        let mut expected: BTreeMap<Kind, u64> = BTreeMap::new();
        let mut accounts = Vec::new();
        let mut books: BTreeMap<Kind, u64> = BTreeMap::new();
        for (class, ring_full, disk_full) in booked {
            accounts.push(account(class, Lost { ring_full, disk_full, ..Lost::default() }));
            add(&mut books, Kind::of(class, "ring_full"), ring_full);
            add(&mut books, Kind::of(class, "disk_full"), disk_full);
        }
        for row in &rows {
            let events = u64::try_from(row.events).unwrap_or(0);
            add(&mut expected, Kind::of(&row.class.text(), &row.cause.text()), events);
        }
        let too_many = expected.iter().filter(|(kind, told)| **told > books.get(kind).copied().unwrap_or(0)).count();
        for (kind, events) in books {
            let sum = expected.entry(kind).or_default();
            *sum = events.max(*sum);
        }
        expected.retain(|_, events| *events > 0);
        let state = if complete { State::Complete } else { State::Recovered };
        let losses = settled(rows, EventAccounting { accounts, ..EventAccounting::default() }, state);
        prop_assert_eq!(losses.by_kind(), expected);
        prop_assert_eq!(losses.excess.len(), if complete { too_many } else { 0 });
        prop_assert!(losses.episodes.iter().all(|(_, of)| of.since_ns <= of.until_ns));
    }
}
