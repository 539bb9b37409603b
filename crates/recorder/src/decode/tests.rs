use super::*;
use crate::bpf::{bytes_of, record_at};
use iostrata_capture::manifest::Privacy;

fn words(ops: &[&str]) -> Words {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Words {
        ops: list(ops),
        io_classes: list(&["data", "journal"]),
        evidences: list(&["none", "direct", "cgroup"]),
        vias: list(&["", "call"]),
        path_origins: list(&["", "namespace", "filesystem", "cut"]),
        unseen: Vec::new(),
    }
}

fn veil() -> Redaction {
    Redaction::new(Privacy::None).expect("a key")
}

fn decoder() -> Decoder {
    Decoder::new(1_000, &words(&["", "read", "write"]), veil(), None).expect("known words")
}

#[test]
fn missing_values_become_nulls_and_nothing_else_does() {
    let mut event = types::block_event { duration_ns: MISSING, queue_ns: 0, insert_ns: MISSING, ..Default::default() };
    event.head.op = 2;
    event.head.start_ns = 5;
    let row = decoder().block(&event, None, None).expect("a known operation");
    assert_eq!((row.ts_ns, row.dur_ns, row.queue_ns, row.insert_ns, row.pid), (1_005, None, Some(0), None, None));
}

#[test]
fn parts_take_what_the_owner_leaves_and_no_more_than_was_done() {
    let mut event = types::block_event_parts::default();
    let part = |pid, bytes| types::part {
        bytes,
        evidence: 1,
        who: types::identity { pid, ..Default::default() },
        ..Default::default()
    };
    event.others[..3].copy_from_slice(&[part(8, 50), part(9, 50), part(10, 50)]);
    let request = &mut event.submitted.event;
    (request.bytes, request.head.op) = (100, 2);
    request.origin = types::origin { owned_bytes: 30, evidence: 1, others: 2, ..Default::default() };
    let decoder = decoder();
    let mut row = decoder.block(&event.submitted.event, None, Some(0)).expect("a known operation");
    let shares = decoder.shares(&mut row, &event).expect("known words");
    let parts: Vec<_> = shares.iter().map(|share| (share.pid, share.bytes)).collect();
    assert_eq!(parts, [(Some(8), 50), (Some(9), 20)]);
    assert_eq!((row.owned_bytes, row.shared_bytes), (30, 70));
}

#[test]
fn an_operation_without_a_word_is_no_row() {
    let mut event = types::file_event::default();
    assert!(decoder().syscall(&event, None).is_none());
    event.head.op = 200;
    assert!(decoder().syscall(&event, None).is_none());
    assert!(Decoder::new(0, &words(&["frobnicate"]), veil(), None).is_err());
}

#[test]
fn how_long_a_call_waited_for_a_cpu_is_null_where_it_was_not_measured_or_is_not_known() {
    let mut call = types::call_event { runnable_ns: 30, ..Default::default() };
    call.file.head.op = 2;
    let runnable = |bytes: &[u8]| {
        let event = record_at(bytes).expect("a whole record");
        decoder().syscall(event, record_at(bytes)).expect("a known operation").runnable_ns
    };
    assert_eq!(runnable(bytes_of(&call)), Some(30));
    assert_eq!(runnable(bytes_of(&types::call_event { runnable_ns: MISSING, ..call })), None);
    assert_eq!(runnable(bytes_of(&call.file)), None);
}

#[test]
fn both_kinds_of_completion_status_become_an_errno() {
    assert_eq!((errno_of(0), errno_of(-5), errno_of(10), errno_of(3)), (0, -5, -5, -28));
}

#[test]
fn names_are_put_together_from_the_root_down() {
    let chars: Vec<i8> = b"dd\0bin\0usr\0junk".iter().map(|b| *b as i8).collect();
    assert_eq!(path_of(&chars, 3).as_deref(), Some("/usr/bin/dd"));
    assert_eq!(path_of(&chars, 0), None);
}

