//! What happened between two segments of a capture is nowhere.

use chrono::{DateTime, SecondsFormat, Utc};
use iostrata_capture::Capture;
use iostrata_capture::manifest::Manifest;

/// A line for each gap before a segment of `captures` that continues another one of them.
pub fn lines(captures: &[Capture]) -> impl Iterator<Item = String> {
    let before = |manifest: &Manifest| {
        let id = manifest.continues.as_ref()?;
        captures.iter().find(|capture| capture.manifest.capture_id == *id)
    };
    captures.iter().filter_map(move |capture| {
        let (from, until) = (end(before(&capture.manifest)?)?, time(&capture.manifest.started_at)?);
        let [from, until] = [from, until].map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
        Some(format!("not recorded: from {from} to {until}, before {} went on", capture.directory.display()))
    })
}

/// When a recording ended; where it was cut off, the last moment that a finished part tells of.
fn end(capture: &Capture) -> Option<DateTime<Utc>> {
    match &capture.manifest.stopped_at {
        Some(stopped_at) => time(stopped_at),
        None => capture.list.last_ts_ns().map(DateTime::from_timestamp_nanos),
    }
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}
