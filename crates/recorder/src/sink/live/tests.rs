use std::fs::File;
use std::io::{PipeReader, Read};
use std::time::Instant;

use crossbeam_channel::bounded;
use iostrata_capture::TableId;
use iostrata_capture::column::Comm;
use iostrata_capture::op::{Evidence, FdKind, IoClass, Op};
use iostrata_capture::table::TableBuilder;
use iostrata_capture::tables::{
    BlockBuilder, BlockRow, ProcessBuilder, ProcessRow, SyscallBuilder, SyscallRow, VfsBuilder, VfsRow,
};

use super::*;
use crate::sink::{CountingSink, Tee};

/// 2026-03-04 05:06:07.000008 UTC.
const NOW_NS: i64 = 1_772_600_767_000_008_000;

fn comm(name: &str) -> Comm {
    let mut comm = Comm::default();
    comm.0[..name.len()].copy_from_slice(name.as_bytes());
    comm
}

fn call(op: Op, name: &str, ret: i64) -> SyscallRow {
    SyscallRow {
        ts_ns: NOW_NS,
        dur_ns: 1_260,
        pid: 71,
        tid: 72,
        comm: comm(name),
        cgroup_id: 1,
        op,
        fd_kind: Some(FdKind::Regular),
        dev: Some(7 << 20),
        ino: Some(12),
        offset_bytes: Some(4096),
        requested_bytes: Some(8192),
        runnable_ns: None,
        ret,
        flags: None,
        weight: 1,
    }
}

fn request(op: Op, pid: Option<i32>, class: IoClass) -> BlockRow {
    BlockRow {
        ts_ns: NOW_NS - 1_000,
        dur_ns: pid.map(|_| 2_000_049),
        queue_ns: Some(10),
        insert_ns: None,
        pid,
        tid: pid,
        comm: comm(if pid.is_some() { "etcd" } else { "" }),
        cgroup_id: None,
        start_ns: pid.map(|_| 1),
        evidence: if pid.is_some() { Evidence::Inode } else { Evidence::None },
        owned_bytes: if pid.is_some() { 4096 } else { 0 },
        shared_bytes: 0,
        submitter_pid: Some(9),
        submitter_comm: comm("kworker/u8:3"),
        class,
        file_dev: None,
        ino: None,
        dev: 7 << 20,
        level: Some(0),
        sector: pid.map(|_| 16),
        bytes: 4096,
        op,
        flags: 0,
        error: if pid.is_some() { 0 } else { -5 },
        bios: 1,
        requeues: 0,
        weight: 1,
    }
}

fn process(pid: i32, exe: &str) -> ProcessRow {
    ProcessRow {
        ts_ns: NOW_NS - 5_000,
        pid,
        ppid: 1,
        start_ns: 1,
        comm: comm("etcd"),
        kernel_thread: false,
        cgroup_id: 1,
        exe: Some(exe.to_owned()),
        cmdline: None,
        cgroup: None,
    }
}

fn batch<B: TableBuilder>(table: TableId, rows: Vec<B::Row>) -> Batch {
    let mut builder = B::default();
    let count = rows.len();
    rows.into_iter().for_each(|row| builder.push(row));
    let mut tally = crate::books::EventCounts::default();
    (0..count).for_each(|_| tally.count(0, &Default::default()));
    Batch { table, rows: builder.finish().expect("columns of equal length"), tally }
}

fn start(format: Format, on_end: Option<Sender<Told>>) -> (LiveSink, Showing, PipeReader) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let systems = Systems::built_in().expect("the built-in rules are right");
    let settings = Settings { form: Form::Operations(format), systems, output: writer.into(), on_end };
    let (sink, showing) = LiveSink::start(settings).expect("a thread");
    (sink, showing, reader)
}

