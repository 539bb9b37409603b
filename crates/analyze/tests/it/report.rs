//! All analyses at once, of incomplete captures.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use iostrata_analyze::analyses::REPORT;
use iostrata_analyze::{about, page};
use iostrata_capture::ledger::{Account, Lost};
use iostrata_capture::manifest::State;
use iostrata_capture::op::{Layer, Op};

use crate::support::{Capture, run_text, small};

/// Exit code, standard output and standard error.
fn report(place: &Path, captures: &[&str]) -> (i32, String, String) {
    run_text(place, &[&["report"], captures, &["--out", "out"]].concat())
}

fn files(place: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(place.join("out")).expect("written");
    entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect()
}

fn all() -> BTreeSet<String> {
    let others = [about::FILE_NAME, page::FILE_NAME].map(str::to_owned);
    REPORT.all_tables().into_iter().map(|table| table.file()).chain(others).collect()
}

fn read(place: &Path, file: &str) -> String {
    fs::read_to_string(place.join("out").join(file)).expect("written")
}

#[test]
fn every_table_is_written() {
    let place = tempfile::tempdir().expect("a temporary directory");
    small(Layer::ALL).write(place.path(), "run1");
    let (code, out, err) = report(place.path(), &["run1"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("R_AMP") && out.contains("out/footprint.csv"), "{out}");
    assert_eq!(files(place.path()), all());
    // Each file has the documented columns.
    for table in REPORT.all_tables() {
        let columns = (table.columns)();
        let names: Vec<&str> = columns.lines().skip(2).filter_map(|line| line.split('`').nth(1)).collect();
        assert_eq!(read(place.path(), &table.file()).lines().next(), Some(names.join(",").as_str()), "{table:?}");
    }
    let about: serde_json::Value = serde_json::from_str(&read(place.path(), "about.json")).expect("JSON");
    assert_eq!(about["files"]["pattern.csv"]["analysis"], "report");
    assert_eq!(
        about["files"].as_object().map(|files| files.len()),
        Some(REPORT.all_tables().len() + 1),
        "and the page"
    );
}

#[test]
fn what_was_known_of_other_files_stays() {
    let place = tempfile::tempdir().expect("a temporary directory");
    small(Layer::ALL).write(place.path(), "run1");
    assert_eq!(run_text(place.path(), &["sizes", "run1", "--out", "out"]).0, 0);
    assert_eq!(run_text(place.path(), &["queue", "run1", "--layer", "block", "--out", "out", "--format", "json"]).0, 0);
    let about: serde_json::Value = serde_json::from_str(&read(place.path(), "about.json")).expect("JSON");
    assert_eq!(about["files"]["sizes.csv"]["only"], serde_json::Value::Null);
    assert_eq!(about["files"]["queue.json"]["only"], "layer block");
    assert!(serde_json::from_str::<Vec<serde_json::Value>>(&read(place.path(), "queue_depth.json")).is_ok());
    fs::write(place.path().join("out/about.json"), "no JSON").expect("room");
    assert_eq!(run_text(place.path(), &["sizes", "run1", "--out", "out"]).0, 0);
    assert!(serde_json::from_str::<serde_json::Value>(&read(place.path(), "about.json")).is_ok());
}

#[test]
fn one_event_is_enough_and_none_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut one = Capture::empty("one", Layer::ALL);
    one.process(0, 1, "dd", None);
    one.write(place.path(), "none");
    one.syscall(5, 1, Op::Read, 4_096, 10);
    one.write(place.path(), "one");
    let (code, _, err) = report(place.path(), &["none"]);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.contains("none: nothing to analyze"), "{err}");
    assert!(!place.path().join("out/summary.csv").exists());
    assert_eq!(report(place.path(), &["one"]).0, 0);
    assert_eq!(files(place.path()), all());
    assert_eq!(read(place.path(), "summary.csv").lines().count(), 3);
}

