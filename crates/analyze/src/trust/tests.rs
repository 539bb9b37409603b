use iostrata_capture::TableId;
use iostrata_capture::ledger::{Account, Lost, Skipped};
use iostrata_capture::list::{Entry, Part, Removed};
use iostrata_capture::manifest::{Counting, DeviceCheck, DeviceCounters, Manifest};
use iostrata_capture::part::PartName;
use iostrata_capture::without_row::{UnseenKind, WithoutRow};

use super::*;
use crate::loss::Kind;
use crate::loss::episodes::Stretch;
use crate::select::Selection;

/// Returns a finished capture of all layers without losses.
pub(crate) fn sound() -> Capture {
    let captured = LayerState { captured: true, how: "tp_btf".into(), without: Vec::new() };
    let manifest = Manifest {
        schema_version: 1,
        parts_id: None,
        capture_id: "sound".into(),
        state: State::Complete,
        started_at: String::new(),
        stopped_at: None,
        stop_reason: None,
        recorder_version: String::new(),
        continues: None,
        privacy: Default::default(),
        run_queue: false,
        whole_until_ns: None,
        command_line: Vec::new(),
        host: Default::default(),
        clock: Default::default(),
        layers: Layer::ALL.iter().map(|layer| (*layer, captured.clone())).collect(),
        groups: std::collections::BTreeMap::new(),
        probes: Vec::new(),
        filters: Default::default(),
        filtered: None,
        devices: Vec::new(),
        mounts: Vec::new(),
        books: EventAccounting { accounts: vec![account("block", Lost::default(), 10)], ..EventAccounting::default() },
        sampling: None,
        device_books: Vec::new(),
        process_counters: None,
        servers: Vec::new(),
        maps: Vec::new(),
    };
    Capture::without_parts("run1".into(), manifest)
}

fn account(class: &str, lost: Lost, written: u64) -> Account {
    let lost_io = Amounts { read_ops: 1, read_bytes: 4096, ..Amounts::default() };
    let lost_io = if lost.total() > 0 { lost_io } else { Amounts::default() };
    Account { class: class.into(), cpu: 0, seen: written + lost.total(), written, lost, lost_io }
}

/// Judges the sound capture with one change.
fn with(change: impl FnOnce(&mut Manifest)) -> Trust {
    let mut capture = sound();
    change(&mut capture.manifest);
    trust(&[capture])
}

fn trust(captures: &[Capture]) -> Trust {
    let losses: Vec<Losses> =
        captures.iter().map(|capture| Losses::load(capture).expect("no table of losses")).collect();
    Trust::of(captures, &losses, &windows(captures))
}

fn windows(captures: &[Capture]) -> Vec<Window> {
    Selection::default().windows(captures).expect("captures that say when they began")
}

const NOTHING_LOST: [Option<Amounts>; Layer::ALL.len()] =
    [Some(Amounts { read_ops: 0, read_bytes: 0, write_ops: 0, write_bytes: 0 }); Layer::ALL.len()];

#[test]
fn a_sound_capture_has_nothing_to_be_said_about() {
    let expected = Trust {
        captured: [true; Layer::ALL.len()],
        lost_io: NOTHING_LOST,
        told: [true; FlowPath::ALL.len()],
        lost_events: Some(0),
        complete: true,
        ..Trust::default()
    };
    assert_eq!(with(|_| ()), expected);
}

#[test]
fn a_layer_that_is_missing_is_named_with_the_reason_and_is_not_incomplete() {
    let missing = LayerState { captured: false, how: "fentry was refused".into(), without: Vec::new() };
    let trust = with(|m| drop(m.layers.insert(Layer::Vfs, missing)));
    assert_eq!((trust.captured, trust.complete), ([true, false, true, true], true));
    assert_eq!(trust.notes, ["not captured: vfs (fentry was refused)"]);
}

#[test]
fn a_layer_that_one_of_several_captures_lacks_is_left_out_of_all() {
    let mut other = sound();
    other.directory = "run2".into();
    other.manifest.layers.remove(&Layer::Block);
    let trust = trust(&[sound(), other]);
    assert_eq!(trust.captured, [true, true, true, false]);
    assert_eq!(trust.notes, ["excluded: block, not captured in run2 (the manifest does not name this layer)"]);
}

