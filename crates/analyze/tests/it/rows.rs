//! Rows are checked against the rows written: missing and duplicate rows are reported, and in no number.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use iostrata_capture::dir::Dir;
use iostrata_capture::list::{self, Entry, ListFile};
use iostrata_capture::manifest::{Manifest, State};
use iostrata_capture::op::Layer;
use iostrata_capture::part::{PartFile, PartReader, PartWriter, Place};
use iostrata_capture::table::Table;
use iostrata_capture::tables::{BlockTable, ProcessTable};

use crate::support::{Capture, run_text, small};

mod any;

/// Number of requests of `small`, and the rows of their three parts.
const REQUESTS: u64 = 25;
const OF_PARTS: [u64; 3] = [10, 10, 5];

/// Capture of several parts with identities.
fn capture() -> Capture {
    let mut capture = small(Layer::ALL);
    capture.rows_per_part = 10;
    capture
}

/// The same capture as an earlier recorder wrote it.
fn unmarked() -> Capture {
    let mut capture = capture();
    capture.manifest.parts_id = None;
    capture
}

fn written(capture: &Capture, change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a temporary directory");
    change(&capture.write(place.path(), "run1"));
    place
}

fn part(table: &str, number: u32) -> String {
    format!("{table}/part-{number:06}.parquet")
}

/// Changes the list of parts.
fn relist(capture: &Path, change: impl FnOnce(&mut Vec<Entry>)) {
    let mut entries = Vec::new();
    let take = |entry| {
        entries.push(entry);
        Ok(())
    };
    list::read(&Dir::open(capture).expect("there"), take).expect("a list");
    change(&mut entries);
    ListFile::create(&Dir::open(capture).expect("there")).and_then(|mut list| list.append(&entries)).expect("room");
}

fn of_table(entry: &Entry, table: &str) -> bool {
    matches!(entry, Entry::Finished(part) if part.name.table.name() == table)
}

/// Removes the line of a part.
fn unlist(capture: &Path, name: &str) {
    relist(capture, |entries| entries.retain(|e| !matches!(e, Entry::Finished(part) if part.name.to_string() == name)));
}

/// Updates the line of a part to its present rows and size; adds a line if there is none.
fn admit(capture: &Path, name: &str, rows: u64) {
    let bytes = fs::metadata(capture.join(name)).expect("there").len();
    relist(capture, |entries| {
        let known = entries.iter().position(|e| matches!(e, Entry::Finished(part) if part.name.to_string() == name));
        let entry = known.map(|known| entries.remove(known)).or(entries.first().cloned());
        let part = entry.and_then(|entry| if let Entry::Finished(part) = entry { Some(part) } else { None });
        let mut part = part.expect("a part");
        (part.name, part.rows, part.bytes) = (name.parse().expect("a name"), rows, bytes);
        entries.push(Entry::Finished(part));
    });
}

/// Rewrites a part with the rows that `times` selects from each of its batches, as another program that keeps the footer would.
fn rewrite<T: Table>(capture: &Path, number: u32, times: impl Fn(usize) -> Vec<(usize, usize)>) {
    let id = Manifest::read(&Dir::open(capture).expect("there")).expect("there").parts_id;
    let whole = PartFile::Whole(Place::named(&capture.join(part(T::NAME, number))).expect("there"));
    let batches: Vec<_> = PartReader::open::<T>(&whole).and_then(Iterator::collect).expect("readable");
    let mut writer = PartWriter::create::<T>(&Dir::open(capture).expect("there"), number, id.as_deref()).expect("room");
    for batch in batches {
        for (first, rows) in times(batch.num_rows()) {
            writer.write(&batch.slice(first, rows)).expect("room");
        }
    }
    writer.finish().expect("room");
}

/// Returns the exit code of `quality`, and the verdict and finding of its check of rows.
fn verdict(place: &Path) -> (i32, String) {
    let (code, out, err) = run_text(place, &["quality", "run1", "--out", "out"]);
    assert!(err.lines().all(|line| line.contains("was interrupted")), "{err}");
    assert_eq!(out.contains("Verdict: reliable"), code == 0, "{out}");
    let text = fs::read_to_string(place.join("out/quality.csv")).expect("written");
    let row = text.lines().find_map(|line| line.split_once(",rows,")).expect("a check of rows");
    (code, row.1.trim_matches('"').replace(",\"", ","))
}

