//! `about.json`: provenance of each written file.

use std::collections::BTreeMap;

use anyhow::Result;
use iostrata_capture::Capture;
use serde::{Deserialize, Serialize};

use crate::aggregate::Precision;
use crate::aggregate::count::Counts;
use crate::analyses::{self, Results};
use crate::format::Format;
use crate::options::Analyze;
use crate::output::Directory;
use crate::stacking::Wanted;

/// Name of the file.
pub const FILE_NAME: &str = "about.json";

/// Known provenance of the files in a directory, by name. A rewritten file replaces its entry.
#[derive(Debug, Default, Serialize, Deserialize)]
struct About {
    files: BTreeMap<String, Made>,
}

/// Provenance of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Made {
    /// Version of the tables, [`analyses::VERSION`].
    results_version: u32,
    /// Program and version.
    tool: String,
    /// Analysis.
    analysis: String,
    /// Filters in words; none if there were none.
    only: Option<String>,
    /// Requested level of stacked devices; none is the lowest of those recorded.
    level: Option<i32>,
    /// Whether all durations were kept for exact percentiles.
    exact: bool,
    /// Whether names that a spreadsheet would read as formulas have an apostrophe before them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    safe_csv: bool,
    /// Whether rules were given in addition to the built-in ones.
    own_rules: bool,
    /// Whether the result is complete.
    complete: bool,
    /// Present and expected row counts of tables that are not as they were written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rows_there: Vec<String>,
    captures: Vec<Source>,
}

/// Identity of a capture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    capture_id: String,
    schema_version: u32,
    recorder_version: String,
    started_at: String,
}

impl Source {
    /// Returns the identity of `capture`.
    pub fn of(capture: &Capture) -> Source {
        Source {
            capture_id: capture.manifest.capture_id.clone(),
            schema_version: capture.manifest.schema_version,
            recorder_version: capture.manifest.recorder_version.clone(),
            started_at: capture.manifest.started_at.clone(),
        }
    }
}

/// Returns the content of the file of `directory` after files of these names, made from `results`, were written to it.
///
/// # Errors
/// If it cannot be serialized.
pub fn json(directory: &Directory, files: &[String], options: &Analyze, results: &Results) -> Result<Vec<u8>> {
    let is_complete = results.trust.complete && results.finished.doubtful == Counts::default();
    let captures = results.captures.iter().map(Source::of).collect();
    with(directory, files, options, captures, (is_complete, results.trust.rows_there.clone()))
}

/// Returns the content of the file of `directory` after files made from `captures` were written to it.
///
/// # Errors
/// If it cannot be serialized.
pub fn with(
    directory: &Directory,
    files: &[String],
    options: &Analyze,
    captures: Vec<Source>,
    (complete, rows_there): (bool, Vec<String>),
) -> Result<Vec<u8>> {
    // An existing file may have any content; an unreadable one is replaced.
    let known = directory.read(FILE_NAME);
    let mut about: About = known.and_then(|known| serde_json::from_slice(&known).ok()).unwrap_or_default();
    let made = Made {
        results_version: analyses::VERSION,
        tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        analysis: options.analysis.name.to_owned(),
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
