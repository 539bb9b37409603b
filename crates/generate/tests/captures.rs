//! Tests of generated captures: validity and reproducibility.

#![allow(clippy::expect_used, reason = "helpers of tests are not inside a test function, where it is allowed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use iostrata_capture::Capture;
use iostrata_capture::column::Reader;
use iostrata_capture::dir::Dir;
use iostrata_capture::tables::{BlockTable, BlockView, ProcessTable, ProcessView, SyscallTable, SyscallView};
use iostrata_generate::generate;
use iostrata_generate::options::Options;

fn options(out: &Path) -> Options {
    Options {
        out: out.to_owned(),
        events: 30_000,
        seed: 7,
        events_per_second: 50_000.0,
        processes: 7,
        threads: 3,
        files: 100,
        file_bytes: 64 << 20,
        skew: 1.0,
        devices: 2,
        hit_ratio: 0.7,
        short_lived: 0,
        short_lived_name: None,
        // Several parts of each larger table.
        part_bytes: 64 << 10,
    }
}

/// Returns all parts by name.
fn parts(capture: &Path) -> BTreeMap<String, Vec<u8>> {
    let opened = Capture::open(&Dir::open(capture).expect("there")).expect("a capture");
    let read = |(name, _): (iostrata_capture::part::PartName, _)| {
        (name.to_string(), fs::read(name.path(capture)).expect("listed"))
    };
    opened.list.parts().map(read).collect()
}

#[test]
fn the_same_parameters_make_the_same_rows_and_another_seed_makes_others() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let made = ["first", "second", "third"].map(|name| place.path().join(name));
    for (out, seed) in made.iter().zip([7, 7, 8]) {
        generate::run(&Options { seed, ..options(out) }).expect("room");
    }
    let [first, second, third] = made.each_ref().map(|out| parts(out));
    assert!(first == second, "two runs differ");
    assert!(first.len() > 8 && first["block/part-000001.parquet"] != third["block/part-000001.parquet"]);
}

#[test]
fn books_say_what_is_there_and_rows_come_when_they_are_over() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let out = place.path().join("capture");
    let made = generate::run(&options(&out)).expect("room");
    assert!((30_000..30_020).contains(&made.events), "{made}");
    let capture = Capture::open(&Dir::open(&out).expect("there")).expect("a capture");
    let books = &capture.manifest.books;
    assert!(books.balanced());
    let rows = |table: &str| {
        capture.list.parts().filter(|(name, _)| name.table.name() == table).map(|(_, part)| part.rows).sum()
    };
    for account in &books.accounts {
        let rows: u64 = rows(&account.class);
        assert_eq!(rows, account.written, "{}", account.class);
    }
    assert_eq!(rows("process"), 7 + 2);

    let (mut ends, mut calls) = (Vec::new(), 0);
    for part in capture.parts::<BlockTable>().expect("listed") {
        part.read::<BlockTable>(|batch| {
            let view = BlockView::new(batch)?;
            ends.extend((0..view.rows).map(|row| view.ts_ns.at(row) + view.dur_ns.at(row).expect("known")));
            Ok(())
        })
        .expect("readable");
    }
    assert!(ends.is_sorted());
    for part in capture.parts::<SyscallTable>().expect("listed") {
        part.read::<SyscallTable>(|batch| {
            calls += SyscallView::new(batch)?.rows as u64;
            Ok(())
        })
        .expect("readable");
    }
    assert_eq!(calls, rows("syscall"));
}

#[test]
fn short_lived_processes_have_a_row_and_a_read_each_beside_the_events() {
    let place = tempfile::tempdir().expect("a temporary directory");
    for (name, names) in [(None, 3_000), (Some("sh".to_owned()), 1)] {
        let out = place.path().join(names.to_string());
        let made = generate::run(&Options { short_lived: 3_000, short_lived_name: name, ..options(&out) });
        let made = made.expect("room");
        // Each process reads once, in two layers. One in eight reads misses the page cache: one more row each in `block` and `fs`.
        assert!((36_750..36_770).contains(&made.events), "{made}");
        let capture = Capture::open(&Dir::open(&out).expect("there")).expect("a capture");
        assert!(capture.manifest.books.balanced());
        let (mut comms, mut lines, mut starts) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for part in capture.parts::<ProcessTable>().expect("listed") {
            part.read::<ProcessTable>(|batch| {
                let view = ProcessView::new(batch)?;
                for row in (0..view.rows).filter(|row| view.cmdline.at(*row).unwrap_or_default().contains(" --job ")) {
                    comms.extend(view.comm.at(row).map(str::to_owned));
                    lines.extend(view.cmdline.at(row).map(str::to_owned));
                    starts.push(view.start_ns.at(row));
                }
                Ok(())
            })
            .expect("readable");
        }
        assert_eq!((comms.len(), lines.len(), starts.len()), (names, 3_000, 3_000));
        assert!(starts.is_sorted());
    }
}

#[test]
fn a_directory_with_something_in_it_is_left_alone() {
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::write(place.path().join("precious"), "1").expect("room");
    let error = generate::run(&options(place.path())).expect_err("in the way");
    assert!(error.to_string().contains("not empty"), "{error}");
    assert_eq!(fs::read_dir(place.path()).expect("readable").count(), 1);
}
