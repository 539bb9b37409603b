//! No total adds requests of two levels.

use std::path::Path;

use iostrata_capture::manifest::Device;
use iostrata_capture::op::{Layer, Op};

use crate::summary::column;
use crate::support::{Capture, run_text};

const DISK: i32 = 254 << 20;
const LOWER: i32 = 7 << 20;
const UPPER: i32 = LOWER + 1;

/// Capture of `dd` that writes 20,000 bytes to a loop device on a file of a disk. The requests of the disk have parts of two owners. The
/// loop device came after the start, unless it is added to the manifest.
fn stacked(id: &str) -> Capture {
    let mut capture = Capture::empty(id, Layer::ALL);
    let device = |dev, name: &str| Device { dev, name: name.into(), level: Some(0), ..Device::default() };
    capture.manifest.devices = vec![device(DISK, "vda")];
    capture.process(10, 1, "dd", Some("/usr/bin/dd"));
    capture.process(10, 2, "etcd", Some("/usr/bin/etcd"));
    capture.syscall(100, 1, Op::Write, 20_000, 5_000);
    for (dev, level, bytes) in [(UPPER, 1, 20_000), (DISK, 0, 30_000)] {
        let request = capture.block(100, Some(1), Op::Write, bytes, 1_000 * i64::from(level + 1));
        (request.dev, request.level, request.owned_bytes) = (dev, Some(level), bytes / 2);
        capture.share(Some(2), bytes / 4);
    }
    let read = capture.block(200, Some(1), Op::Read, 4_096, 1_000);
    (read.dev, read.level) = (UPPER, Some(1));
    capture
}

/// Returns the output of `summary` for `run1` with these arguments, and the written bytes by system.
fn summarized(place: &Path, arguments: &[&str]) -> (String, Vec<String>, Vec<String>) {
    let (code, out, err) = run_text(place, &[&["summary", "--out", "results"], arguments].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let csv = place.join("results/summary.csv");
    let (mut systems, mut bytes) = (column(&csv, "system"), column(&csv, "block_write_bytes"));
    assert_eq!(systems.pop().as_deref(), Some("(total)"));
    // Without values for systems there is no total either.
    let sum = |bytes: &[String]| bytes.iter().map(|bytes| bytes.parse::<u64>().ok()).sum::<Option<u64>>();
    let total = bytes.pop().expect("a total");
    assert_eq!(total.parse::<u64>().ok(), sum(&bytes));
    (out, systems, bytes)
}

#[test]
fn totals_are_of_the_lowest_level_unless_another_is_asked_for() {
    let place = tempfile::tempdir().expect("a temporary directory");
    stacked("stacked").write(place.path(), "run1");
    let of_disk = (vec!["(unknown)", "dd", "etcd"], vec!["7500", "15000", "7500"]);
    for arguments in [&["run1"][..], &["run1", "--level", "lowest"], &["run1", "--level", "0"]] {
        let (out, systems, bytes) = summarized(place.path(), arguments);
        assert_eq!(
            (systems, bytes),
            (of_disk.0.iter().map(|s| s.to_string()).collect(), of_disk.1.iter().map(|s| s.to_string()).collect())
        );
        let note = "excluded: 2 requests at level 1 (7:1), 4096 bytes read and 20000 written; the totals are of level 0, see --level\n";
        assert!(out.contains(note) && out.contains("1.50\n"), "{out}");
    }
    let latencies = column(&place.path().join("results/latency.csv"), "layer");
    assert_eq!(latencies.iter().filter(|layer| *layer == "block").count(), 3, "one request of three phases");
    assert_eq!(column(&place.path().join("results/latency.csv"), "max_ns")[1], "1000");

    let (out, _, bytes) = summarized(place.path(), &["run1", "--level", "1"]);
    assert_eq!(bytes, ["5000", "10000", "5000"]);
    let note = "excluded: 1 request at level 0 (vda), 0 bytes read and 30000 written; the totals are of level 1, see --level\n";
    assert!(out.contains(note), "{out}");
    let (code, _, err) = run_text(place.path(), &["summary", "run1", "--level", "2"]);
    let expected = "iostrata-analyze: --level 2: no requests at that level, expected a recorded one: 0, 1\n";
    assert_eq!((code, err.as_str()), (1, expected));
}

#[test]
fn a_capture_of_one_higher_level_is_taken_at_that_level() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = stacked("stacked");
    capture.block.retain(|request| request.dev == UPPER);
    capture.share.retain(|share| share.dev == UPPER);
    capture.write(place.path(), "run1");
    let (out, _, bytes) = summarized(place.path(), &["run1"]);
    assert_eq!(bytes, ["5000", "10000", "5000"]);
    assert!(!out.contains("excluded"), "{out}");
}

