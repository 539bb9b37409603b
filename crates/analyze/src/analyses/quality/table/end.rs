//! Check of the end of an interrupted capture.

use iostrata_capture::Capture;

use super::{Check, Verdict};
use crate::tail::Tail;
use crate::trust;

/// Reports up to when an interrupted capture is complete.
pub fn check(capture: &Capture, tail: &Tail) -> Option<Check> {
    let verdict = if tail.whole_until_ns.is_some() { Verdict::Note } else { Verdict::Bad };
    Some(("end", verdict, trust::tail::found(capture, tail)?))
}
