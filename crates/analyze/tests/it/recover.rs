//! Incomplete captures, and the command that repairs them.

use std::fs;
use std::os::unix::fs::symlink;

use iostrata_capture::completeness::CompletenessFile;
use iostrata_capture::dir::Dir;
use iostrata_capture::manifest::State;
use iostrata_capture::op::{Layer, Op};

use crate::support::{Capture, run_text, small};

#[test]
fn a_capture_that_was_cut_off_has_the_same_numbers_before_and_after_it_is_recovered() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = small(Layer::ALL);
    capture.rows_per_part = 7;
    capture.write(place.path(), "whole");
    capture.manifest.state = State::Recording;
    capture.torn = true;
    (0..9).for_each(|second| capture.loss((second, second + 1), "syscall", "ring_full", 1));
    capture.write(place.path(), "torn");
    let results = |directory: &str| {
        ["summary.csv", "latency.csv", "amplification.csv", "loss.csv"]
            .map(|name| fs::read(place.path().join(directory).join(name)).expect(name))
    };

    let (code, _, err) = run_text(place.path(), &["summary", "torn", "--out", "before"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!(err, @"warning: torn: the recording was interrupted or is still running: unflushed rows are missing, and the losses at its end are unknown; 14 rows are in 5 unfinished parts, which `iostrata-analyze recover` repairs");
    let (code, out, err) = run_text(place.path(), &["recover", "torn"]);
    assert_eq!((code, err.as_str()), (0, ""));
    insta::assert_snapshot!(out, @"torn: recovered 5 parts with 14 rows; not known: the time up to which the capture is complete; the rows of some CPUs and tables may end earlier than those of others");
    let (code, _, err) = run_text(place.path(), &["summary", "torn", "--out", "after"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!(err, @"warning: torn: the capture was interrupted and recovered: rows at its end are missing, and the losses there are unknown");
    assert_eq!(results("before"), results("after"));
    // It differs from the complete capture in bounds and losses only.
    let (code, whole, _) = run_text(place.path(), &["summary", "whole"]);
    assert_eq!(code, 0);
    let (_, torn, _) = run_text(place.path(), &["summary", "torn"]);
    let table = |text: &str| text.split("\n\n").next().map(|table| table.replace('~', " "));
    assert_eq!(table(&whole), table(&torn));

    let (code, out, _) = run_text(place.path(), &["recover", "torn", "whole"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out, @r"
    torn: nothing to recover, the recording is complete or was recovered before
    whole: nothing to recover, the recording is complete or was recovered before
    ");
}

#[test]
fn a_part_that_cannot_be_read_keeps_no_other_from_being_recovered() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = small(Layer::ALL);
    capture.manifest.state = State::Recording;
    (capture.torn, capture.rows_per_part) = (true, 10);
    let directory = capture.write(place.path(), "torn");
    let part = directory.join("block/part-000001.parquet");
    let mut bytes = fs::read(&part).expect("a finished part");
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(b"zero");
    fs::write(&part, &bytes).expect("room");
    let recover = || run_text(place.path(), &["recover", "torn"]);
    let (code, out, err) = recover();
    assert_eq!(code, 3);
    insta::assert_snapshot!(err, @"warning: left unchanged: torn/block/part-000001.parquet: not a readable Parquet file: Parquet error: does not end with PAR1: truncated or another format");
    insta::assert_snapshot!(out, @"torn: recovered 4 parts with 15 rows; 1 part unreadable");
    // A second run reports the same.
    let (code, _, again) = recover();
    assert_eq!((code, again), (3, err));
    bytes[end - 4..].copy_from_slice(b"PAR1");
    fs::write(&part, &bytes).expect("room");
    let (code, _, err) = recover();
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(run_text(place.path(), &["summary", "torn"]).0, 3);
}

#[test]
fn what_ended_when_not_all_is_there_is_left_out_and_said() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = small(Layer::ALL);
    (capture.manifest.state, capture.torn, capture.rows_per_part) = (State::Recording, true, 7);
    // Nine of the twenty writes to the disk had ended by then, and all calls and VFS operations except the fdatasync.
    capture.whole_until_ns = Some(100_200);
    // Two parts of requests: one that had ended by then, and one that began before and ended later.
    capture.block(115, Some(1), Op::Write, 8_192, 100_000).sector = Some(8);
    capture.share(Some(2), 1_024);
    capture.block(115, Some(1), Op::Write, 8_192, 200_000).sector = Some(16);
    capture.share(Some(2), 2_048);
    let directory = capture.write(place.path(), "torn");
    let mut kept = capture.clone();
    (kept.whole_until_ns, kept.torn) = (None, false);
    let is_over = |ts_ns: i64, dur_ns: Option<i64>| ts_ns + dur_ns.unwrap_or_default() <= 100_200;
    kept.syscall.retain(|row| is_over(row.ts_ns, Some(row.dur_ns)));
    kept.vfs.retain(|row| is_over(row.ts_ns, Some(row.dur_ns)));
    kept.fs.retain(|row| is_over(row.ts_ns, row.dur_ns));
    kept.block.retain(|row| is_over(row.ts_ns, row.dur_ns));
    kept.share.retain(|row| row.sector != Some(16));
    let rows = |of: &Capture| of.syscall.len() + of.vfs.len() + of.fs.len() + of.block.len() + of.share.len();
    let left_out = rows(&capture) - rows(&kept);
    assert!(left_out > 12 && kept.share.len() + 1 == capture.share.len());
    kept.write(place.path(), "kept");

    let results = |directory: &str, to: &str| {
        let (code, text, err) = run_text(place.path(), &["report", directory, "--out", to]);
        assert_eq!(code, 3, "{err}");
        let files =
            ["summary", "latency", "amplification", "path", "sync", "queue", "footprint", "timeline", "cache", "sizes"];
        (text, files.map(|name| fs::read_to_string(place.path().join(to).join(format!("{name}.csv"))).expect(name)))
    };
    let line = format!(
        "excluded: {left_out} rows that ended after 1970-01-01T00:00:00.000Z: up to then the capture is complete for all CPUs and layers, \
         except for events counted as lost"
    );
    let (before, torn) = results("torn", "before");
    assert!(before.contains(&line), "{before}");
    assert_eq!(torn, results("kept", "expected").1);
    let (code, out, _) = run_text(place.path(), &["recover", "torn"]);
    assert_eq!(code, 0);
    assert!(out.ends_with(&format!("; {line}\n")), "{out}");
    assert!(!directory.join(".whole").exists());
    let manifest = fs::read_to_string(directory.join("manifest.json")).expect("a manifest");
    assert!(manifest.contains("\"whole_until_ns\": 100200"), "{manifest}");
    let (after, recovered) = results("torn", "after");
    assert!(after.contains(&line), "{after}");
    assert_eq!(recovered, torn);
    let (_, quality, _) = run_text(place.path(), &["quality", "torn"]);
    let check = quality.lines().find(|line| line.split_whitespace().nth(1) == Some("end")).expect("a check");
    assert!(check.contains(" note ") && check.contains(&format!("{left_out} rows that ended after")), "{check}");
    // No rows of a complete capture are excluded, whatever files it has.
    capture.manifest.state = State::Complete;
    capture.torn = false;
    capture.write(place.path(), "whole");
    let (_, whole, _) = run_text(place.path(), &["summary", "whole"]);
    assert!(!whole.contains("that ended after"), "{whole}");
}

/// The file may be from an earlier recording, or not be a file; it is not needed to recover the rows.
#[test]
fn what_is_no_moment_of_this_capture_is_not_believed_and_keeps_nothing_from_being_recovered() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = small(Layer::ALL);
    (capture.manifest.state, capture.torn, capture.rows_per_part) = (State::Recording, true, 7);
    capture.manifest.parts_id = Some("0123456789abcdef".to_owned());
    capture.whole_until_ns = Some(100_200);
    let told = "excluded: ";
    let not_known = "not known: the time up to which the capture is complete";
    for (name, expected) in [("own", told), ("other", not_known), ("directory", not_known), ("link", not_known)] {
        let directory = capture.write(place.path(), name);
        let file = directory.join(".whole");
        let kept = place.path().join("whole");
        fs::rename(&file, &kept).expect("there");
        match name {
            "own" => drop(fs::copy(&kept, &file).expect("room")),
            "other" => {
                drop(CompletenessFile::create(&Dir::open(&directory).expect("there"), "0123456789abcdee", 100_200))
            }
            "directory" => fs::create_dir(&file).expect("room"),
            _ => symlink(&kept, &file).expect("room"),
        }
        let (_, before, _) = run_text(place.path(), &["summary", name]);
        assert!(before.contains(expected), "{name}: {before}");
        let (code, out, err) = run_text(place.path(), &["recover", name]);
        assert_eq!(code, 0, "{name}: {err}");
        assert!(out.contains(expected), "{name}: {out}");
        let (code, after, _) = run_text(place.path(), &["quality", name]);
        assert_eq!(code, 3);
        assert!(after.contains(expected.trim_end_matches(": ")) || expected == told, "{name}: {after}");
    }
}

#[test]
fn what_the_recorder_was_about_to_do_with_its_list_is_done() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = small(Layer::ALL);
    capture.manifest.state = State::Recording;
    capture.rows_per_part = 10;
    let directory = capture.write(place.path(), "torn");
    let (path, removed) = (directory.join("parts.jsonl"), directory.join("syscall/part-000001.parquet"));
    let list = fs::read_to_string(&path).expect("a list");
    let (before, last) = list.trim_end().rsplit_once('\n').expect("lines");
    // A part that is listed as removed and still exists, and one with a truncated line.
    let line = "{\"removed\":\"syscall/part-000001.parquet\"}";
    fs::write(&path, format!("{before}\n{line}\n{}", &last[..30])).expect("room");
    let (code, out, err) = run_text(place.path(), &["recover", "torn"]);
    assert_eq!((code, err.as_str(), removed.exists()), (0, "", false));
    insta::assert_snapshot!(out, @"torn: recovered 0 parts with 0 rows; 1 part finished but not listed; not known: the time up to which the capture is complete; the rows of some CPUs and tables may end earlier than those of others");
    let recovered = fs::read_to_string(&path).expect("a list");
    let sums = "{\"removed_sum\":{\"table\":\"syscall\",\"parts\":1,\"rows\":10,";
    assert!(recovered.starts_with(sums) && recovered.contains(&format!("{last}\n")), "{recovered}");
    // Tables without a part get one without rows.
    let with_rows = recovered.lines().filter(|line| !line.contains("\"rows\":0"));
    assert_eq!(with_rows.count(), list.lines().filter(|line| !line.contains("\"rows\":0")).count());
    let (_, out, _) = run_text(place.path(), &["summary", "torn"]);
    assert!(out.contains("10 rows were removed to keep the capture within --max-disk"), "{out}");
}

#[test]
fn nothing_is_written_through_a_link() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = small(Layer::ALL);
    capture.manifest.state = State::Recording;
    capture.torn = true;
    let directory = capture.write(place.path(), "torn");
    let elsewhere = |name: &str, path: &str| {
        let victim = place.path().join(name);
        fs::rename(directory.join(path), &victim).expect("there");
        std::os::unix::fs::symlink(&victim, directory.join(path)).expect("room");
        let was = fs::read(&victim).expect("readable");
        move || assert_eq!(fs::read(&victim).expect("readable"), was, "{}", victim.display())
    };
    // Recovery writes to unfinished parts, and their content would be right.
    let part = elsewhere("precious", "block/.part-000001.parquet.tmp");
    let (code, _, err) = run_text(place.path(), &["recover", "torn"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!(err, @"warning: left unchanged: torn/block/.part-000001.parquet.tmp: is not a regular file, expected one");
    part();
    let [manifest, list] = ["manifest.json", "parts.jsonl"].map(|name| {
        fs::write(directory.join(format!(".{name}.tmp")), "mine").expect("room");
        elsewhere(&format!("mine of {name}"), &format!(".{name}.tmp"))
    });
    // A link in place of a file that is written again is replaced.
    let (code, _, again) = run_text(place.path(), &["recover", "torn"]);
    assert_eq!((code, again), (3, err));
    manifest();
    list();
}

#[test]
fn what_is_no_capture_cannot_be_recovered() {
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(place.path().join("empty")).expect("a fresh place");
    let (code, _, err) = run_text(place.path(), &["recover", "empty"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(err, @"iostrata-analyze: empty: not a capture: manifest.json is missing");
}
