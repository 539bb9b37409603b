//! Invalid values, and sums beyond the range of columns.

use std::path::Path;

use iostrata_capture::op::{Layer, Op};

use crate::summary::column;
use crate::support::{Capture, run_text, small};

const ALL: &[Layer] = Layer::ALL;

/// 256 TiB, the maximum of an operation.
const MOST_BYTES: i64 = 1 << 48;

/// Returns the verdict and the finding of a check of `quality`.
fn check(place: &Path, name: &str) -> (String, String) {
    run_text(place, &["quality", "run1", "--out", "results", "--format", "json"]);
    let text = std::fs::read_to_string(place.join("results/quality.json")).expect("written");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let row = rows.iter().find(|row| row["check"] == name).expect("a check");
    let text = |column: &str| row[column].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("found"))
}

#[test]
fn what_cannot_be_true_is_counted_and_not_used() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = small(ALL);
    capture.syscall(500, 1, Op::Read, MOST_BYTES + 1, -1);
    capture.syscall(501, 1, Op::Read, i64::MAX, i64::MIN);
    capture.syscall(502, 1, Op::Read, MOST_BYTES, 1 << 62);
    capture.syscall(503, 1, Op::Read, 0, i64::MAX - 502);
    capture.block(503, Some(1), Op::Read, i64::MIN, 100).queue_ns = Some(200);
    capture.block(504, Some(1), Op::Read, -1, i64::MIN);
    capture.syscall(505, 1, Op::Fsync, 0, 1).weight = 0;
    capture.syscall(506, 1, Op::Fsync, 0, 1).weight = i32::MAX;
    capture.write(place.path(), "run1");
    let (code, out, _) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
    assert_eq!(code, 0);
    let ignored = "6 durations below zero, 1 duration with an end beyond 2^63 ns, 4 sizes below zero, 2 sizes above 256 TiB, 2 weights";
    assert!(out.contains(&format!("ignored, invalid: {ignored}\n")), "{out}");
    let summary = place.path().join("results/summary.csv");
    assert_eq!(column(&summary, "syscall_read_bytes")[2], MOST_BYTES.to_string());
    assert_eq!(column(&summary, "syscall_read_avg_ns")[2], (1i64 << 62).to_string());
    assert_eq!(column(&summary, "block_read_bytes")[2], "0");
    assert_eq!(check(place.path(), "values"), ("bad".to_owned(), format!("invalid, ignored: {ignored}")));
}

#[test]
fn an_end_beyond_all_times_is_no_duration_in_any_result() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = Capture::empty("late", ALL);
    capture.process(0, 1, "dd", None);
    capture.block(i64::MAX - 1_000, Some(1), Op::Read, 512, 1_000).queue_ns = Some(0);
    for dur_ns in [1_001, i64::MAX] {
        capture.block(i64::MAX - 1_000, Some(1), Op::Read, 512, dur_ns).queue_ns = Some(0);
    }
    capture.write(place.path(), "run1");
    let results = place.path().join("results");
    for command in ["summary", "latency", "queue", "timeline", "top", "sizes"] {
        let (code, out, err) = run_text(place.path(), &[command, "run1", "--out", "results"]);
        assert!(code == 0 && out.contains("4 durations with an end beyond 2^63 ns"), "{command}: {out}{err}");
    }
    let first = |file: &str, name: &str| column(&results.join(file), name)[0].clone();
    assert_eq!(["count", "untimed", "max_ns"].map(|name| first("latency.csv", name)), ["1", "2", "1000"]);
    assert_eq!(["ops", "untimed", "avg_ns"].map(|name| first("queue.csv", name)), ["3", "2", "1000"]);
    assert_eq!(first("summary.csv", "block_read_avg_ns"), "1000");
}

#[test]
fn a_sum_that_no_column_has_room_for_is_told() {
    for (rows, is_bad) in [(1 << 8, false), (1 << 9, true)] {
        let place = tempfile::tempdir().expect("a temporary directory");
        let mut capture = Capture::empty("sums", ALL);
        capture.process(0, 1, "dd", None);
        for number in 0..rows {
            // 2^54 bytes each.
            capture.syscall(number, 1, Op::Read, MOST_BYTES, 1).weight = 1 << 6;
        }
        capture.syscall(rows, 1, Op::Read, 0, 1 << 62);
        capture.write(place.path(), "run1");
        let (_, out, _) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
        let bytes = u128::from(rows.unsigned_abs()) << 54;
        let told = format!("all rows sum to {bytes} bytes");
        assert_eq!(out.contains(&told), is_bad, "{out}");
        assert_eq!(check(place.path(), "values").0, if is_bad { "bad" } else { "good" });
    }
}