/// Checks summary and quality of a changed capture: both end with code 3, the layer has no cell, and others are unchanged.
fn distrusted(place: &Path, expected: &str) {
    let (code, found) = verdict(place);
    assert!(code == 3 && found.starts_with(&format!("bad,{expected}")), "{code} {found}\nexpected {expected}");
    let (code, out, err) = run_text(place, &["summary", "run1", "--out", "out"]);
    assert_eq!((code, err.as_str()), (3, ""), "{out}");
    assert!(out.contains(&format!("excluded: {expected}")), "{out}\nexpected {expected}");
    let whole = written(&capture(), |_| ());
    assert_eq!(run_text(whole.path(), &["summary", "run1", "--out", "out"]).0, 0);
    let (found, whole) = (table(place, "summary.csv"), table(whole.path(), "summary.csv"));
    let mut empty = 0;
    assert!(found.len() > 2 && found.keys().all(|system| whole.contains_key(system)), "{:?}", found.keys());
    for (system, found) in &found {
        for (column, value) in found {
            let is_of_block = column.starts_with("block_") || column.contains("amp_");
            empty += usize::from(is_of_block);
            let expected = if is_of_block || column == "lost_events" { "" } else { &whole[system][column] };
            let is_bound = column.ends_with("_low") || column.ends_with("_high");
            assert!(
                value == expected || column == "total_ops" || (is_bound && value.is_empty()),
                "{system} {column}: {value}"
            );
        }
    }
    assert!(empty > 30, "{empty}");
    for file in ["latency.csv", "amplification.csv"] {
        let text = fs::read_to_string(place.join("out").join(file)).expect("written");
        assert!(!text.lines().any(|line| line.contains(",block,")), "{text}");
    }
    let about = fs::read_to_string(place.join("out/about.json")).expect("written");
    assert!(about.contains(&format!("\"{expected}")) && about.contains("\"complete\": false"), "{about}");
}

/// Returns the rows by the first column, with the cells by column.
fn table(place: &Path, file: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let text = fs::read_to_string(place.join("out").join(file)).expect("written");
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let names = lines.next().expect("a header");
    lines.map(|line| (line[0].clone(), names.iter().cloned().zip(line).collect())).collect()
}

#[test]
fn a_table_that_is_gone_is_not_nothing() {
    for capture in [capture(), unmarked()] {
        let place = written(&capture, |run| {
            fs::remove_dir_all(run.join("block")).expect("there");
            relist(run, |entries| entries.retain(|entry| !of_table(entry, "block")));
        });
        distrusted(place.path(), "block: 0 of 25 rows present");
        let place = written(&capture, |run| fs::remove_dir_all(run.join("block")).expect("there"));
        distrusted(place.path(), "block: 0 of 25 rows present (block/part-000001.parquet is missing; block");
    }
}

#[test]
fn a_part_that_was_filtered_or_has_rows_twice_is_told_whether_or_not_the_list_was_changed() {
    for capture in [capture(), unmarked()] {
        for is_listed in [true, false] {
            let admit = |run: &Path, rows| {
                if is_listed {
                    admit(run, &part("block", 2), rows)
                }
            };
            let place = written(&capture, |run| {
                rewrite::<BlockTable>(run, 2, |rows| vec![(3, rows - 6)]);
                admit(run, 4);
            });
            let told =
                if is_listed { "" } else { " (block/part-000002.parquet has 4 rows, the list of parts says 10)" };
            distrusted(place.path(), &format!("block: 19 of 25 rows present{told}"));
            let place = written(&capture, |run| {
                rewrite::<BlockTable>(run, 2, |rows| vec![(0, rows), (0, rows)]);
                admit(run, 20);
            });
            distrusted(place.path(), "block: 35 rows present, 25 written");
        }
    }
}

#[test]
fn a_copy_of_a_part_is_known_as_one() {
    for is_listed in [true, false] {
        let copy = |capture: &Capture| {
            written(capture, |run| {
                fs::copy(run.join(part("block", 1)), run.join(part("block", 4))).expect("room");
                if is_listed {
                    admit(run, &part("block", 4), OF_PARTS[0]);
                }
            })
        };
        let told = "block/part-000004.parquet is a copy of block/part-000001.parquet";
        // It is not read, so all written rows are present.
        distrusted(copy(&capture()).path(), &format!("block: 25 of 25 rows present ({told}"));
        distrusted(copy(&unmarked()).path(), &format!("block: 35 rows present, 25 written ({told}"));
    }
    // In place of another part with the same number of rows.
    let replaced = |capture: &Capture| {
        written(capture, |run| {
            fs::copy(run.join(part("block", 1)), run.join(part("block", 2))).expect("room");
            admit(run, &part("block", 2), OF_PARTS[1]);
        })
    };
    let told = "block/part-000002.parquet is a copy of block/part-000001.parquet)";
    distrusted(replaced(&capture()).path(), &format!("block: 15 of 25 rows present ({told}"));
    distrusted(replaced(&unmarked()).path(), &format!("block: 25 of 25 rows present ({told}"));
}