fn write(to: &mut [i8], bytes: &[u8]) {
    to.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from as i8);
}

#[test]
fn a_process_is_read_from_a_record_of_either_kind() {
    let process = types::process_head {
        exe_origin: 1,
        exe_components: 2,
        cgroup_origin: 2,
        cgroup_components: 1,
        cmdline_length: 10,
        ..Default::default()
    };
    let mut short = types::process_event_short { process, ..Default::default() };
    write(&mut short.exe, b"dd\0bin\0junk");
    write(&mut short.cgroup, b"job-1\0");
    write(&mut short.cmdline, b"dd\0if=a\0\0\0TOKEN=left over");
    let row = decoder().process(&ProcessRecord::at(bytes_of(&short)).expect("a whole record"));
    assert_eq!((row.exe.as_deref(), row.cgroup.as_deref()), (Some("/bin/dd"), Some("/job-1")));
    assert_eq!(row.cmdline.as_deref(), Some("dd if=a"));

    let mut long = types::process_event_long { process: short.process, ..Default::default() };
    (long.process.cgroup_origin, long.process.cgroup_components) = (3, 1);
    write(&mut long.cgroup, b"below-what\0");
    write(&mut long.cmdline, &[b'a'; 512]);
    write(&mut long.cmdline_tail, b"b\0Main\0");
    (long.process.cmdline_length, long.process.cmdline_tail_length) = (512, 7);
    let cmdline = |long: &types::process_event_long| {
        let row = decoder().process(&ProcessRecord::at(bytes_of(long)).expect("a whole record"));
        assert_eq!(row.cgroup, None, "the cgroup is unknown");
        row.cmdline.expect("a command line")
    };
    assert_eq!(cmdline(&long), format!("{}b Main", "a".repeat(512)));
    long.process.cmdline_cut = 1;
    assert_eq!(cmdline(&long), format!("{} … b Main", "a".repeat(512)));
    assert!(ProcessRecord::at(&bytes_of(&short)[..80]).is_none());
}

#[test]
fn results_that_no_program_sees_are_what_it_sees() {
    assert_eq!([-512, -513, -514, -516].map(result_of), [-4; 4]);
    assert_eq!([-511, -515, -517, -4, 0, 512].map(result_of), [-511, -515, -517, -4, 0, 512]);
}

fn named(names: &[u8], components: u8, origin: u8) -> FileRow {
    let mut event = types::name_event { components, path_origin: origin, ino: 12, dev: 7, ..Default::default() };
    event.head.fd_kind = 1;
    for (to, from) in event.path.iter_mut().zip(names) {
        *to = *from as i8;
    }
    decoder().file(&event)
}

#[test]
fn a_path_that_is_cut_begins_at_no_root() {
    let whole = named(b"b\0a\0left over from another", 2, 1);
    assert_eq!((whole.path.as_deref(), whole.path_origin), (Some("/a/b"), Some(PathOrigin::Namespace)));
    assert_eq!((whole.ino, whole.dev, whole.fd_kind, whole.deleted), (12, 7, Some(FdKind::Regular), false));
    let cut = named(b"b\0a\0", 2, 3);
    assert_eq!((cut.path.as_deref(), cut.path_origin), (Some("a/b"), Some(PathOrigin::Cut)));
}

#[test]
fn a_file_without_a_path_says_nothing_of_one() {
    let unread = named(b"b\0a\0", 2, 0);
    assert_eq!((unread.path, unread.path_origin, unread.mount_namespace), (None, None, None));
    assert_eq!(named(b"", 0, 3).path_origin, None);
    assert_eq!(named(b"", 0, 2).path.as_deref(), Some("/"));
    assert_eq!(named(b"\xff\0a\0", 2, 1).path.as_deref(), Some("/a/\u{fffd}"));
    let unknown = types::name_event { path_origin: 9, ..Default::default() };
    assert_eq!(decoder().file(&unknown).path, None);
}
