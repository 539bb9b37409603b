//! Notes on the end of a capture that was interrupted, or is still being recorded.

use iostrata_capture::Capture;
use iostrata_capture::manifest::State;

use super::about;
use crate::output::count;
use crate::tail::Tail;
use crate::time::utc;

/// Returns a line for each incomplete one of `captures`.
pub fn lines(captures: &[Capture], tails: &[Tail]) -> Vec<String> {
    let lines = captures.iter().zip(tails).filter_map(|(capture, tail)| Some((capture, line(capture, tail)?)));
    lines.map(|(capture, line)| format!("{}{line}", about(captures, capture))).collect()
}

/// Returns the time up to which an incomplete capture is complete, and the number of rows that are excluded.
pub fn line(capture: &Capture, tail: &Tail) -> Option<String> {
    let what = if tail.whole_until_ns.is_some() { "excluded" } else { "not known" };
    Some(format!("{what}: {}", found(capture, tail)?))
}

/// Returns the same without the prefix.
pub fn found(capture: &Capture, tail: &Tail) -> Option<String> {
    if capture.manifest.state == State::Complete {
        return None;
    }
    // A trace has neither several tables nor a recorder that counts losses.
    let is_imported = capture.manifest.is_imported();
    let Some(until_ns) = tail.whole_until_ns else {
        let what = match is_imported {
            true => "the time up to which the trace is complete",
            false => {
                "the time up to which the capture is complete; the rows of some CPUs and tables may end earlier than those of others"
            }
        };
        return Some(what.to_owned());
    };
    let rows = count(tail.rows, "row");
    let why = match is_imported {
        true => "up to then the trace is complete",
        false => "up to then the capture is complete for all CPUs and layers, except for events counted as lost",
    };
    Some(format!("{rows} that ended after {}: {why}", utc(capture, until_ns)))
}
