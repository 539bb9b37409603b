//! Notes on captures that were recorded with a filter.

use std::fs;

use iostrata_capture::ledger::Amounts;
use iostrata_capture::manifest::{Filtered, FilteredDisk, Unmapped};
use iostrata_capture::op::Layer;

use crate::support::{Capture, run_text, small};

fn with_command(filtered: Option<Filtered>) -> Capture {
    let mut capture = small(Layer::ALL);
    capture.manifest.filters.devices = vec!["sda".into()];
    capture.manifest.filters.command = Some(vec!["etcd".into(), "--data".into()]);
    capture.manifest.filtered = filtered;
    capture
}

/// Returns the cells of the total row.
fn total(out: &str) -> Vec<&str> {
    let line = out.lines().find(|line| line.starts_with(" (total)")).expect("a total");
    line.split_whitespace().collect()
}

#[test]
fn without_what_no_process_owns_there_is_no_total_of_a_device() {
    let place = tempfile::tempdir().expect("a temporary directory");
    with_command(None).write(place.path(), "run1");
    let (code, out, _) = run_text(place.path(), &["report", "run1", "--out", "results"]);
    assert_eq!(code, 0, "{out}");
    assert_eq!(total(&out), ["(total)", "2", "20", "1", "20", "-", "-", "-", "-"]);
    let said = "filter: --device sda -- etcd --data; journal, metadata, flushes and other unattributed I/O were not \
                recorded, so device totals are empty";
    assert!(out.contains(said), "{out}");
    let read = |name: &str| fs::read_to_string(place.path().join("results").join(name)).expect("written");
    assert!(read("report.html").contains("so device totals are empty"));
    let amplification = read("amplification.csv");
    let device = amplification.lines().next().expect("a header").split(',').position(|name| name == "device_bytes");
    let totals = amplification.lines().filter(|line| line.starts_with("total,") || line.starts_with("device,"));
    let cells: Vec<&str> = totals.filter_map(|line| line.split(',').nth(device.expect("the column"))).collect();
    assert!(!cells.is_empty() && cells.iter().all(|cell| cell.is_empty()), "{amplification}");
    let (code, out, _) = run_text(place.path(), &["quality", "run1"]);
    assert!(code == 0 && out.contains(" filter ") && out.contains(" bad "), "{out}");
}

#[test]
fn what_a_filter_left_out_is_said_with_the_totals() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let others = Amounts { write_ops: 2, write_bytes: 8192, ..Amounts::default() };
    let disk = FilteredDisk { name: "sda".into(), dev: 1, others, ..FilteredDisk::default() };
    with_command(Some(Filtered { rows: Some(40), disks: vec![disk], ..Filtered::default() }))
        .write(place.path(), "run1");
    let (code, out, _) = run_text(place.path(), &["summary", "run1"]);
    assert_eq!(code, 0, "{out}");
    assert_eq!(total(&out)[5..], ["1", "22", "2.00", "4.51"]);
    let said = "filter: --device sda -- etcd --data; unattributed I/O is that of sda; excluded on sda: 0 bytes read and 8192 \
                written by other processes";
    assert!(out.contains(said), "{out}");
}

#[test]
fn a_filter_of_which_nothing_came_is_an_incomplete_result() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let unmapped = vec![Unmapped { dev: 45, fs_type: Some("overlay".into()), rows: 100 }];
    with_command(Some(Filtered { rows: Some(0), unmapped, ..Filtered::default() })).write(place.path(), "run1");
    let (code, out, _) = run_text(place.path(), &["summary", "run1"]);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("no row matches it"), "{out}");
    assert!(out.contains("excluded: 100 rows on file system 0:45 (overlay), its disk is not known"), "{out}");
}