#[test]
fn counted_losses_set_the_bounds_of_their_layer() {
    let lost = Lost { ring_full: 2, channel_full: 1, ..Lost::default() };
    let trust = with(|m| m.books.accounts.push(account("syscall", lost, 5)));
    assert_eq!((trust.lost_events, trust.complete), (Some(3), false));
    assert_eq!(trust.notes, ["lost 3 events: syscall 2 ring_full, 1 channel_full"]);
    let mut expected = NOTHING_LOST;
    expected[0] = Some(Amounts { read_ops: 1, read_bytes: 4096, ..Amounts::default() });
    assert_eq!(trust.lost_io, expected);
}

#[test]
fn a_skipped_program_leaves_its_layer_without_a_bound() {
    for (class, known) in [
        ("syscall", [false, true, true, true]),
        ("vfs", [true, false, true, true]),
        ("block", [true, true, true, false]),
        ("process", [false; Layer::ALL.len()]),
        ("", [false; Layer::ALL.len()]),
    ] {
        let skipped = Skipped { class: class.into(), program: "a_program".into(), recursion: 2 };
        let trust = with(|m| m.books.skipped.push(skipped));
        assert_eq!(trust.lost_io.map(|io| io.is_some()), known, "{class}");
        assert_eq!(trust.notes, ["lost 2 events: program a_program skipped 2 times"]);
    }
}

#[test]
fn a_capture_that_was_cut_off_is_a_warning_and_has_no_bounds() {
    let trust = with(|m| m.state = State::Recording);
    assert_eq!((trust.lost_io, trust.complete), ([None; Layer::ALL.len()], false));
    assert!(trust.warnings[0].starts_with("warning: run1: the recording was interrupted"), "{:?}", trust.warnings);
}

#[test]
fn books_that_do_not_balance_are_told_and_leave_no_bounds() {
    let trust = with(|m| m.books.accounts[0].seen += 1);
    assert_eq!((trust.lost_io, trust.complete), ([None; Layer::ALL.len()], false));
    assert_eq!(trust.notes, ["event accounting of block is inconsistent: 11 seen, but 10 recorded and 0 lost"]);
}

#[test]
fn a_device_whose_counters_differ_is_told_with_what_differs() {
    let book = DeviceCheck {
        device: "vda".into(),
        kernel: DeviceCounters { write_ops: 3, write_bytes: 8192, ..Default::default() },
        rows: DeviceCounters { write_ops: 1, write_bytes: 4096, ..Default::default() },
        edges: DeviceCounters::default(),
        counting: Counting::Always,
        uncounted: DeviceCounters::default(),
        unseen_flushes: 0,
        hands_bios_on: false,
        own: Amounts { write_ops: 2, ..Default::default() },
        balanced: false,
    };
    let trust = with(|m| m.device_books.push(book));
    let line = "device vda: inconsistent: the kernel counted 8192 bytes written but 4096 recorded";
    assert_eq!((trust.notes, trust.complete), (vec![line.to_owned()], false));
}

#[test]
fn a_device_whose_counters_are_no_witness_or_leave_room_is_remarked() {
    let writes = |write_ops, write_bytes| DeviceCounters { write_ops, write_bytes, ..Default::default() };
    let remarks = |book: DeviceCheck| super::devices::remarks(&[book]);
    let sound = DeviceCheck {
        device: "vda".into(),
        kernel: writes(10, 1000),
        rows: writes(10, 1000),
        edges: DeviceCounters::default(),
        counting: Counting::Always,
        uncounted: DeviceCounters::default(),
        unseen_flushes: 0,
        hands_bios_on: false,
        own: Amounts::default(),
        balanced: true,
    };
    assert_eq!(remarks(sound.clone()), [""; 0]);
    assert_eq!(remarks(DeviceCheck { edges: writes(1, 10), ..sound.clone() }), [""; 0], "less than a hundredth");
    let busy = remarks(DeviceCheck { edges: writes(1, 100), ..sound.clone() }).concat();
    assert!(busy.contains("0 bytes read and 1000 to 1100 written"), "{busy}");
    let uncounted = writes(3, 300);
    let never = remarks(DeviceCheck { counting: Counting::Never, uncounted, ..sound.clone() }).concat();
    assert!(never.contains("3 requests of 300 bytes are not checked"), "{never}");
    let partly = remarks(DeviceCheck { counting: Counting::Partly, uncounted, ..sound.clone() }).concat();
    assert!(partly.contains("was changed during the recording"), "{partly}");
    let idle = DeviceCheck { counting: Counting::Never, kernel: writes(0, 0), rows: writes(0, 0), ..sound.clone() };
    assert_eq!(remarks(idle), [""; 0], "it did nothing");
    let flushes = remarks(DeviceCheck { unseen_flushes: 2, ..sound.clone() }).concat();
    assert!(flushes.starts_with("2 flushes of device vda without a row"), "{flushes}");
    let bios = remarks(DeviceCheck { hands_bios_on: true, ..sound }).concat();
    assert!(bios.contains("its rows are bios"), "{bios}");
}

