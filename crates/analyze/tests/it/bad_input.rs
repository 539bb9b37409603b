//! Bad input is one clear line and an exit code, and damages nothing.

use std::fs;
use std::path::Path;

use iostrata_capture::TableId;
use iostrata_capture::dir::Dir;
use iostrata_capture::list::{self, Entry, ListFile};
use iostrata_capture::op::Layer;

use crate::support::{Capture, run, run_text, small};

fn dir(path: &Path) -> Dir {
    Dir::open(path).expect("there")
}

/// Runs with `arguments`, which must fail with exit code 1 and this one line.
fn refused(place: &Path, arguments: &[&str], expected: &str) {
    let (code, out, err) = run_text(place, &[&["summary"], arguments].concat());
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", format!("iostrata-analyze: {expected}\n").as_str()));
}

fn with_capture(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a temporary directory");
    change(&small(Layer::ALL).write(place.path(), "run1"));
    place
}

/// Changes the list so that it agrees with the present part of `table`.
fn admit(capture: &Path, table: &str) {
    let mut entries = Vec::new();
    let take = |entry| {
        entries.push(entry);
        Ok(())
    };
    list::read(&dir(capture), take).expect("a list");
    for entry in &mut entries {
        if let Entry::Finished(part) = entry
            && part.name.table.name() == table
        {
            part.bytes = fs::metadata(part.name.path(capture)).expect("there").len();
        }
    }
    ListFile::create(&dir(capture)).and_then(|mut list| list.append(&entries)).expect("room");
}

#[test]
fn what_is_not_a_capture_is_refused() {
    let place = with_capture(|_| ());
    fs::create_dir(place.path().join("empty")).expect("room");
    refused(place.path(), &["nowhere"], "nowhere: no such directory, expected the directory of a capture");
    refused(
        place.path(),
        &["run1/manifest.json"],
        "run1/manifest.json: no such directory, expected the directory of a capture",
    );
    refused(place.path(), &["empty"], "empty: not a capture: manifest.json is missing");
    refused(place.path(), &["run1", "empty"], "empty: not a capture: manifest.json is missing");
}

#[test]
fn a_manifest_that_is_not_one_is_refused() {
    let place =
        with_capture(|capture| fs::write(capture.join("manifest.json"), "{\"schema_version\": 1}").expect("room"));
    refused(place.path(), &["run1"], "run1/manifest.json: missing field `capture_id` at line 1 column 21");
}

#[test]
fn a_newer_capture_is_refused() {
    let place = with_capture(|capture| {
        let manifest = fs::read_to_string(capture.join("manifest.json")).expect("there");
        let newer = manifest.replace("\"schema_version\": 1", "\"schema_version\": 2");
        fs::write(capture.join("manifest.json"), newer).expect("room");
    });
    let expected = "run1/manifest.json: schema version 2 is newer than this program's 1: use a newer iostrata-analyze";
    refused(place.path(), &["run1"], expected);
}

#[test]
fn a_part_that_was_cut_is_refused() {
    let place = with_capture(|capture| {
        let part = fs::OpenOptions::new().write(true).open(capture.join("block/part-000001.parquet")).expect("there");
        part.set_len(100).expect("room");
    });
    let (code, _, err) = run_text(place.path(), &["summary", "run1"]);
    let expected = "iostrata-analyze: run1/block/part-000001.parquet: has 100 bytes, but the list of parts says";
    assert!(code == 1 && err.starts_with(expected) && err.lines().count() == 1, "{err}");
}

#[test]
fn a_part_that_is_not_parquet_is_refused_whatever_the_number_of_threads() {
    for threads in ["1", "4"] {
        let place = with_capture(|capture| {
            for table in ["vfs", "block"] {
                fs::write(capture.join(table).join("part-000001.parquet"), "not Parquet").expect("room");
                admit(capture, table);
            }
        });
        let (code, out, err) = run_text(place.path(), &["summary", "run1", "--threads", threads]);
        let expected = "iostrata-analyze: run1/vfs/part-000001.parquet: not a readable Parquet file: ";
        assert!(code == 1 && out.is_empty() && err.starts_with(expected) && err.lines().count() == 1, "{err}");
    }
}

#[test]
fn a_part_of_another_table_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut unmarked = small(Layer::ALL);
    unmarked.manifest.parts_id = None;
    let capture = unmarked.write(place.path(), "run1");
    let part = |table: &str| capture.join(table).join("part-000001.parquet");
    fs::copy(part("process"), part("block")).expect("room");
    admit(&capture, "block");
    let expected = "run1/block/part-000001.parquet: column dur_ns is missing";
    refused(place.path(), &["run1", "--partial-rows"], expected);
}

