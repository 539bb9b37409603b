//! Formatting and parsing of times.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use iostrata_capture::Capture;

use crate::terminal::fit;

/// Returns the wall-clock time at `ts_ns` of `capture`, in milliseconds, in UTC (RFC 3339).
pub fn utc(capture: &Capture, ts_ns: i64) -> String {
    DateTime::from_timestamp_nanos(capture.wall.at(ts_ns)).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Formats times for the first column of a table: on a terminal without the date, if all are of one day.
pub fn column(capture: Option<&Capture>, times_ns: &[i64]) -> Vec<String> {
    let text = |ns: &i64| capture.map_or_else(|| ns.to_string(), |capture| utc(capture, *ns));
    let texts: Vec<String> = times_ns.iter().map(text).collect();
    // 2026-11-22T09:28:09.000Z
    let date = |text: &String| text.get(..11).map(str::to_owned);
    let is_one_day =
        texts.windows(2).all(|pair| date(&pair[0]) == date(&pair[1])) && texts.iter().all(|text| text.len() == 24);
    match fit::width() {
        Some(_) if is_one_day => {
            let end = if texts.iter().all(|text| text.ends_with(".000Z")) { 19 } else { 23 };
            texts.iter().filter_map(|text| text.get(11..end).map(str::to_owned)).collect()
        }
        _ => texts,
    }
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
