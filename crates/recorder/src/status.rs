//! `iostrata status`: status of a recording, queried by another process.

use std::path::Path;

use anyhow::Result;
use iostrata_capture::capture::Lock;
use iostrata_capture::dir::Dir;
use iostrata_capture::manifest::{Manifest, State};
use iostrata_capture::plain;
use iostrata_capture::segment::segments;

use crate::health::Health;
use crate::metrics;
use crate::socket;

/// Format of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFormat {
    /// Text output.
    Text,
    /// One JSON object.
    Json,
    /// All metrics in the text format of Prometheus.
    Prometheus,
}

/// Exit code of a recording with problems.
const ILL: u8 = 3;

/// Exit code if nothing is being recorded.
const OVER: u8 = 4;

/// Status text of the capture in `directory`, and the exit code.
///
/// # Errors
/// If it is not a capture, or its recorder does not answer.
pub fn run(directory: &Path, format: StatusFormat) -> Result<(String, u8)> {
    let directory = Dir::open(directory)?;
    match socket::ask(&directory)? {
        Some(health) => Ok((shown(&health, format)?, if health.complaints().is_empty() { 0 } else { ILL })),
        None => over(&directory).map(|text| (text, OVER)),
    }
}

fn shown(health: &Health, format: StatusFormat) -> Result<String> {
    match format {
        StatusFormat::Text => Ok(health.text()),
        StatusFormat::Json => Ok(plain::json(&serde_json::to_string(health)?).into_owned() + "\n"),
        StatusFormat::Prometheus => metrics::text(&health.metrics),
    }
}

fn over(directory: &Dir) -> Result<String> {
    let newest = segments(directory)?.pop().unwrap_or_else(|| directory.clone());
    let manifest = Manifest::read(&newest)?;
    if let Some(from) = manifest.imported_from() {
        return Ok(format!("{}: not a recording: it was {from}\n", newest.path().display()));
    }
    let how = match manifest.state {
        State::Complete => format!(
            "the recording ended at {} ({})",
            manifest.stopped_at.as_deref().unwrap_or("an unknown time"),
            manifest.stop_reason.as_deref().unwrap_or("unknown reason")
        ),
        State::Recovered => "the recording was interrupted and recovered".to_owned(),
        State::Recording if Lock::is_taken(&newest) => "the recorder is starting or stopping".to_owned(),
        State::Recording => {
            "the recording was interrupted: continue with `record --resume`, repair with `iostrata-analyze recover`"
                .to_owned()
        }
    };
    Ok(format!("{}: not being recorded: {how}\n", newest.path().display()))
}
