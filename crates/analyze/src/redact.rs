//! The command `redact`: removes arguments from the command lines in captures.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use iostrata_capture::dir::{Dir, Undo};
use iostrata_capture::partitions;
use iostrata_capture::redact::{Finished, Redacted};
use iostrata_capture::segment::segments;

use crate::commands::Outcome;
use crate::output::{count, one_line, print};

/// Options of a redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redact {
    /// Captures, with all their segments.
    pub captures: Vec<PathBuf>,
    /// Number of words to keep of each command line; the first is the program name.
    pub words: usize,
}

/// Rewrites each capture and prints a line for each segment on `out`. If one capture is not accessible, none is changed.
pub fn run(redact: &Redact, out: &mut dyn Write) -> Result<Outcome> {
    let (mut directories, mut undo) = (Vec::new(), Vec::new());
    for capture in &redact.captures {
        for directory in partitions::captures(&Dir::open(capture)?)? {
            undo.push(directory.undoable());
            directories.extend(segments(&directory)?);
        }
    }
    let finished = directories.iter().map(Finished::take).collect::<Result<Vec<_>, _>>()?;
    for (directory, finished) in directories.iter().zip(&finished) {
        let redacted = finished.redact(redact.words)?;
        print(out, &format!("{}\n", one_line(&line(directory, redacted, redact.words))))?;
    }
    undo.iter().for_each(Undo::keep);
    Ok(Outcome::Complete)
}

fn line(directory: &Dir, Redacted { rows, changed, parts, unfinished }: Redacted, words: usize) -> String {
    let directory = directory.path().display();
    let left = match words {
        0 => "nothing".to_owned(),
        1 => "the program name".to_owned(),
        words => format!("the program name and {}", count(words as u64 - 1, "word")),
    };
    let mut text = match changed {
        0 => format!("{directory}: nothing to rewrite: no command line in {} has more than {left}", count(rows, "row")),
        _ => format!(
            "{directory}: rewrote {}: {changed} command lines in {} now have {left}",
            count(parts, "part"),
            count(rows, "row")
        ),
    };
    if unfinished > 0 {
        text.push_str(&format!("; removed {} that were never finished", count(unfinished, "part")));
    }
    text
}
