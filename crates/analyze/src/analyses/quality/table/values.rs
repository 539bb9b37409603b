//! Check of invalid values in rows.

use super::{Check, Verdict};
use crate::output::count;
use crate::partial::Finished;

/// Checks values and their sums.
pub fn check(finished: &Finished) -> Check {
    let checked = &finished.checked;
    let ignored = checked.ignored().map(|ignored| format!("invalid, ignored: {ignored}"));
    let found: Vec<String> = ignored.into_iter().chain(checked.overflown()).collect();
    match found.as_slice() {
        [] => ("values", Verdict::Good, format!("no invalid values in {}", count(finished.rows, "row"))),
        found => ("values", Verdict::Bad, found.join("; ")),
    }
}