#[test]
fn of_bios_only_missing_bytes_are_missing() {
    let of = |write_bytes, balanced| {
        let book = DeviceCheck {
            device: "zram0".into(),
            kernel: DeviceCounters { write_ops: 9, write_bytes: 8192, ..Default::default() },
            rows: DeviceCounters { write_ops: 1, write_bytes, ..Default::default() },
            edges: DeviceCounters::default(),
            counting: Counting::Always,
            uncounted: DeviceCounters::default(),
            unseen_flushes: 0,
            hands_bios_on: true,
            own: Amounts::default(),
            balanced,
        };
        missing(&with(|m| m.device_books.push(book)))[Layer::Block as usize]
    };
    assert_eq!((of(8192, true), of(4096, false)), (Some(0), None));
}

/// Returns the missing rows by layer; `None` where more may be missing.
fn missing(trust: &Trust) -> [Option<u64>; Layer::ALL.len()] {
    trust.missing.map(|missing| (!missing.more).then_some(missing.at_least))
}

#[test]
fn what_is_counted_as_lost_is_missing_of_its_layer_alone() {
    let lost = Lost { ring_full: 2, unseen_end: 1, ..Lost::default() };
    let trust = with(|m| m.books.accounts.extend([account("vfs", lost, 5), account("share", lost, 5)]));
    assert_eq!(missing(&trust), [Some(0), Some(3), Some(0), Some(0)]);
}

#[test]
fn more_may_be_missing_than_is_known() {
    let lost = Lost { ring_full: 2, ..Lost::default() };
    let skipped = Skipped { class: "vfs".into(), program: "a_program".into(), recursion: 2 };
    assert_eq!(missing(&with(|m| m.state = State::Recovered)), [None; 4]);
    assert_eq!(missing(&with(|m| m.books.accounts[0].seen += 1)), [None; 4]);
    assert_eq!(missing(&with(|m| m.books.accounts.push(account("process", lost, 1)))), [None; 4]);
    assert_eq!(missing(&with(|m| m.books.accounts.push(account("file", lost, 1)))), [Some(0); 4]);
    assert_eq!(missing(&with(|m| m.books.skipped.push(skipped))), [Some(0), None, Some(0), Some(0)]);
    assert_eq!(missing(&with(|m| m.books.incomplete.compat_calls = 1)), [None, Some(0), Some(0), Some(0)]);
}

#[test]
fn a_device_that_lacks_what_is_counted_as_lost_lacks_no_more() {
    let book = |write_ops, write_bytes| DeviceCheck {
        device: "vda".into(),
        kernel: DeviceCounters { write_ops: 3, write_bytes: 8192, ..Default::default() },
        rows: DeviceCounters { write_ops, write_bytes, ..Default::default() },
        edges: DeviceCounters::default(),
        counting: Counting::Always,
        uncounted: DeviceCounters::default(),
        unseen_flushes: 0,
        hands_bios_on: false,
        own: Amounts::default(),
        balanced: false,
    };
    let lost = Lost { ring_full: 1, ..Lost::default() };
    let lost_io = Amounts { write_ops: 1, write_bytes: 4096, ..Amounts::default() };
    let block = |book: DeviceCheck| {
        let trust = with(|m| {
            m.books.accounts[0] = Account { lost_io, ..account("block", lost, 10) };
            m.device_books.push(book);
        });
        assert!(!trust.complete);
        assert_eq!(trust.lost_io[Layer::Block as usize].is_some(), !trust.missing[Layer::Block as usize].more);
        missing(&trust)[Layer::Block as usize]
    };
    assert_eq!(block(book(2, 4096)), Some(1));
    assert_eq!(block(book(1, 4096)), None, "two are missing");
    assert_eq!(block(book(2, 0)), None, "of more bytes than one can have had");
    assert_eq!(block(book(4, 8192)), None, "more than the kernel counted");
    assert_eq!(block(book(3, 8192)), None, "no difference that explains it");
}

