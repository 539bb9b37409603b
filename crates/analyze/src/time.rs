//! Formatting and parsing of times.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use iostrata_capture::Capture;

/// Returns the wall-clock time at `ts_ns` of `capture`, in milliseconds, in UTC (RFC 3339).
pub fn utc(capture: &Capture, ts_ns: i64) -> String {
    DateTime::from_timestamp_nanos(capture.wall.at(ts_ns)).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Formats a time from a manifest in the same format; none if it is invalid.
pub fn utc_of(text: &str) -> Option<String> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Parses the length of a time window.
pub fn window(typed: &str) -> Result<Duration, String> {
    let window =
        humantime::parse_duration(typed).ok().filter(|window| i64::try_from(window.as_nanos()).is_ok_and(|ns| ns > 0));
    window.ok_or_else(|| "expected a duration above zero, such as 1s or 100ms".to_owned())
}
