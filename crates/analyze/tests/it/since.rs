//! Rows outside the filters are not read if a part has statistics of its times, and the results do not depend on that.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use crate::order::{capture, operations};
use crate::support::{Capture, run_text};

/// Returns the exit code, all tables that `analysis` writes for `capture` between these times, and its output.
fn told(place: &Path, capture: &Path, analysis: &str, (since_ns, until_ns): (i64, i64)) -> (i32, Vec<String>) {
    let (since, until) = (format!("{since_ns}ns"), format!("{until_ns}ns"));
    let out = place.join("out");
    let (capture, out_name) = (capture.to_str().expect("text"), out.to_str().expect("text"));
    let asked = [analysis, capture, "--since", &since, "--until", &until, "--out", out_name];
    let (code, _, said) = run_text(place, &asked);
    let mut tables: Vec<_> =
        fs::read_dir(&out).map(|found| found.flatten().map(|file| file.path()).collect()).unwrap_or_default();
    tables.sort();
    let tables = tables.iter().map(|path| fs::read_to_string(path).expect("text"));
    let all = (code, tables.chain([said]).collect());
    fs::remove_dir_all(out).ok();
    all
}

/// Moves the capture to the first 200 ns of 1970.
fn of(mut capture: Capture) -> Capture {
    capture.manifest.started_at = "1970-01-01T00:00:00Z".into();
    capture
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_global_rejects: 0, ..ProptestConfig::default() })]

    #[test]
    fn what_is_asked_for_is_all_there_whatever_the_parts(
        operations in operations(), since_ns in 0i64..150, length_ns in 1i64..100, rows_per_part in 1usize..9, is_lossy in any::<bool>(),
    ) {
        let place = tempfile::tempdir().expect("a temporary directory");
        let write = |rows_per_part, name| {
            let mut capture = of(capture("same", &operations, rows_per_part));
            if is_lossy {
                capture.loss((90, 110), "block", "ring_full", 3);
            }
            capture.write(place.path(), name)
        };
        let (many, one) = (write(rows_per_part, "many"), write(usize::MAX, "one"));
        let asked = (since_ns, since_ns + length_ns);
        for analysis in ["summary", "amplification", "timeline", "queue", "pattern", "footprint", "path", "heatmap", "quality"] {
            let of = |capture: &Path| {
                let (code, mut told) = told(place.path(), capture, analysis, asked);
                told.iter_mut().for_each(|text| *text = text.replace("many", "one"));
                (code, told)
            };
            prop_assert_eq!(of(&many), of(&one), "{}", analysis);
        }
    }
}

#[test]
fn what_is_not_asked_for_is_not_read() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let operations: Vec<_> = (0..100).map(|at| (2 * at, 5, at % 2 == 0, 1, at % 16)).collect();
    let whole = of(capture("whole", &operations, 10)).write(place.path(), "whole");
    let damaged = of(capture("whole", &operations, 10)).write(place.path(), "damaged");
    // Calls of 100 to 120 ns: the header of the first page, and the bytes after it.
    let part = damaged.join("syscall/part-000006.parquet");
    let mut bytes = fs::read(&part).expect("a part");
    bytes[4..200].fill(0xff);
    fs::write(&part, bytes).expect("room");
    for analysis in ["summary", "amplification", "latency", "sizes", "heatmap", "footprint", "top"] {
        for asked in [(0, 100), (120, 200), (20, 21)] {
            let of = |capture| told(place.path(), capture, analysis, asked);
            let expected = of(&whole);
            assert_eq!(expected.0, 0, "{:?}", expected.1);
            assert_eq!(of(&damaged), expected, "{analysis} {asked:?}");
        }
        let (code, said) = told(place.path(), &damaged, analysis, (0, 101));
        assert!(code == 1 && said[0].contains("part-000006.parquet"), "{analysis}: {said:?}");
    }
}
