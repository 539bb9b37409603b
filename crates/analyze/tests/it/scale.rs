//! The same rows give the same result, however they are divided, merged and scanned.

use std::fs;
use std::path::Path;

use iostrata_capture::op::{Layer, Op};

use crate::support::{Capture, run_text};

/// Rows of three systems with durations over six orders of magnitude; more than are kept before a histogram is made.
fn many(id: &str, rows: std::ops::Range<i64>) -> Capture {
    let mut capture = Capture::empty(id, Layer::ALL);
    for (pid, name) in [(1, "etcd"), (2, "dd"), (3, "fio")] {
        capture.process(0, pid, name, Some(&format!("/usr/bin/{name}")));
    }
    for i in rows {
        let pid = (i % 3) as i32 + 1;
        let noise = (i.wrapping_mul(6364136223846793005) as u64) >> 40;
        let dur_ns = 100 + (noise as i64 * (1 + i % 97));
        capture.syscall(i, pid, if i % 4 == 0 { Op::Read } else { Op::Pwrite }, 4_096, dur_ns);
        capture.vfs(i, pid, if i % 4 == 0 { Op::Read } else { Op::Write }, 4_096, dur_ns - 50);
        capture.block(i, Some(pid), Op::Write, 8_192, dur_ns * 2);
    }
    capture
}

/// Returns both CSV files, concatenated.
fn result(place: &Path, arguments: &[&str]) -> String {
    let (code, _, err) = run_text(place, &[&["summary", "--out", "results"], arguments].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    ["summary.csv", "latency.csv"].map(|f| fs::read_to_string(place.join("results").join(f)).expect("written")).concat()
}

#[test]
fn threads_parts_and_captures_do_not_change_a_byte() {
    let place = tempfile::tempdir().expect("a temporary directory");
    many("whole", 0..9_000).write(place.path(), "whole");
    let expected = result(place.path(), &["whole", "--threads", "1"]);
    // Two headers and a total; three systems with two operations and one phase each above, one with three phases below.
    assert_eq!(expected.lines().count(), 1 + 3 + 1 + 1 + 3 * (2 + 2 + 3), "{expected}");

    let mut cut = many("cut", 0..9_000);
    cut.rows_per_part = 1_000;
    cut.write(place.path(), "cut");
    many("first", 0..2_500).write(place.path(), "first");
    many("second", 2_500..9_000).write(place.path(), "second");
    for arguments in [
        &["whole"][..],
        &["cut", "--threads", "1"],
        &["cut", "--threads", "7"],
        &["first", "second"],
        &["second", "first", "--threads", "2"],
    ] {
        assert_eq!(result(place.path(), arguments), expected, "{arguments:?}");
    }
}

#[test]
fn percentiles_of_histograms_agree_with_exact_ones_within_a_thousandth() {
    let place = tempfile::tempdir().expect("a temporary directory");
    many("whole", 0..40_000).write(place.path(), "whole");
    let (histogram, exact) = (result(place.path(), &["whole"]), result(place.path(), &["whole", "--exact"]));
    assert_ne!(histogram, exact, "the sample is too small to make a histogram");
    let mut compared = 0;
    for (histogram, exact) in histogram.lines().zip(exact.lines()) {
        for (a, b) in histogram.split(',').zip(exact.split(',')) {
            if let (Ok(a), Ok(b)) = (a.parse::<f64>(), b.parse::<f64>()) {
                assert!((a - b).abs() <= b * 0.001, "{histogram}\n{exact}");
                compared += 1;
            } else {
                assert_eq!(a, b);
            }
        }
    }
    assert!(compared > 100, "{compared}");
}