/// Prints one flush with rows of every kind, in the order in which the drain sends them.
fn printed(format: Format) -> (String, Shown) {
    let (mut sink, showing, mut reader) = start(format, None);
    let vfs = VfsRow {
        ts_ns: NOW_NS + 300,
        dur_ns: 700,
        pid: 71,
        tid: 72,
        comm: comm("a\x1b[2J b"),
        cgroup_id: 1,
        op: Op::Fsync,
        fd_kind: None,
        dev: None,
        ino: None,
        offset_bytes: None,
        requested_bytes: None,
        ret: 0,
        weight: 1,
    };
    let calls = vec![call(Op::Write, "dd", 8192), call(Op::Pread, "dd", -9), call(Op::UringSyncFileRange, "dd", 0)];
    let requests = vec![request(Op::Write, Some(30), IoClass::Data), request(Op::Read, None, IoClass::Journal)];
    for batch in [
        batch::<SyscallBuilder>(TableId::Syscall, calls),
        batch::<VfsBuilder>(TableId::Vfs, vec![vfs]),
        batch::<BlockBuilder>(TableId::Block, requests),
        batch::<ProcessBuilder>(TableId::Process, vec![process(30, "/usr/bin/etcd")]),
    ] {
        assert!(sink.offer(batch).is_ok());
    }
    sink.end_flush();
    drop(sink);
    let shown = showing.finish();
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    (text, shown)
}

