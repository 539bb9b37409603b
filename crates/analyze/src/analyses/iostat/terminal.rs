//! Table of `iostat`, with the headers of `iostat -x`.

use anyhow::Result;
use iostrata_capture::Capture;
use polars::prelude::*;

use super::table::TABLE;
use crate::terminal::{Cell, Shown, rest, text};
use crate::time;

/// Headers, columns of `iostat.csv`, and the units of these headers.
const COLUMNS: [(&str, &str, f64); 15] = [
    ("r/s", "reads_per_s", 1.0),
    ("w/s", "writes_per_s", 1.0),
    ("rkB/s", "read_bytes_per_s", 1024.0),
    ("wkB/s", "write_bytes_per_s", 1024.0),
    ("%rrqm", "read_merged_share", 0.01),
    ("%wrqm", "write_merged_share", 0.01),
    ("r_await", "read_avg_ns", 1e6),
    ("w_await", "write_avg_ns", 1e6),
    ("rareq-sz", "read_avg_bytes", 1024.0),
    ("wareq-sz", "write_avg_bytes", 1024.0),
    ("d/s", "discards_per_s", 1.0),
    ("f/s", "flushes_per_s", 1.0),
    ("f_await", "flush_avg_ns", 1e6),
    ("aqu-sz", "avg_in_flight", 1.0),
    ("%util", "utilization", 0.01),
];

/// Maximum number of rows.
const SHOWN: usize = 120;

/// Builds the table of the first windows, with the number of the other rows. Times are those of the first capture.
pub fn table(frame: &DataFrame, captures: &[Capture]) -> Result<Shown> {
    let shown = frame.height().min(SHOWN);
    let mut rows = Vec::with_capacity(shown);
    let since: Vec<i64> = frame.column("since_ns")?.i64()?.iter().take(shown).map(Option::unwrap_or_default).collect();
    let times = time::column(captures.first(), &since);
    // Disks of several machines may have one name.
    let has_hosts = frame.column("host")?.n_unique()? > 1;
    for (row, time) in times.into_iter().enumerate() {
        let cell = |text| Cell { text, is_marked: false };
        let host = frame.column("host")?.get(row)?;
        let mut cells = vec![cell(time), cell(text(&frame.column("name")?.get(row)?))];
        if has_hosts {
            cells.push(cell(text(&host)));
        }
        for (_, column, unit) in COLUMNS {
            let value = frame.column(column)?.get(row)?.extract::<f64>();
            cells.push(cell(value.map_or_else(|| "-".to_owned(), |value| format!("{:.2}", value / unit))));
        }
        rows.push(cells);
    }
    let hosts = if has_hosts { &["SINCE", "DEVICE", "HOST"][..] } else { &["SINCE", "DEVICE"] };
    let headers: Vec<&str> = hosts.iter().copied().chain(COLUMNS.map(|(header, ..)| header)).collect();
    let mut table = crate::terminal::table(&headers, rows, hosts.len(), 0);
    table.text.extend(rest(frame.height(), SHOWN, ("row is", "rows are"), &TABLE.file()));
    Ok(table)
}
