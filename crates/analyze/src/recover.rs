//! The command `recover`: converts incomplete captures to ordinary ones.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use iostrata_capture::Capture;
use iostrata_capture::dir::Dir;
use iostrata_capture::manifest::{Manifest, State};
use iostrata_capture::partitions;
use iostrata_capture::recover::{Recovered, recover};
use iostrata_capture::segment::segments;

use crate::commands::Outcome;
use crate::memory::Budget;
use crate::output::{count, one_line, print};
use crate::tail::Tail;
use crate::trust;

/// Recovers each of `captures`, with all its segments. Prints a line for each segment on `out`, and a line for each unreadable part on `err`.
pub fn run(captures: &[PathBuf], out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    let mut outcome = Outcome::Complete;
    for capture in captures {
        let captures = partitions::captures(&Dir::open(capture)?)?;
        let segments = captures.iter().map(segments).collect::<std::result::Result<Vec<_>, _>>()?;
        for directory in segments.into_iter().flatten() {
            let recovered = recover(&directory)?;
            for error in recovered.iter().flat_map(|recovered| &recovered.unreadable) {
                outcome = Outcome::Incomplete;
                print(err, &format!("{}\n", one_line(&format!("warning: left unchanged: {error}"))))?;
            }
            let end = if recovered.is_some() { end(&directory) } else { None };
            let line = line(&directory, recovered.as_ref()) + &end.map(|end| format!("; {end}")).unwrap_or_default();
            print(out, &format!("{}\n", one_line(&line)))?;
        }
    }
    Ok(outcome)
}

/// Returns the time until which the capture is complete. Read errors are left to the analysis, which reports them.
fn end(directory: &Dir) -> Option<String> {
    let capture = Capture::open(directory).ok()?;
    trust::tail::line(&capture, &Tail::load(&capture, Budget::ANY).ok()?)
}

fn line(directory: &Dir, recovered: Option<&Recovered>) -> String {
    let manifest = Manifest::read(directory).ok().filter(Manifest::is_imported);
    let directory = directory.path().display();
    if let (None, Some(manifest)) = (recovered, manifest) {
        let from = manifest.imported_from().unwrap_or_default();
        return match manifest.state {
            State::Complete => format!("{directory}: nothing to recover, it was {from}"),
            _ => {
                format!("{directory}: nothing to recover, it was {from} that was truncated: import the complete trace")
            }
        };
    }
    let Some(Recovered { parts, unlisted, empty, unreadable, .. }) = recovered else {
        return format!("{directory}: nothing to recover, the recording is complete or was recovered before");
    };
    let rows = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.rows));
    let mut text = format!("{directory}: recovered {} with {}", count(parts.len() as u64, "part"), count(rows, "row"));
    if !unlisted.is_empty() {
        text.push_str(&format!("; {} finished but not listed", count(unlisted.len() as u64, "part")));
    }
    if *empty > 0 {
        text.push_str(&format!("; {} without flushed rows", count(u64::from(*empty), "part")));
    }
    if !unreadable.is_empty() {
        text.push_str(&format!("; {} unreadable", count(unreadable.len() as u64, "part")));
    }
    text
}
