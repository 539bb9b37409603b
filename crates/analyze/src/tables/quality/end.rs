//! Whether the end of a capture is whole.

use iostrata_capture::Capture;

use super::{Check, Verdict};
use crate::tail::Tail;
use crate::trust;

/// Up to when a capture that was cut off is whole.
pub fn check(capture: &Capture, tail: &Tail) -> Option<Check> {
    let verdict = if tail.whole_until_ns.is_some() { Verdict::Note } else { Verdict::Bad };
    Some(("end", verdict, trust::tail::found(capture, tail)?))
}
