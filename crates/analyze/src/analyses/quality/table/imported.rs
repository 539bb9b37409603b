//! Checks of imported traces. They have no recorder, no clock but that of the trace and no kernel counters; what a trace omits is
//! not known.

use iostrata_capture::manifest::{Manifest, State};

use super::{Check, Verdict};
use crate::loss::Losses;
use crate::output::count;

/// Checks in place of those of a recording.
pub fn checks(manifest: &Manifest, losses: &Losses) -> Vec<Check> {
    let is_whole = manifest.state == State::Complete;
    let from = manifest.imported_from().unwrap_or_default();
    let (recording, loss) = match is_whole {
        true => (
            (Verdict::Good, from),
            (Verdict::Note, "a trace does not record the losses of the program that made it".to_owned()),
        ),
        false => (
            (Verdict::Bad, format!("{from} that was truncated")),
            (Verdict::Bad, "losses after the end of the truncated trace are unknown".to_owned()),
        ),
    };
    let requests = manifest.books.accounts.iter().fold(0u64, |sum, account| sum.saturating_add(account.seen));
    let (_, verdict, found) = super::books(manifest, losses);
    let books = match verdict {
        Verdict::Good => format!("{} imported, one row each", count(requests, "request")),
        _ => found,
    };
    let mut checks = vec![
        ("recording", recording.0, recording.1),
        ("loss", loss.0, loss.1),
        ("books", verdict, books),
        ("devices", Verdict::Note, "a trace has no device counters to check its requests against".to_owned()),
    ];
    let unseen = manifest.books.incomplete.unidentified_requests;
    if unseen > 0 {
        let found = format!("{} without queueing in the trace", count(unseen, "request"));
        checks.push(("operations", Verdict::Note, found));
    }
    checks
}
