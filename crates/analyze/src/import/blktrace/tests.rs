use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use iostrata_capture::capture_writer::CaptureWriter;
use iostrata_capture::op::{IoClass, Op};

use super::record::{Action, Record};
use super::*;
use crate::import::gathered::Known;
use crate::import::traced::{Submitter, Traced};

const DISK: u32 = 8 << 20;
const WRITE: u32 = 1 << 17;
const READ: u32 = 1 << 16;
const FLUSH: u32 = 1 << 18;
const FUA: u32 = 1 << 31;
const META: u32 = 1 << 28;
const NOTIFY: u32 = 1 << 26;
const Q: u32 = 1;
const G: u32 = 4;
const R: u32 = 6;
const D: u32 = 7;
const C: u32 = 8;
const I: u32 = 12;
const X: u32 = 13;

/// Returns the bytes of a record.
fn bytes_of(time: u64, action: u32, sector: u64, bytes: u32, cpu: u32, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    record.extend(0x6561_7407u32.to_le_bytes());
    record.extend(sequence.to_le_bytes());
    record.extend(time.to_le_bytes());
    record.extend(sector.to_le_bytes());
    for word in [bytes, action, 42, DISK, cpu] {
        record.extend(word.to_le_bytes());
    }
    record.extend(0u16.to_le_bytes());
    record.extend((payload.len() as u16).to_le_bytes());
    record.extend(payload);
    record
}

/// Returns a record of a bio or request.
fn record(time: u64, action: u32, sector: u64, bytes: u32) -> Record {
    let bytes = bytes_of(time, action, sector, bytes, 0, 1, &[]);
    Record::parse(bytes.first_chunk().expect("a header")).expect("a record")
}

fn tells_queueing(record: &Record) -> bool {
    matches!(record.event(), Event::Block(Action::Queue | Action::Allocate))
}

/// Returns the requests of records of one disk, and the number of those without completion.
fn requests_of(records: &[Record]) -> (Vec<Ended>, Unfinished) {
    let mut names = Names::default();
    names.learn(42, iostrata_capture::column::Comm::of("dd"));
    let mut requests = Requests::new((DISK as i32, 0), 1_000, records.iter().any(tells_queueing));
    let mut ended = Vec::new();
    for record in records {
        let Event::Block(action) = record.event() else { panic!("a notice") };
        ended.extend(requests.take(record, action, &names));
    }
    let (last, unfinished) = requests.finish();
    ended.extend(last);
    (ended, unfinished)
}

fn only(records: &[Record]) -> Traced {
    let (ended, unfinished) = requests_of(records);
    assert_eq!((ended.len(), unfinished), (1, Unfinished::default()), "{ended:?}");
    ended[0].traced.clone()
}

#[test]
fn a_request_is_known_from_its_queueing_to_its_completion() {
    let steps = [(10, Q), (11, G), (14, I), (20, D), (50, C)];
    let traced = only(&steps.map(|(time, action)| record(time, READ | action, 80, 4096)));
    assert_eq!((traced.ts_ns, traced.dur_ns, traced.queue_ns, traced.insert_ns), (1_010, Some(40), Some(4), Some(6)));
    assert_eq!((traced.sector, traced.bytes, traced.op, traced.bios), (Some(80), 4096, Op::Read, 1));
    assert_eq!(
        traced.submitter,
        Some(Submitter { pid: 42, comm: iostrata_capture::column::Comm::of("dd") }),
        "who queued it"
    );
}

#[test]
fn in_a_trace_without_queueing_a_request_begins_where_it_is_first_seen() {
    let issued = only(&[record(20, READ | D, 80, 4096), record(50, READ | C, 80, 4096)]);
    assert_eq!((issued.ts_ns, issued.dur_ns, issued.queue_ns, issued.insert_ns), (1_020, Some(30), None, None));
    let inserted = only(&[(14, I), (20, D), (50, C)].map(|(time, action)| record(time, READ | action, 80, 4096)));
    assert_eq!(
        (inserted.ts_ns, inserted.dur_ns, inserted.queue_ns, inserted.insert_ns),
        (1_014, Some(36), None, Some(6))
    );
}

