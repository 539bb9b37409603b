//! Checks of what was imported. There was no recorder, no clock beside the trace's and no counter of the kernel; what a trace leaves out nobody
//! told.

use iostrata_capture::manifest::{Manifest, State};

use super::{Check, Verdict};
use crate::loss::Losses;
use crate::output::count;

/// In place of what is checked of a recording.
pub fn checks(manifest: &Manifest, losses: &Losses) -> Vec<Check> {
    let is_whole = manifest.state == State::Complete;
    let from = manifest.imported_from().unwrap_or_default();
    let (recording, loss) = match is_whole {
        true => (
            (Verdict::Good, from),
            (Verdict::Note, "a trace does not tell what the program lost that took it".to_owned()),
        ),
        false => (
            (Verdict::Bad, format!("{from} that was cut off")),
            (Verdict::Bad, "how much of the trace is missing after its last moment is not known".to_owned()),
        ),
    };
    let requests = manifest.books.accounts.iter().fold(0u64, |sum, account| sum.saturating_add(account.seen));
    let (_, verdict, found) = super::books(manifest, losses);
    let books = match verdict {
        Verdict::Good => format!("{} imported, each a row", count(requests, "request")),
        _ => found,
    };
    let mut checks = vec![
        ("recording", recording.0, recording.1),
        ("loss", loss.0, loss.1),
        ("books", verdict, books),
        ("devices", Verdict::Note, "a trace has no counters of its disks to check its requests against".to_owned()),
    ];
    let unseen = manifest.books.incomplete.unidentified_requests;
    if unseen > 0 {
        let found = format!("{} whose queueing is not in the trace", count(unseen, "request"));
        checks.push(("operations", Verdict::Note, found));
    }
    checks
}