#[test]
fn what_leads_out_of_a_capture_is_not_followed() {
    let place = with_capture(|_| ());
    let part = place.path().join("run1/block/part-000001.parquet");
    fs::rename(&part, place.path().join("elsewhere")).expect("there");
    std::os::unix::fs::symlink("../../elsewhere", &part).expect("room");
    refused(place.path(), &["run1"], "run1/block/part-000001.parquet: is not a regular file, expected one");
    let place = with_capture(|capture| {
        let list = fs::read_to_string(capture.join("parts.jsonl")).expect("there");
        fs::write(capture.join("parts.jsonl"), list.replace("block/part", "../part")).expect("room");
    });
    let tables: Vec<&str> = TableId::ALL.iter().map(|table| table.name()).collect();
    let expected = format!("run1/parts.jsonl:3: unknown table \"..\", expected one of {}", tables.join(", "));
    refused(place.path(), &["run1"], &expected);
    fs::remove_file(place.path().join("run1/parts.jsonl")).expect("there");
    std::os::unix::fs::symlink("/dev/zero", place.path().join("run1/parts.jsonl")).expect("room");
    refused(place.path(), &["run1"], "run1/parts.jsonl: is not a regular file, expected one");
    fs::remove_file(place.path().join("run1/manifest.json")).expect("there");
    std::os::unix::fs::symlink("/dev/zero", place.path().join("run1/manifest.json")).expect("room");
    refused(place.path(), &["run1"], "run1/manifest.json: is not a regular file, expected one");
}

#[test]
fn bytes_that_changed_on_disk_are_an_error_or_a_result_but_never_a_crash() {
    let place = with_capture(|_| ());
    let part = place.path().join("run1/block/part-000001.parquet");
    let whole = fs::read(&part).expect("there");
    let mut refused = 0;
    for position in (4..whole.len()).step_by(whole.len() / 60) {
        let mut changed = whole.clone();
        changed[position] ^= 0xff;
        fs::write(&part, changed).expect("room");
        let (code, _, err) = run_text(place.path(), &["summary", "run1"]);
        match code {
            // The changed bytes may be in the identity of the part.
            0 | 3 => assert_eq!(err, ""),
            _ => {
                refused += 1;
                assert!(code == 1 && err.starts_with("iostrata-analyze: run1/block"), "{position}: {code} {err}");
                assert!(err.lines().count() == 1, "{position}: {err}");
            }
        }
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn a_capture_without_a_row_is_told() {
    let place = tempfile::tempdir().expect("a temporary directory");
    Capture::empty("nothing", &[Layer::Syscall, Layer::Block]).write(place.path(), "run1");
    Capture::empty("nowhere", &[]).write(place.path(), "run2");
    let nothing = "nothing to analyze: no rows of syscall, block; expected I/O during the recording";
    refused(place.path(), &["run1"], &format!("run1: {nothing}"));
    refused(place.path(), &["run2"], "run2: nothing to analyze: no layer was captured");
    refused(place.path(), &["run1", "--out", "results"], &format!("run1: {nothing}"));
    assert!(!place.path().join("results/summary.csv").exists());
}

#[test]
fn the_same_capture_twice_is_refused() {
    let place = with_capture(|_| ());
    refused(place.path(), &["run1", "run1/"], "run1/: the same capture as run1, expected each capture once");
}

#[test]
fn a_mistake_in_the_rules_is_named_with_file_and_line() {
    let place = with_capture(|_| ());
    fs::write(place.path().join("r.toml"), "[[system]]\nname = \"x\"\nrules = [{ exec = \"a\" }]\n").expect("room");
    let expected = "r.toml:3: unknown field `exec`, expected one of `exe`, `cmdline`, `cgroup`, `comm`";
    refused(place.path(), &["run1", "--rules", "r.toml"], expected);
    refused(place.path(), &["run1", "--rules", "none"], "none: cannot read: No such file or directory (os error 2)");
    refused(place.path(), &["run1", "--rules", "/dev/zero"], "/dev/zero: has more than 1048576 bytes, expected less");
    fs::write(place.path().join("r.toml"), b"# \n\xff").expect("room");
    refused(place.path(), &["run1", "--rules", "r.toml"], "r.toml:2: bytes that are not UTF-8, expected text");
}

#[test]
fn an_output_directory_that_is_a_file_is_refused_and_left_alone() {
    let place = with_capture(|_| ());
    fs::write(place.path().join("file"), "mine").expect("room");
    let expected = "file: not a directory, expected a directory for results";
    refused(place.path(), &["run1", "--out", "file"], expected);
    assert_eq!(fs::read(place.path().join("file")).expect("there"), b"mine");
}

#[test]
fn a_command_line_that_is_wrong_is_a_usage_error() {
    for arguments in
        [&[][..], &["summary"], &["summary", "run1", "--threads", "0"], &["sumary"], &["summary", "--bytes"]]
    {
        let output = run(Path::new("."), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
