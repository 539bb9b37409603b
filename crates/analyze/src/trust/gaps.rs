//! Gaps between segments of a capture, during which nothing was recorded.

use iostrata_capture::Capture;
use iostrata_capture::manifest::Manifest;

use crate::time::{utc, utc_of};

/// Returns a line for each gap before a segment of `captures` that continues another one of them.
pub fn lines(captures: &[Capture]) -> impl Iterator<Item = String> {
    let before = |manifest: &Manifest| {
        let id = manifest.continues.as_ref()?;
        captures.iter().find(|capture| capture.manifest.capture_id == *id)
    };
    captures.iter().filter_map(move |capture| {
        let (from, until) = (end(before(&capture.manifest)?)?, utc_of(&capture.manifest.started_at)?);
        Some(format!("not recorded: from {from} to {until}, before {} continued", capture.directory.display()))
    })
}

/// Returns the end of a recording; if it was interrupted, the time up to which it is complete, or the last time in a finished part.
fn end(capture: &Capture) -> Option<String> {
    match &capture.manifest.stopped_at {
        Some(stopped_at) => utc_of(stopped_at),
        None => capture.whole_until_ns.or(capture.list.last_ts_ns()).map(|ts_ns| utc(capture, ts_ns)),
    }
}