#[test]
fn a_part_of_another_capture_or_table_is_known_as_one() {
    let mut other = capture();
    other.manifest.capture_id = "other".into();
    other.manifest.parts_id = Some("other".into());
    for is_in_place in [true, false] {
        let number = if is_in_place { 2 } else { 4 };
        let place = written(&capture(), |run| {
            let from = other.write(run.parent().expect("a place"), "run2").join(part("block", number.min(3)));
            fs::copy(from, run.join(part("block", number))).expect("room");
            admit(run, &part("block", number), OF_PARTS[1]);
        });
        let rows = if is_in_place { 15 } else { 25 };
        let name = part("block", number);
        let what = "is a part of another capture (other)";
        distrusted(place.path(), &format!("block: {rows} of 25 rows present ({name} {what})"));
        let place = written(&capture(), |run| {
            fs::copy(run.join(part("syscall", 2)), run.join(&name)).expect("room");
            admit(run, &name, OF_PARTS[1]);
        });
        distrusted(place.path(), &format!("block: {rows} of 25 rows present ({name} is a part of table syscall)"));
    }
}

#[test]
fn without_all_processes_nobody_knows_whose_anything_is() {
    let place = written(&capture(), |run| rewrite::<ProcessTable>(run, 1, |rows| vec![(0, rows - 1)]));
    let (code, out, err) = run_text(place.path(), &["summary", "run1", "--out", "out"]);
    assert_eq!((code, err.as_str()), (3, ""));
    assert!(out.contains("excluded: syscall, vfs, fs, block: process: 2 of 3 rows present"), "{out}");
    let summary = table(place.path(), "summary.csv");
    assert_eq!(summary.keys().collect::<Vec<_>>(), ["(total)"]);
    assert!(summary["(total)"].iter().all(|(name, value)| name == "system" || value.is_empty()), "{summary:?}");
    // A part with another identity is not read, and all processes are present.
    let place = written(&capture(), |run| {
        fs::copy(run.join(part("process", 1)), run.join(part("process", 2))).map(drop).expect("room");
    });
    let (code, out, _) = run_text(place.path(), &["summary", "run1"]);
    assert!(code == 3 && out.contains("not as written: process: 3 of 3 rows present (process/part-000002"), "{out}");
    assert!(out.contains("etcd") && !out.contains("excluded: syscall"), "{out}");
}

#[test]
fn what_is_there_is_analyzed_where_that_is_asked_for_and_each_output_says_how_many_of_how_many() {
    let place = written(&capture(), |run| {
        fs::remove_file(run.join(part("block", 2))).expect("there");
        unlist(run, &part("block", 2));
    });
    let told = "block: 15 of 25 rows present";
    let (code, out, err) = run_text(place.path(), &["report", "run1", "--partial-rows", "--out", "out"]);
    assert_eq!((code, err.as_str()), (3, ""));
    assert!(out.contains(&format!("partial rows: {told}")) && out.contains("no machine totals"), "{out}");
    let read = |file: &str| fs::read_to_string(place.path().join("out").join(file)).expect("written");
    for file in ["report.html", "about.json", "quality.csv"] {
        assert!(read(file).contains(told), "{file}");
    }
    let loss = read("loss.csv");
    assert!(loss.lines().any(|line| line.starts_with("small,block,not_there,") && line.contains(",10,15,")), "{loss}");
    let summary = table(place.path(), "summary.csv");
    // The writes of the first part, of the 20 of `small`, and its flush.
    assert_eq!(
        (summary["etcd"]["block_write_ops"].as_str(), summary["etcd"]["syscall_write_ops"].as_str()),
        ("11", "20")
    );
    let total = &summary["(total)"];
    assert!(
        total
            .iter()
            .filter(|(name, _)| name.contains("_ops") || name.contains("_bytes"))
            .all(|(_, value)| value.is_empty()),
        "{total:?}"
    );
    for file in [
        "amplification.csv",
        "path.csv",
        "sync.csv",
        "cache.csv",
        "queue.csv",
        "arrivals.csv",
        "footprint.csv",
        "reuse.csv",
    ] {
        let text = read(file);
        assert!(!text.lines().any(|line| line.starts_with("all,")), "{file}: {text}");
        let totals = text.lines().filter(|line| line.starts_with("total,"));
        totals.for_each(|line| {
            assert!(!line.split(',').skip(3).any(|cell| cell.parse::<u64>().is_ok_and(|n| n > 0)), "{file}: {line}")
        });
    }
    let latency = read("latency.csv");
    let marked = latency.lines().filter(|line| line.contains(",block,"));
    assert!(marked.clone().count() > 0 && marked.clone().all(|line| line.contains("at_least")), "{latency}");
    // Other outputs.
    let (code, out, _) = run_text(place.path(), &["trace", "run1", "--partial-rows", "--out", "out"]);
    assert!(code == 3 && out.contains(told) && read("trace.json").contains(told), "{out}");
    let whole = small(Layer::ALL);
    let mut whole = Capture { rows_per_part: 10, ..whole };
    whole.manifest.capture_id = "whole".into();
    whole.write(place.path(), "run2");
    let (code, out, _) = run_text(place.path(), &["compare", "run1", "run2", "--partial-rows", "--out", "out"]);
    assert!(code == 3 && out.contains(told) && read("about.json").contains(&format!("run1: {told}")), "{out}");
    let (code, out, err) = run_text(place.path(), &["partial", "--to", "one.partial", "summary", "run1"]);
    assert!(code == 3 && err.contains(&format!("warning: {told}")), "{out}{err}");
    let (code, merged, _) = run_text(place.path(), &["merge", "--from", "one.partial", "summary", "run1"]);
    assert!(code == 3 && merged.contains(&format!("excluded: {told}")), "{merged}");
    // It changes nothing for a complete capture.
    let (code, plain, _) = run_text(place.path(), &["summary", "run2"]);
    assert_eq!((code, plain.as_str()), (0, run_text(place.path(), &["summary", "run2", "--partial-rows"]).1.as_str()));
}