#[test]
fn what_was_lost_before_the_oldest_row_that_is_left_is_missing_of_nothing() {
    let mut capture = sound();
    let table = TableId::Syscall;
    let removed = Removed { table, parts: 1, rows: 5, bytes: 9, last_ts_ns: Some(100) };
    capture.list.take(Entry::RemovedSum(removed)).expect("a table");
    let stretch =
        |since, until| (Kind { table: Some(TableId::Syscall), cause: "ring_full" }, Stretch::new(since, until, 7, 0));
    let mut losses = Losses::default();
    losses.episodes = vec![stretch(0, 100), stretch(100, 101)];
    let of = |window: Window| {
        missing(&Trust::of(std::slice::from_ref(&capture), std::slice::from_ref(&losses), &[window]))[0]
    };
    assert_eq!(of(windows(std::slice::from_ref(&capture))[0]), Some(7));
    // The start of events lost later is unknown.
    assert_eq!(of(Window { after_ns: Some(50), until_ns: Some(60) }), Some(14));
    assert_eq!(of(Window { after_ns: Some(101), until_ns: None }), Some(0));
}

#[test]
fn a_manifest_that_claims_absurd_amounts_is_summed_without_overflow() {
    let lost = Lost { ring_full: u64::MAX, inflight_full: u64::MAX, ..Lost::default() };
    let absurd = Account { seen: u64::MAX, lost, ..account("block", Lost::default(), u64::MAX) };
    let trust = with(|m| m.books.accounts.extend([absurd.clone(), absurd]));
    assert_eq!((trust.lost_events, trust.complete), (Some(u64::MAX), false));
}

#[test]
fn what_no_book_has_the_size_of_leaves_no_bound() {
    let lost_io = |trust: &Trust, layer: Layer| trust.lost_io[layer as usize];
    let by_32_bits = with(|m| m.books.incomplete.compat_calls = 1);
    assert_eq!(by_32_bits.notes, ["not recorded: system calls by the 32-bit entry, of any kind: 1"]);
    assert_eq!((lost_io(&by_32_bits, Layer::Syscall), lost_io(&by_32_bits, Layer::Block)), (None, NOTHING_LOST[0]));
    // With a known size they count as lost; operations in flight at the stop do too.
    let io = Amounts { read_bytes: 512, ..Amounts::default() };
    let unfinished = with(|m| (m.books.incomplete.unfinished_async, m.books.incomplete.unfinished_io) = (1, Some(io)));
    assert_eq!((lost_io(&unfinished, Layer::Syscall), unfinished.complete), (Some(io), true));
    let unknown = with(|m| m.books.incomplete.unfinished_async = 1);
    assert_eq!(lost_io(&unknown, Layer::Syscall), None);
    let opcode =
        WithoutRow { kind: UnseenKind::UringUnknown, opcode: Some("IORING_OP_NEW".into()), calls: 2, io: None };
    let new = with(|m| m.books.without_row.push(opcode));
    assert_eq!(lost_io(&new, Layer::Syscall), None);
    assert!(new.notes[0].ends_with("may have moved bytes of files (IORING_OP_NEW): 2"), "{:?}", new.notes);
    let without =
        |layer, what: &str| with(|m| m.layers.get_mut(&layer).expect("the layer").without.push(what.into())).told;
    assert_eq!(without(Layer::Syscall, WITHOUT_IO_URING), [true, true, false, true]);
    assert_eq!(without(Layer::Fs, WITHOUT_MAPPINGS), [true, true, true, false]);
    assert_eq!(without(Layer::Fs, "xfs"), [true; FlowPath::ALL.len()]);
    assert_eq!(with(|m| m.state = State::Recording).lost_events, None);
}

#[test]
fn what_happened_between_two_segments_is_said_to_be_nowhere() {
    let mut first = sound();
    first.manifest.stopped_at = Some("2026-01-02T03:04:05.678+00:00".into());
    let mut second = sound();
    second.directory = "run1/segment-000002".into();
    second.manifest.capture_id = "second".into();
    second.manifest.continues = Some("sound".into());
    second.manifest.started_at = "2026-01-02T04:00:00+00:00".into();
    let gap = |end: &str| {
        format!("not recorded: from {end} to 2026-01-02T04:00:00.000Z, before run1/segment-000002 continued")
    };
    assert_eq!(trust(&[first.clone(), second.clone()]).notes, [gap("2026-01-02T03:04:05.678Z")]);
    // The second one alone, and after an interrupted one.
    assert_eq!(trust(&[second.clone()]).notes, [""; 0]);
    first.manifest.state = State::Recovered;
    first.manifest.stopped_at = None;
    for (number, last_ts_ns) in [(1, Some(1_767_323_000_000_000_000)), (2, None)] {
        let name = PartName { table: TableId::Block, number };
        let part = Part { name, rows: 1, bytes: 1, first_ts_ns: None, last_ts_ns };
        first.list.take(Entry::Finished(part)).expect("a new part");
    }
    assert_eq!(trust(&[first, second]).notes, [gap("2026-01-02T03:03:20.000Z")]);
}
