//! Captures that were cut off, and the command that makes them whole.

use std::fs;

use iostrata_capture::manifest::State;
use iostrata_capture::op::Layer;

use crate::support::{run_text, small};

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
    insta::assert_snapshot!(err, @"warning: torn: the recording was cut off, or still runs: rows that had not been flushed are missing, and what was lost at its end is not known; 14 rows are of 5 unfinished parts, which `iostrata-analyze recover` makes whole");
    let (code, out, err) = run_text(place.path(), &["recover", "torn"]);
    assert_eq!((code, err.as_str()), (0, ""));
    insta::assert_snapshot!(out, @"torn: recovered 5 parts with 14 rows");
    let (code, _, err) = run_text(place.path(), &["summary", "torn", "--out", "after"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!(err, @"warning: torn: the recording was cut off and recovered: rows that had not been flushed are missing, and what was lost at its end is not known");
    assert_eq!(results("before"), results("after"));
    // Of what is known of the one that came to its end it differs in bounds and losses only.
    let (code, whole, _) = run_text(place.path(), &["summary", "whole"]);
    assert_eq!(code, 0);
    let (_, torn, _) = run_text(place.path(), &["summary", "torn"]);
    let table = |text: &str| text.split("\n\n").next().map(|table| table.replace('~', " "));
    assert_eq!(table(&whole), table(&torn));

    let (code, out, _) = run_text(place.path(), &["recover", "torn", "whole"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out, @r"
    torn: nothing to recover, the recording came to its end or was recovered before
    whole: nothing to recover, the recording came to its end or was recovered before
    ");
}

#[test]
fn what_is_no_capture_cannot_be_recovered() {
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(place.path().join("empty")).expect("a fresh place");
    let (code, _, err) = run_text(place.path(), &["recover", "empty"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(err, @"iostrata-analyze: empty: not a capture: there is no manifest.json in it");
}