#[test]
fn what_was_merged_is_one_request_of_its_first_bio() {
    // The second is merged behind the first, the third in front of both after their insertion into the scheduler.
    let traced = only(&[
        record(1, WRITE | Q, 8, 4096),
        record(2, WRITE | Q, 16, 4096),
        record(3, WRITE | I, 8, 8192),
        record(4, WRITE | Q, 0, 4096),
        record(5, WRITE | D, 0, 12288),
        record(9, WRITE | C, 0, 12288),
    ]);
    assert_eq!((traced.ts_ns, traced.dur_ns, traced.queue_ns, traced.insert_ns), (1_001, Some(8), Some(2), Some(2)));
    assert_eq!((traced.sector, traced.bytes, traced.bios), (Some(0), 12288, 3));
}

#[test]
fn two_requests_for_one_place_are_two() {
    let twice = |action, at| [record(at, READ | action, 8, 4096), record(at + 1, READ | action, 8, 4096)];
    let (ended, unfinished) = requests_of(&[twice(Q, 1), twice(D, 3), twice(C, 10)].concat());
    assert_eq!(unfinished, Unfinished::default());
    let times: Vec<_> = ended.iter().map(|request| (request.traced.ts_ns, request.traced.dur_ns)).collect();
    assert_eq!(times, [(1_001, Some(9)), (1_002, Some(9))]);
    // Nor are a read and a write at one sector confused.
    let (ended, _) =
        requests_of(&[record(1, READ | Q, 8, 4096), record(2, WRITE | D, 8, 4096), record(3, WRITE | C, 8, 4096)]);
    assert_eq!((ended[0].traced.op, ended[0].traced.dur_ns, ended[0].is_unidentified), (Op::Write, None, true));
}

#[test]
fn what_was_lost_does_not_spoil_what_comes_after_it() {
    let whole = |at| [(at, Q), (at + 1, D), (at + 5, C)].map(|(time, action)| record(time, WRITE | action, 8, 4096));
    for lost in 0..3 {
        let mut records = [whole(10), whole(1_000), whole(2_000)].concat();
        records.remove(lost);
        let (ended, _) = requests_of(&records);
        let last: Vec<_> = ended.iter().rev().take(2).map(|request| request.traced.dur_ns).collect();
        assert_eq!(last, [Some(5), Some(5)], "{lost}");
    }
}

#[test]
fn flushes_end_in_the_order_in_which_they_began() {
    let steps = [(1, FLUSH | Q), (2, FLUSH | Q), (5, C), (7, FLUSH | Q), (8, C), (9, C)];
    let (ended, _) = requests_of(&steps.map(|(time, action)| record(time, WRITE | action, 0, 0)));
    assert_eq!(ended.iter().filter_map(|request| request.traced.dur_ns).collect::<Vec<_>>(), [4, 6, 2]);
}

#[test]
fn a_request_that_the_driver_hands_back_is_issued_again() {
    let steps = [(1, Q), (2, D), (3, R), (7, D), (9, C)];
    let traced = only(&steps.map(|(time, action)| record(time, WRITE | action, 8, 512)));
    assert_eq!((traced.requeues, traced.queue_ns, traced.dur_ns), (1, Some(6), Some(8)));
}

#[test]
fn a_bio_that_is_split_makes_a_request_of_each_part() {
    let (ended, unfinished) = requests_of(&[
        record(1, READ | Q, 0, 12288),
        record(2, READ | X, 0, 4096),
        record(3, READ | D, 0, 4096),
        record(4, READ | X, 8, 4096),
        record(5, READ | D, 8, 4096),
        record(6, READ | D, 16, 4096),
        record(7, READ | C, 8, 4096),
        record(8, READ | C, 0, 4096),
        record(9, READ | C, 16, 4096),
    ]);
    assert_eq!(unfinished, Unfinished::default());
    let all: Vec<_> = ended.iter().map(|request| (request.traced.sector, request.traced.dur_ns)).collect();
    assert_eq!(all, [(Some(8), Some(6)), (Some(0), Some(7)), (Some(16), Some(8))]);
}