#[test]
fn a_device_of_unknown_level_is_noted_and_not_added() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = stacked("stacked");
    let upper = Device { dev: UPPER, name: "loop1".into(), on: vec!["vda".into()], ..Device::default() };
    capture.manifest.devices.push(upper);
    capture.block.iter_mut().filter(|request| request.dev == UPPER).for_each(|request| request.level = None);
    capture.write(place.path(), "run1");
    let (out, _, bytes) = summarized(place.path(), &["run1"]);
    assert_eq!(bytes, ["7500", "15000", "7500"]);
    let note = "excluded: 2 requests at an unknown level (loop1 on vda), 4096 bytes read and 20000 written; ";
    assert!(out.contains(note), "{out}");

    // The only device: its bytes cannot be counted twice.
    capture.manifest.capture_id = "alone".into();
    capture.block.retain(|request| request.dev == UPPER);
    capture.share.retain(|share| share.dev == UPPER);
    capture.write(place.path(), "run2");
    let (out, _, bytes) = summarized(place.path(), &["run2"]);
    assert_eq!(bytes, ["5000", "10000", "5000"]);
    assert!(!out.contains("excluded"), "{out}");
}

#[test]
fn several_devices_of_which_no_level_is_known_have_no_total() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = stacked("stacked");
    capture.block.iter_mut().for_each(|request| request.level = None);
    capture.write(place.path(), "run1");
    let (out, systems, bytes) = summarized(place.path(), &["run1"]);
    assert_eq!((systems, bytes), (vec!["dd".to_owned()], vec![String::new()]), "empty, not zero");
    let left_out = "excluded: 3 requests at an unknown level (7:1, vda), 4096 bytes read and 50000 written; \
                    no totals: the stacking of these devices is unknown\n";
    assert!(out.contains(left_out), "{out}");
}

#[test]
fn captures_that_are_merged_are_taken_at_one_level() {
    let place = tempfile::tempdir().expect("a temporary directory");
    stacked("both").write(place.path(), "run1");
    let mut upper = stacked("upper");
    upper.block.retain(|request| request.dev == UPPER);
    upper.share.retain(|share| share.dev == UPPER);
    upper.write(place.path(), "run2");
    for order in [["run1", "run2"], ["run2", "run1"]] {
        let (out, _, bytes) = summarized(place.path(), &order);
        assert_eq!(
            bytes,
            ["", "", ""],
            "one capture would have the calls of its applications and none of its requests"
        );
        let left_out = "run2: excluded: 2 requests at level 1 (7:1), 4096 bytes read and 20000 written; no totals: not every \
                        capture has level 0, see --level";
        assert!(out.contains(left_out), "{out}");
        let (.., bytes) = summarized(place.path(), &[order[0], order[1], "--level", "1"]);
        assert_eq!(bytes, ["10000", "20000", "10000"]);
    }
}

#[test]
fn a_level_that_is_none_is_a_usage_error() {
    for level in ["-1", "highest", ""] {
        let (code, _, err) = run_text(Path::new("."), &["summary", "run1", &format!("--level={level}")]);
        assert!(code == 2 && err.contains("expected `lowest` or a number such as 0"), "{err}");
    }
}
