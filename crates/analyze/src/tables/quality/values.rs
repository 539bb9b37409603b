//! Values of rows that cannot be true.

use super::{Check, Verdict};
use crate::output::count;
use crate::partial::Finished;

/// Whether values, and what they come to, can be true.
pub fn check(finished: &Finished) -> Check {
    let checked = &finished.checked;
    let ignored = checked.ignored().map(|ignored| format!("cannot be true, and ignored: {ignored}"));
    let found: Vec<String> = ignored.into_iter().chain(checked.overflown()).collect();
    match found.as_slice() {
        [] => (
            "values",
            Verdict::Good,
            format!("none of {} has a value that cannot be true", count(finished.rows, "row")),
        ),
        found => ("values", Verdict::Bad, found.join("; ")),
    }
}