#[test]
fn a_flush_becomes_a_table_in_order_of_time() {
    let (text, shown) = printed(Format::Text);
    assert_eq!(shown, Shown { shown: 6, not_shown: 0, why: None, failed: false });
    insta::assert_snapshot!(text, @r"
    TIME            SYSTEM       EVENT                    PID     TID COMM                 SIZE        OFFSET    LAT(us)    RET
    05:06:07.000007 etcd         BLOCK_WRITE               30      30 etcd                 4096          8192     2000.0      0
    05:06:07.000007 (journal)    BLOCK_READ                 -       - -                    4096             -          -     -5
    05:06:07.000008 dd           SYSCALL_WRITE             71      72 dd                   8192          4096        1.3   8192
    05:06:07.000008 dd           SYSCALL_PREAD64           71      72 dd                      -          4096        1.3     -9
    05:06:07.000008 dd           SYSCALL_IO_URING_SYNC_FILE_RANGE      71      72 dd                      -          4096        1.3      0
    05:06:07.000008 a\x1b[2J b   VFS_FSYNC                 71      72 a\x1b[2J b              -             -        0.7      0
    ");
}

#[test]
fn a_flush_becomes_json_with_a_row_a_line() {
    let (text, shown) = printed(Format::Json);
    assert_eq!(shown.shown, 6);
    insta::assert_snapshot!(text, @r#"
    {"ts_ns":1772600767000007000,"system":"etcd","event":"BLOCK_WRITE","layer":"block","op":"write","pid":30,"tid":30,"comm":"etcd","bytes":4096,"offset_bytes":8192,"lat_ns":2000049,"ret":0,"dev":7340032,"class":"data","evidence":"inode","owned_bytes":4096,"shared_bytes":0,"submitter_pid":9,"submitter_comm":"kworker/u8:3","file_dev":null,"ino":null,"queue_ns":10,"insert_ns":null}
    {"ts_ns":1772600767000007000,"system":"(journal)","event":"BLOCK_READ","layer":"block","op":"read","pid":null,"tid":null,"comm":null,"bytes":4096,"offset_bytes":null,"lat_ns":null,"ret":-5,"dev":7340032,"class":"journal","evidence":"none","owned_bytes":0,"shared_bytes":0,"submitter_pid":9,"submitter_comm":"kworker/u8:3","file_dev":null,"ino":null,"queue_ns":10,"insert_ns":null}
    {"ts_ns":1772600767000008000,"system":"dd","event":"SYSCALL_WRITE","layer":"syscall","op":"write","pid":71,"tid":72,"comm":"dd","bytes":8192,"offset_bytes":4096,"lat_ns":1260,"ret":8192,"fd_kind":"regular","dev":7340032,"ino":12,"requested_bytes":8192}
    {"ts_ns":1772600767000008000,"system":"dd","event":"SYSCALL_PREAD64","layer":"syscall","op":"pread64","pid":71,"tid":72,"comm":"dd","bytes":null,"offset_bytes":4096,"lat_ns":1260,"ret":-9,"fd_kind":"regular","dev":7340032,"ino":12,"requested_bytes":8192}
    {"ts_ns":1772600767000008000,"system":"dd","event":"SYSCALL_IO_URING_SYNC_FILE_RANGE","layer":"syscall","op":"io_uring_sync_file_range","pid":71,"tid":72,"comm":"dd","bytes":null,"offset_bytes":4096,"lat_ns":1260,"ret":0,"fd_kind":"regular","dev":7340032,"ino":12,"requested_bytes":8192}
    {"ts_ns":1772600767000008300,"system":"a\u001b[2J b","event":"VFS_FSYNC","layer":"vfs","op":"fsync","pid":71,"tid":72,"comm":"a\u001b[2J b","bytes":null,"offset_bytes":null,"lat_ns":700,"ret":0,"fd_kind":null,"dev":null,"ino":null,"requested_bytes":null}
    "#);
}

#[test]
fn a_reader_that_stands_still_costs_the_books_nothing() {
    let (sink, showing, mut reader) = start(Format::Json, None);
    let (keeper, counts) = CountingSink::start();
    let mut tee = Tee::new(Box::new(keeper), vec![Box::new(sink)]);
    let rows_of_a_batch = 1_000;
    let calls: Vec<_> = (0..rows_of_a_batch).map(|_| call(Op::Write, "dd", 1)).collect();
    let full = batch::<SyscallBuilder>(TableId::Syscall, calls);
    let batches = 2 * CHANNEL_BATCHES as u64 + 10;
    let began = Instant::now();
    for _ in 0..batches {
        assert!(tee.offer(full.clone()).is_ok());
        tee.end_flush();
    }
    assert!(tee.put(full).is_ok());
    assert!(began.elapsed() < READER_TIME, "the offer waited for the reader");
    drop(tee);

    let taken = counts.get().expect("counts");
    assert_eq!(taken[TableId::Syscall].events(), (batches + 1) * rows_of_a_batch);
    let shown = showing.finish();
    assert_eq!(shown.shown + shown.not_shown, (batches + 1) * rows_of_a_batch);
    assert!(shown.shown > 0 && shown.not_shown > shown.shown);
    assert_eq!((shown.why.as_deref(), shown.failed), (Some("the output was too slow"), false));
    // The number of shown rows is what a reader finds, and no line is truncated.
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    assert!(text.ends_with("}\n"));
    assert_eq!(text.lines().count() as u64, shown.shown);
}

#[test]
fn names_arrive_while_the_reader_stands_still() {
    let (mut sink, showing, mut reader) = start(Format::Json, None);
    let calls: Vec<_> = (0..2_000).map(|_| call(Op::Write, "dd", 1)).collect();
    sink.offer(batch::<SyscallBuilder>(TableId::Syscall, calls)).ok().expect("room");
    sink.end_flush();
    for pid in 0..3 * PROCESS_BATCHES as i32 {
        let one = batch::<ProcessBuilder>(TableId::Process, vec![process(pid, "/usr/bin/etcd")]);
        let began = Instant::now();
        while sink.offer(one.clone()).is_err() {
            assert!(began.elapsed() < READER_TIME, "process {pid} is not accepted");
            std::thread::sleep(TEST_TICK);
        }
    }
    let reading = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
    drop(sink);
    assert_eq!(showing.finish().not_shown, 0);
    reading.join().expect("a reader").expect("text");
}

const TEST_TICK: Duration = Duration::from_millis(5);

#[test]
fn a_reader_that_goes_away_is_noticed_while_nothing_happens() {
    let (on_end, ended) = bounded(1);
    let (mut sink, showing, mut reader) = start(Format::Text, Some(on_end));
    // So that the header has been printed.
    reader.read_exact(&mut [0; 4]).expect("the header");
    drop(reader);
    assert!(matches!(ended.recv_timeout(READER_TIME), Ok(Told::Stop("standard output was closed"))));
    let late = batch::<SyscallBuilder>(TableId::Syscall, vec![call(Op::Write, "dd", 1)]);
    // Whether the sink accepts it depends on whether the thread has ended already; it is never shown.
    let _ = sink.offer(late);
    drop(sink);
    let shown = showing.finish();
    let why = Some("standard output was closed".to_owned());
    assert_eq!(shown, Shown { shown: 0, not_shown: 1, why, failed: false });
}

#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let output = File::options().write(true).open("/dev/full").expect("/dev/full").into();
    let systems = Systems::built_in().expect("the built-in rules are right");
    let settings = Settings { form: Form::Operations(Format::Text), systems, output, on_end: None };
    let (sink, showing) = LiveSink::start(settings).expect("a thread");
    drop(sink);
    let shown = showing.finish();
    assert!(shown.failed);
    assert_eq!(shown.why.as_deref(), Some("standard output cannot be written: No space left on device (os error 28)"));
}
