//! Table of `timeline`.

use iostrata_capture::Capture;
use polars::prelude::*;

use super::table::TABLE;
use crate::terminal::{Cell, Shown, rest, with_unit};
use crate::time;

/// Headers, and columns of `timeline.csv`.
const COLUMNS: [(&str, &str); 11] = [
    ("SYS_R", "syscall_read_bytes"),
    ("SYS_W", "syscall_write_bytes"),
    ("BLK_R", "block_read_bytes"),
    ("BLK_W", "block_write_bytes"),
    ("BLK_R_OPS", "block_read_ops"),
    ("BLK_W_OPS", "block_write_ops"),
    ("R_P99", "block_read_p99_ns"),
    ("W_P99", "block_write_p99_ns"),
    ("IN_FLIGHT", "block_in_flight"),
    ("W_AMP", "write_amp_bytes"),
    ("LOST", "lost_events"),
];

/// Maximum number of windows.
const SHOWN: usize = 60;

/// Builds the table of the first windows, with the number of the others. Times are those of the first capture.
pub fn table(frame: &DataFrame, captures: &[Capture]) -> PolarsResult<Shown> {
    let shown = frame.height().min(SHOWN);
    let since = frame.column("since_ns")?.u64()?.iter().take(shown);
    let since: Vec<i64> = since.map(|ns| ns.and_then(|ns| i64::try_from(ns).ok()).unwrap_or(i64::MAX)).collect();
    let times = time::column(captures.first(), &since);
    let mut rows = Vec::with_capacity(shown);
    for (row, time) in times.into_iter().enumerate() {
        let mut cells = vec![Cell { text: time, is_marked: false }];
        for (_, column) in COLUMNS {
            let text = with_unit(column, &frame.column(column)?.get(row)?);
            cells.push(Cell { text, is_marked: false });
        }
        rows.push(cells);
    }
    let headers: Vec<&str> = ["SINCE"].into_iter().chain(COLUMNS.map(|(header, _)| header)).collect();
    let mut table = crate::terminal::table(&headers, rows, 1, 0);
    table.text.extend(rest(frame.height(), SHOWN, ("window is", "windows are"), &TABLE.file()));
    Ok(table)
}