#[test]
fn what_was_removed_for_room_and_what_is_not_listed_yet_is_not_missing() {
    let rows_of = |place: &Path| verdict(place).1;
    // The oldest part was removed; another one was removed from the list and could not be deleted.
    let place = written(&capture(), |run| {
        let removed = |number| Entry::Removed(part("syscall", number).parse().expect("a name"));
        relist(run, |entries| entries.extend([removed(1), removed(2)]));
        fs::remove_file(run.join(part("syscall", 1))).expect("there");
    });
    assert!(rows_of(place.path()).starts_with("good,"), "{}", rows_of(place.path()));
    // A recorder that could not write to its list has counted the rows that it wrote.
    let place = written(&capture(), |run| unlist(run, &part("block", 3)));
    assert!(rows_of(place.path()).starts_with("good,"), "{}", rows_of(place.path()));
    // A running recording has finished a part that is not yet in the list; and one in the list is missing.
    let mut torn = capture();
    (torn.manifest.state, torn.torn) = (State::Recording, true);
    let place = written(&torn, |run| unlist(run, &part("block", 2)));
    assert!(rows_of(place.path()).starts_with("good,"), "{}", rows_of(place.path()));
    fs::remove_file(place.path().join("run1").join(part("block", 1))).expect("there");
    let told = "block: 15 rows present, number written unknown (block/part-000001.parquet is missing)";
    assert!(rows_of(place.path()).contains(told), "{}", rows_of(place.path()));
    // After recovery all parts are listed.
    let place = written(&torn, |_| ());
    assert_eq!(run_text(place.path(), &["recover", "run1"]).0, 0);
    assert!(rows_of(place.path()).starts_with("good,"), "{}", rows_of(place.path()));
    unlist(&place.path().join("run1"), &part("block", 3));
    assert!(rows_of(place.path()).contains("part-000003.parquet is not in the list"), "{}", rows_of(place.path()));
}

#[test]
fn recover_leaves_a_part_of_another_capture_as_it_is_and_redact_keeps_what_a_part_says() {
    let mut torn = capture();
    (torn.manifest.state, torn.torn) = (State::Recording, true);
    let place = written(&torn, |run| {
        fs::copy(run.join(part("block", 1)), run.join(part("block", 7))).map(drop).expect("room");
    });
    let (code, _, err) = run_text(place.path(), &["recover", "run1"]);
    assert!(code == 3 && err.contains("part-000007.parquet: is a copy of block/part-000001.parquet"), "{err}");
    let mut whole = capture();
    whole.process[0].cmdline = Some("etcd --token abc".into());
    let place = written(&whole, |_| ());
    assert_eq!(run_text(place.path(), &["redact", "run1"]).0, 0);
    assert_eq!(run_text(place.path(), &["quality", "run1"]).0, 0);
    let from = place.path().join("run1").join(part("process", 1));
    fs::copy(&from, from.with_file_name("part-000002.parquet")).expect("room");
    let (code, out, _) = run_text(place.path(), &["quality", "run1"]);
    assert!(code == 3 && out.contains("process/part-000002.parquet is a copy of process/part-000001.parquet"), "{out}");
}

#[test]
fn a_capture_of_an_earlier_recorder_is_read_as_before() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/debian-6.12-nvme");
    let place = tempfile::tempdir().expect("a temporary directory");
    std::os::unix::fs::symlink(fixture, place.path().join("run1")).expect("room");
    let found = verdict(place.path());
    assert!(found.1.starts_with("good,") && found.1.contains("all 2799 rows"), "{found:?}");
}

#[test]
fn the_capture_of_these_tests_has_as_many_rows_as_they_say() {
    assert_eq!((small(Layer::ALL).block.len() as u64, OF_PARTS.iter().sum::<u64>()), (REQUESTS, REQUESTS));
}