#[test]
fn a_layer_that_is_missing_has_no_rows() {
    let place = tempfile::tempdir().expect("a temporary directory");
    small(&[Layer::Syscall, Layer::Block]).write(place.path(), "run1");
    let (code, out, _) = report(place.path(), &["run1"]);
    assert_eq!(code, 0);
    assert!(out.contains("not captured: vfs"), "{out}");
    for file in ["arrivals.csv", "queue.csv", "sizes.csv", "heatmap_latency.csv", "top.csv"] {
        let text = read(place.path(), file);
        assert!(!text.contains(",vfs,") && !text.starts_with("vfs,") && text.lines().count() > 1, "{file}: {text}");
    }
}

#[test]
fn what_was_lost_is_told_in_every_table_that_it_may_have_changed() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = small(Layer::ALL);
    let lost = Lost { ring_full: 10, ..Lost::default() };
    let account = Account { class: "syscall".into(), cpu: 0, seen: 34, written: 24, lost, lost_io: Default::default() };
    capture.manifest.books.accounts = vec![account];
    capture.write(place.path(), "run1");
    let (code, out, _) = report(place.path(), &["run1"]);
    assert_eq!(code, 3);
    assert!(out.contains("lost 10 events"), "{out}");
    for file in ["arrivals.csv", "queue.csv"] {
        let text = read(place.path(), file);
        let of_calls = text.lines().find(|line| line.starts_with("all,syscall,")).expect("a row");
        assert!(of_calls.ends_with(",10"), "{file}: {of_calls}");
        let of_requests = text.lines().find(|line| line.starts_with("all,block,")).expect("a row");
        assert!(of_requests.ends_with(",0"), "{file}: {of_requests}");
    }
}

#[test]
fn a_capture_that_was_cut_off_tells_what_was_flushed() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = small(Layer::ALL);
    capture.manifest.state = State::Recording;
    capture.torn = true;
    capture.write(place.path(), "run1");
    let (code, _, err) = report(place.path(), &["run1"]);
    assert_eq!(code, 3, "{err}");
    assert_eq!(files(place.path()), all());
    let text = read(place.path(), "queue.csv");
    assert!(text.lines().skip(1).all(|line| line.ends_with(',')), "losses are unknown: {text}");
}

#[test]
fn captures_of_several_hosts_are_one_result_and_one_of_another_version_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut one = small(Layer::ALL);
    one.manifest.capture_id = "one".into();
    one.manifest.host.kernel = "5.10".into();
    one.write(place.path(), "one");
    let mut other = small(Layer::ALL);
    other.manifest.capture_id = "other".into();
    other.manifest.host.kernel = "6.12".into();
    other.write(place.path(), "other");
    assert_eq!(report(place.path(), &["one", "other"]).0, 0);
    let depths = read(place.path(), "queue.csv");
    let about: serde_json::Value = serde_json::from_str(&read(place.path(), "about.json")).expect("JSON");
    let ids: Vec<&str> = about["files"]["queue.csv"]["captures"]
        .as_array()
        .expect("captures")
        .iter()
        .filter_map(|capture| capture["capture_id"].as_str())
        .collect();
    assert_eq!(ids, ["one", "other"]);
    assert_eq!(report(place.path(), &["one"]).0, 0);
    let all = |text: &str| text.lines().find(|line| line.starts_with("all,block,")).map(str::to_owned).expect("a row");
    let ops_at =
        depths.lines().next().and_then(|head| head.split(',').position(|name| name == "ops")).expect("a column");
    let ops = |row: String| row.split(',').nth(ops_at).and_then(|cell| cell.parse::<u64>().ok());
    let single = ops(all(&read(place.path(), "queue.csv"))).expect("operations");
    assert_eq!(ops(all(&depths)), Some(2 * single), "operations of both");

    other.manifest.schema_version += 1;
    other.manifest.capture_id = "newer".into();
    other.write(place.path(), "newer");
    let (code, _, err) = report(place.path(), &["one", "newer"]);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.contains("newer") && err.contains("version"), "{err}");
}

#[test]
fn without_a_place_to_write_to_it_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    small(Layer::ALL).write(place.path(), "run1");
    let (code, _, err) = run_text(place.path(), &["report", "run1"]);
    assert_eq!((code, err.as_str()), (2, "iostrata-analyze: report: no output directory given, expected --out DIR\n"));
}
