//! Moments in words.

use chrono::{DateTime, SecondsFormat};
use iostrata_capture::Capture;

/// What the wall clock said at `ts_ns` of `capture`, to the millisecond, in UTC (RFC 3339).
pub fn utc(capture: &Capture, ts_ns: i64) -> String {
    DateTime::from_timestamp_nanos(capture.wall.at(ts_ns)).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The same of a time that is written in a manifest; none where it is no time.
pub fn utc_of(text: &str) -> Option<String> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
}
