//! Notes on a result.

use iostrata_capture::op::{Layer, Op, Via};

use crate::support::{Capture, run_text};

/// Returns the summary of a capture with these bytes filled, faulted and read by requests.
fn said_of(filled: (Option<Via>, i64), faulted: i64, device: i64) -> String {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = Capture::empty("run", Layer::ALL);
    capture.process(10, 1, "dd", Some("/usr/bin/dd"));
    capture.syscall(100, 1, Op::Read, 1_000, 5_000);
    capture.fs(110, 1, Op::Fill, filled.0, filled.1);
    capture.fs(120, 1, Op::Fault, Some(Via::Mapping), faulted);
    capture.block(130, Some(1), Op::Read, device, 50_000);
    capture.write(place.path(), "run1");
    let (code, out, err) = run_text(place.path(), &["summary", "run1"]);
    assert_eq!((code, err.as_str()), (0, ""));
    out
}

#[test]
fn read_amplification_of_programs_that_start_is_told_as_such() {
    let said = said_of((Some(Via::Mapping), 131_072), 4_096, 131_072);
    let note = "R_AMP 25.72: 100 % of the bytes read into the page cache came through faults of mappings";
    assert!(said.contains(note), "{said}");
    for other in
        [said_of((Some(Via::Call), 131_072), 4_096, 131_072), said_of((Some(Via::Mapping), 131_072), 131_072, 131_072)]
    {
        assert!(!other.contains("faults of mappings"), "{other}");
    }
}