#[test]
fn a_request_may_complete_in_pieces() {
    let traced = only(&[
        record(1, READ | Q, 0, 8192),
        record(2, READ | D, 0, 8192),
        record(5, READ | C, 0, 4096),
        record(9, READ | C, 8, 4096),
    ]);
    assert_eq!((traced.sector, traced.bytes, traced.dur_ns), (Some(0), 8192, Some(8)));
}

#[test]
fn a_flush_sequence_ends_with_a_completion_of_no_bytes() {
    for end in [8, 16] {
        let traced = only(&[
            record(1, WRITE | FLUSH | FUA | Q, 8, 4096),
            record(4, WRITE | FUA | D, 8, 4096),
            record(6, WRITE | FUA | C, 8, 4096),
            record(9, WRITE | FUA | C, end, 0),
        ]);
        assert_eq!((traced.op, traced.bytes, traced.dur_ns, traced.flags), (Op::Write, 4096, Some(8), 8));
    }
    // Without it the request ends with the data.
    let sequence = [(1, FLUSH | Q), (4, D), (6, C)];
    assert_eq!(only(&sequence.map(|(time, action)| record(time, WRITE | action, 8, 4096))).dur_ns, Some(5));
}

#[test]
fn flushes_have_no_place_and_say_what_they_are() {
    let traced = only(&[record(1, WRITE | FLUSH | Q, 0, 0), record(9, WRITE | C, 0, 0)]);
    assert_eq!((traced.op, traced.class, traced.sector, traced.dur_ns), (Op::Flush, IoClass::Flush, None, Some(8)));
    let traced = only(&[record(3, FLUSH | D, 0, 0), record(9, FLUSH | C, 0, 0)]);
    assert_eq!((traced.op, traced.bios, traced.ts_ns, traced.dur_ns), (Op::DeviceFlush, 0, 1_003, Some(6)));
}

#[test]
fn what_was_not_seen_is_unknown_and_what_has_no_end_is_counted() {
    // Neither queueing nor issue: only the completion time is known.
    let traced = only(&[record(9, WRITE | META | C, 8, 4096)]);
    assert_eq!((traced.ts_ns, traced.dur_ns, traced.queue_ns, traced.submitter), (1_009, None, None, None));
    assert_eq!((traced.class, traced.flags), (IoClass::Metadata, 2));
    // No queueing, but insertion and issue: it begins at its insertion.
    let steps = [(4, I), (6, D), (9, C)];
    let traced = only(&steps.map(|(time, action)| record(time, WRITE | action, 8, 512)));
    assert_eq!((traced.ts_ns, traced.dur_ns, traced.insert_ns), (1_004, Some(5), Some(2)));
    // It begins at the allocation of the request.
    assert_eq!(
        only(&[record(2, READ | G, 8, 512), record(3, READ | D, 8, 512), record(9, READ | C, 8, 512)]).dur_ns,
        Some(7)
    );
    let (ended, unfinished) =
        requests_of(&[record(1, READ | Q, 8, 512), record(2, READ | Q, 80, 512), record(3, READ | D, 80, 512)]);
    assert_eq!((ended.len(), unfinished.waiting, unfinished.issued), (0, 1, 1));
}

#[test]
fn what_never_ends_does_not_fill_the_memory() {
    let mut pieces = super::pieces::Pieces::default();
    for time in 0..1_000_000 {
        pieces.put(super::piece::Piece::unseen(&record(time, READ | Q, time * 8, 4096)));
    }
    assert!(pieces.count() <= 1 << 17);
    assert_eq!(pieces.count() + pieces.forgotten, 1_000_000);
    assert!(pieces.has(999_999 * 8, |_| true), "the oldest are dropped");
}

