//! `about.json`: what each of the written files was made of, and by what.

use std::collections::BTreeMap;

use anyhow::Result;
use iostrata_capture::Capture;
use serde::{Deserialize, Serialize};

use crate::aggregate::Precision;
use crate::aggregate::count::Counts;
use crate::format::Format;
use crate::levels::Wanted;
use crate::options::Analyze;
use crate::output::Directory;
use crate::tables::{self, Results};

/// The name of the file.
pub const FILE_NAME: &str = "about.json";

/// What is known of the files in a directory, by name. A file that is written anew takes the place of what was known of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct About {
    files: BTreeMap<String, Made>,
}

/// What a file was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Made {
    /// [`tables::VERSION`].
    results_version: u32,
    /// The program and its version.
    tool: String,
    /// The analysis.
    analysis: String,
    /// What of the captures was asked for, in words; none where it was all.
    only: Option<String>,
    /// The level of stacked devices that was asked for; none is the lowest of those recorded.
    level: Option<i32>,
    /// Whether all durations were kept.
    exact: bool,
    /// Whether names that a spreadsheet would take for a formula have an apostrophe before them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    safe_csv: bool,
    /// Whether rules were given beside the built-in ones.
    own_rules: bool,
    /// Whether all there is to know is in it.
    complete: bool,
    /// Of tables that are not as they were written, how many rows of how many are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rows_there: Vec<String>,
    captures: Vec<Source>,
}

/// A capture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    capture_id: String,
    schema_version: u32,
    recorder_version: String,
    started_at: String,
}

impl Source {
    /// That which `capture` is.
    pub fn of(capture: &Capture) -> Source {
        Source {
            capture_id: capture.manifest.capture_id.clone(),
            schema_version: capture.manifest.schema_version,
            recorder_version: capture.manifest.recorder_version.clone(),
            started_at: capture.manifest.started_at.clone(),
        }
    }
}

/// The file of `directory` after files of these names were written to it, made of `results`.
///
/// # Errors
/// Where it cannot be made.
pub fn json(directory: &Directory, files: &[String], options: &Analyze, results: &Results) -> Result<Vec<u8>> {
    let is_complete = results.trust.complete && results.finished.doubtful == Counts::default();
    let captures = results.captures.iter().map(Source::of).collect();
    with(directory, files, options, captures, (is_complete, results.trust.rows_there.clone()))
}

/// The file of `directory` after files were written to it that were made of `captures`.
///
/// # Errors
/// Where it cannot be made.
pub fn with(
    directory: &Directory,
    files: &[String],
    options: &Analyze,
    captures: Vec<Source>,
    (complete, rows_there): (bool, Vec<String>),
) -> Result<Vec<u8>> {
    // What is there may be anything, and be of no use.
    let known = directory.read(FILE_NAME);
    let mut about: About = known.and_then(|known| serde_json::from_slice(&known).ok()).unwrap_or_default();
    let made = Made {
        results_version: tables::VERSION,
        tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        analysis: options.analysis.name().to_owned(),
        only: options.selection.words(),
        level: match options.level {
            Wanted::Lowest => None,
            Wanted::Level(level) => Some(level),
        },
        exact: options.precision == Precision::Exact,
        safe_csv: options.format == Format::SafeCsv,
        own_rules: options.rules.is_some(),
        complete,
        rows_there,
        captures,
    };
    about.files.extend(files.iter().map(|file| (file.clone(), made.clone())));
    let mut text = serde_json::to_vec_pretty(&about)?;
    text.push(b'\n');
    Ok(text)
}
