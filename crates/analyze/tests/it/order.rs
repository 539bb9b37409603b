//! Results that depend on the order of operations depend neither on the stretches that are processed, nor on the parts of the rows.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use iostrata_analyze::analyses::{self, Analysis};
use iostrata_analyze::commands::{Outcome, run};
use iostrata_analyze::options::{Analyze, Command};
use iostrata_capture::manifest::{Device, WITHOUT_QUEUEING};
use iostrata_capture::op::{IoClass, Layer, Op};
use proptest::prelude::*;

use crate::support::Capture;

static ANALYSES: [(&Analysis, &[&str]); 7] = [
    (&analyses::footprint::ANALYSIS, &["footprint.csv", "footprint_windows.csv", "reuse.csv"]),
    (&analyses::pattern::ANALYSIS, &["pattern.csv"]),
    (&analyses::arrivals::ANALYSIS, &["arrivals.csv"]),
    (&analyses::queue::ANALYSIS, &["queue.csv", "queue_depth.csv"]),
    (&analyses::path::ANALYSIS, &["path.csv"]),
    (&analyses::sync::ANALYSIS, &["sync.csv"]),
    (&analyses::cache::ANALYSIS, &["cache.csv"]),
];

/// Returns all files of the analyses, with stretches of about `stretch_rows` rows.
fn written(place: &Path, captures: &[PathBuf], stretch_rows: u64, threads: usize) -> String {
    let mut text = String::new();
    for (analysis, files) in ANALYSES {
        let analyze = Analyze {
            out: Some(place.join("out")),
            threads: NonZeroUsize::new(threads).expect("not zero"),
            stretch_rows: Some(stretch_rows),
            ..Analyze::new(analysis, captures.to_vec())
        };
        let outcome = run(&Command::Analyze(Box::new(analyze)), &mut Vec::new(), &mut Vec::new()).expect("a result");
        assert_eq!(outcome, Outcome::Complete);
        for file in files {
            text += &fs::read_to_string(place.join("out").join(file)).expect("written");
        }
    }
    text
}

#[test]
fn a_real_capture_tells_the_same_wherever_time_is_cut() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/debian-6.12-nvme");
    let captures = [fixture];
    let whole = written(place.path(), &captures, u64::MAX, 1);
    assert!(whole.lines().count() > 100);
    for (stretch_rows, threads) in [(1, 1), (1, 3), (10, 2), (37, 4), (500, 2)] {
        assert!(written(place.path(), &captures, stretch_rows, threads) == whole, "{stretch_rows} {threads}");
    }
}

/// Calls and requests, each with its begin, duration, direction, process and offset.
pub fn operations() -> impl Strategy<Value = Vec<(i64, i64, bool, i32, i64)>> {
    prop::collection::vec((0i64..200, 0i64..60, any::<bool>(), 1i32..4, 0i64..16), 1..60)
}

/// Builds a capture with these operations as calls and requests.
pub fn capture(id: &str, operations: &[(i64, i64, bool, i32, i64)], rows_per_part: usize) -> Capture {
    let mut capture = Capture::empty(id, Layer::ALL);
    capture.rows_per_part = rows_per_part;
    for (pid, name) in [(1, "etcd"), (2, "dd"), (3, "fio")] {
        capture.process(0, pid, name, Some(&format!("/usr/bin/{name}")));
    }
    for (ts_ns, dur_ns, reads, pid, place) in operations {
        let call = capture.syscall(*ts_ns, *pid, if *reads { Op::Read } else { Op::Pwrite }, 4_096, *dur_ns);
        (call.dev, call.ino, call.offset_bytes) = (Some(1), Some(place % 3), Some(place * 4_096));
        let request = capture.block(*ts_ns, Some(*pid), if *reads { Op::Read } else { Op::Write }, 4_096, *dur_ns);
        request.sector = Some(place * 8);
        if dur_ns % 7 == 0 {
            request.dur_ns = None;
        }
    }
    capture
}

