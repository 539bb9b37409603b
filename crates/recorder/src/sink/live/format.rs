//! Output formats of a row: a line of a table, or a JSON object.

use std::fmt::{self, Display};
use std::io::Write;

use chrono::DateTime;
use iostrata_capture::plain;

use super::Format;
use super::row::Row;

/// Columns of the table.
const HEADER: [&str; 10] = ["TIME", "SYSTEM", "EVENT", "PID", "TID", "COMM", "SIZE", "OFFSET", "LAT(us)", "RET"];

/// One line of the table; texts left-aligned, numbers right-aligned.
macro_rules! columns {
    ($out:expr, $($cell:expr),+) => {
        // Writing to a vector cannot fail.
        drop(writeln!($out, "{:<15} {:<12} {:<20} {:>7} {:>7} {:<15} {:>9} {:>13} {:>10.1} {:>6}", $($cell),+))
    };
}

impl Format {
    /// Appends the header before the first row.
    pub fn header(self, out: &mut Vec<u8>) {
        if self == Format::Text {
            let [time, system, event, pid, tid, comm, size, offset, lat, ret] = HEADER;
            columns!(out, time, system, event, pid, tid, comm, size, offset, Whole(lat), ret);
        }
    }

    /// Appends `row` as a line.
    pub fn row(self, row: &Row, out: &mut Vec<u8>) {
        match self {
            Format::Text => columns!(
                out,
                DateTime::from_timestamp_nanos(row.ts_ns).format("%H:%M:%S%.6f"),
                plain::visible(row.system),
                row.event,
                Known(row.pid),
                Known(row.tid),
                plain::visible(row.comm.unwrap_or("-")),
                Known(row.bytes),
                Known(row.offset_bytes),
                Known(row.lat_ns.map(|ns| ns as f64 / 1e3)),
                row.ret
            ),
            Format::Json => {
                // Fails only on values without a JSON form, which a row does not have.
                let text = serde_json::to_string(row).unwrap_or_default();
                out.extend_from_slice(plain::json(&text).as_bytes());
                out.push(b'\n');
            }
        }
    }
}

/// A value that may be missing, in a column of the formatter's width.
pub struct Known<T>(pub Option<T>);

impl<T: Display> Display for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => Whole("-").fmt(f),
        }
    }
}

/// Text in a column of numbers, which is not truncated by their precision.
struct Whole(&'static str);

impl Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>1$}", self.0, f.width().unwrap_or(0))
    }
}