#[test]
fn the_time_of_day_is_known_also_where_the_trace_counts_from_its_first_record() {
    let clock = |records: &[(u64, u32)]| {
        let mut payload = 100u32.to_le_bytes().to_vec();
        payload.extend(5u32.to_le_bytes());
        let bytes: Vec<u8> =
            records.iter().flat_map(|(time, action)| bytes_of(*time, *action, 0, 0, 0, 1, &payload)).collect();
        let (_, known) = import(&[bytes]).unwrap_or_else(|error| panic!("{error:#}"));
        known.offset_ns
    };
    let second = 1_000_000_000;
    assert_eq!(clock(&[(7 * second, NOTIFY | 1), (8 * second, READ | C)]), Some(93 * second as i64 + 5));
    // Two seconds after the notice.
    assert_eq!(clock(&[(7 * second, NOTIFY | 1), (9 * second, NOTIFY), (0, READ | C)]), Some(102 * second as i64 + 5));
    assert_eq!(clock(&[(8 * second, READ | C)]), None);
}

/// Imports files with these bytes.
fn import(files: &[Vec<u8>]) -> Result<(PathBuf, Known)> {
    let directory = tempfile::tempdir()?.keep();
    let paths: Vec<PathBuf> = (0..files.len()).map(|cpu| directory.join(format!("sda.blktrace.{cpu}"))).collect();
    for (path, bytes) in paths.iter().zip(files) {
        fs::write(path, bytes)?;
    }
    let out = directory.join("capture");
    let author = CaptureWriter::create(&out, 1 << 20)?;
    let mut gathered = Gathered::new(author.table(), (author.id().clone(), "blktrace"));
    let read = read(&paths, author.directory(), &mut gathered);
    let (block, known) = gathered.into_parts();
    block.finish()?;
    fs::remove_dir_all(&directory)?;
    read.map(|()| (out, known))
}

#[test]
fn the_records_of_one_file_may_be_in_pieces_of_one_cpu_each() {
    let on = |cpu, sequence, time, action| bytes_of(time, READ | action, 8, 512, cpu, sequence, &[]);
    let pieces = [on(0, 1, 1, Q), on(0, 2, 2, D), on(1, 1, 3, C), on(0, 3, 10, Q), on(1, 2, 9, Q)];
    let (_, known) = import(&[pieces.concat()]).expect("a trace");
    assert_eq!((known.rows, known.incomplete), (1, false));
    // A record is missing, by the sequence numbers.
    let (_, known) = import(&[[on(0, 1, 1, Q), on(0, 3, 2, D), on(1, 1, 3, C)].concat()]).expect("a trace");
    assert!(
        known.incomplete && known.remarks[0] == "1 record of the trace is missing, by its number",
        "{:?}",
        known.remarks
    );
    let error = import(&[[on(0, 1, 5, Q), on(0, 2, 4, D)].concat()]).expect_err("time goes back on one CPU");
    assert!(format!("{error:#}").contains("record 2: its time is 4, expected no less than 5 ns"), "{error:#}");
}

/// Returns the records of a CPU with requests that complete at 3, 13, 23, ...
fn on_cpu(cpu: u32, requests: u64) -> Vec<u8> {
    let request = |number: u64| {
        let (at, sequence) = (10 * number, 3 * number as u32);
        let one =
            |step, action| bytes_of(at + step, READ | action, 8 * number, 512, cpu, sequence + step as u32, b"text");
        [one(1, Q), one(2, D), one(3, C)].concat()
    };
    (0..requests).flat_map(request).collect()
}