/// Builds a capture with these operations as calls of many kinds that wait for their own requests and those of others.
pub fn crossing(id: &str, operations: &[(i64, i64, bool, i32, i64)], rows_per_part: usize) -> Capture {
    let mut capture = Capture::empty(id, Layer::ALL);
    capture.rows_per_part = rows_per_part;
    let device = Device { dev: DISK, name: "loop0".into(), ..Device::default() };
    capture.manifest.devices.push(device);
    for (pid, name) in [(1, "etcd"), (2, "dd"), (3, "fio")] {
        capture.process(0, pid, name, Some(&format!("/usr/bin/{name}")));
    }
    const CALLS: [Op; 8] =
        [Op::Read, Op::Pwrite, Op::Fsync, Op::Fdatasync, Op::AioRead, Op::AioWrite, Op::Syncfs, Op::Sync];
    for (ts_ns, dur_ns, reads, pid, place) in operations {
        let op = CALLS[(*place % 8) as usize];
        let call = capture.syscall(*ts_ns, *pid, op, if op.direction().is_some() { 4_096 } else { 0 }, *dur_ns);
        (call.dev, call.ino, call.flags) = (Some(DISK), Some(place / 6), Some(if *reads { 0o10000 } else { 0o40000 }));
        call.runnable_ns = (dur_ns % 3 > 0).then_some(dur_ns / 2);
        let by = (place % 5 > 0).then_some(*pid);
        let request = capture.block(ts_ns + place, by, if *reads { Op::Read } else { Op::Write }, 4_096, dur_ns / 2);
        (request.sector, request.file_dev, request.ino) = (Some(*ts_ns), Some(DISK), Some(place / 5));
        request.class = if place % 3 == 0 { IoClass::Journal } else { IoClass::Data };
        if dur_ns % 7 == 0 {
            request.dur_ns = None;
        }
        if place % 4 == 0 {
            capture.share(Some(*pid), 1_024);
            let share = capture.share.last_mut().expect("just added");
            (share.file_dev, share.ino) = (Some(DISK), Some(place % 2));
        }
        if place % 2 == 0 {
            capture.fs(*ts_ns, *pid, Op::Commit, None, 4_096);
            let commit = capture.fs.last_mut().expect("just added");
            (commit.dur_ns, commit.blocks) = (Some(*dur_ns), Some(*place));
        }
    }
    capture
}

const DISK: i32 = 7 << 20;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_capture_tells_the_same_wherever_time_is_cut(
        operations in operations(),
        stretch_rows in 1u64..40,
        rows_per_part in 1usize..50,
        is_late in any::<bool>(),
    ) {
        // Some traces lack the queueing times of requests.
        let written_as = |mut capture: Capture, place: &Path, name: &str| {
            let without = if is_late { vec![WITHOUT_QUEUEING.to_owned()] } else { Vec::new() };
            capture.manifest.layers.entry(Layer::Block).and_modify(|state| state.without = without);
            capture.write(place, name);
        };
        let place = tempfile::tempdir().expect("a temporary directory");
        let mut operations = operations;
        // Rows are in order of their ends, as a recorder writes them; rows with the same end are in the order of the parts.
        operations.sort_by_key(|(ts_ns, dur_ns, ..)| ts_ns + dur_ns);
        operations.dedup_by_key(|(ts_ns, ..)| *ts_ns);
        written_as(capture("whole", &operations, 1_000), place.path(), "whole");
        written_as(capture("parts", &operations, rows_per_part), place.path(), "parts");
        let whole = written(place.path(), &[place.path().join("whole")], u64::MAX, 1);
        let parts = written(place.path(), &[place.path().join("parts")], stretch_rows, 2);
        prop_assert!(parts == whole, "{whole}\n{parts}");

        written_as(crossing("crossing", &operations, 1_000), place.path(), "crossing");
        written_as(crossing("crossing-parts", &operations, rows_per_part), place.path(), "crossing-parts");
        let whole = written(place.path(), &[place.path().join("crossing")], u64::MAX, 1);
        let parts = written(place.path(), &[place.path().join("crossing-parts")], stretch_rows, 2);
        prop_assert!(parts == whole, "{whole}\n{parts}");
    }
}