#[test]
fn of_a_file_that_was_cut_off_all_is_taken_that_is_whole() {
    let record = on_cpu(0, 1).len() / 3;
    for cut in 1..record {
        let first = on_cpu(0, 3);
        let (_, known) = import(&[first[..first.len() - cut].to_vec(), on_cpu(1, 5)]).expect("the complete part");
        // The completion of its third request is missing; later requests of the other file are after the time of completeness.
        assert_eq!((known.rows, known.is_cut_off, known.whole_until_ns), (7, true, Some(22)), "{cut} bytes less");
        let remark = format!(
            "its last {} bytes are an incomplete record; everything complete before that was imported",
            record - cut
        );
        assert!(known.remarks[0].ends_with(&remark), "{:?}", known.remarks);
    }
    let (_, known) = import(&[on_cpu(0, 3), on_cpu(1, 5)]).expect("a trace");
    assert_eq!((known.rows, known.is_cut_off, known.whole_until_ns), (8, false, None));
    // A file with only an incomplete record has no time of completeness.
    let (_, known) = import(&[on_cpu(0, 1)[..7].to_vec(), on_cpu(1, 5)]).expect("the complete part");
    assert_eq!((known.rows, known.is_cut_off, known.whole_until_ns), (5, true, None));
}

#[test]
fn a_file_that_is_broken_in_its_middle_is_none() {
    let mut broken = on_cpu(0, 3);
    // The record before the last has too large a payload size.
    let record = broken.len() / 9;
    broken[7 * record + 46] = 250;
    let error = import(&[broken]).expect_err("others follow");
    assert!(format!("{error:#}").contains("a record with 250 bytes after it, expected fewer"), "{error:#}");
    let mut broken = on_cpu(0, 3);
    broken[4 * record + 1] ^= 0xff;
    assert!(format!("{:#}", import(&[broken]).expect_err("no record")).contains("expected a record of blktrace"));
    let behind = [on_cpu(0, 3), b"text".to_vec()].concat();
    assert!(format!("{:#}", import(&[behind]).expect_err("no record")).contains("are not the start of a record"));
}

#[test]
fn what_is_given_twice_would_count_twice() {
    let merged = [on_cpu(0, 1), on_cpu(1, 1)].concat();
    for (one, other) in [
        (on_cpu(0, 3), on_cpu(0, 3)),
        (on_cpu(0, 3), on_cpu(0, 1)),
        (merged.clone(), on_cpu(1, 9)),
        (on_cpu(1, 9)[..700].to_vec(), merged),
    ] {
        let error = import(&[one, other]).map(|_| ()).expect_err("the same");
        let error = format!("{error:#}");
        assert!(
            error.contains("has records of device 8:0 on CPU") && error.ends_with("it would count twice"),
            "{error}"
        );
    }
}

#[test]
fn a_time_beyond_what_rows_can_have_is_refused_with_its_record() {
    let clock =
        |time: u64, seconds: u32| bytes_of(time, NOTIFY | 1, 0, 0, 0, 1, &[seconds.to_le_bytes(), [0; 4]].concat());
    let (at, most) = (|time: u64| bytes_of(time, READ | Q, 8, 4096, 0, 1, &[]), i64::MAX as u64);
    let done = |time: u64| bytes_of(time, READ | C, 8, 4096, 0, 2, &[]);
    let (_, known) = import(&[[at(0), done(most)].concat()]).expect("the maximum time");
    assert_eq!(known.span_ns, Some((0, i64::MAX)));
    for (records, number, expected) in [
        ([at(1), done(most + 1)].concat(), 2, "its time is 9223372036854775808 ns, expected less than 2^63"),
        ([at(u64::MAX), done(u64::MAX)].concat(), 1, "its time is 18446744073709551615 ns, expected less than 2^63"),
        (
            [clock(0, 2), at(1), done(most - 1_000_000_000)].concat(),
            3,
            "its time is 9223372035854775807 ns, expected one before 2^63 ns since 1970",
        ),
    ] {
        let error = format!("{:#}", import(&[records]).map(|_| ()).expect_err("no such time"));
        assert!(error.contains(&format!("record {number}")) && error.ends_with(expected), "{error}");
    }
}

mod any;
