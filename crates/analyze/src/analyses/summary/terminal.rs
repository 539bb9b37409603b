//! Table of `summary`: operations and amplification by system.

use polars::prelude::*;

use crate::terminal::{Cell, Shown, may_have_moved, text};

/// Headers, and columns of `summary.csv`.
const COLUMNS: [(&str, &str); 9] = [
    ("SYSTEM", "system"),
    ("SYS_R", "syscall_read_ops"),
    ("SYS_W", "syscall_write_ops"),
    ("VFS_R", "vfs_read_ops"),
    ("VFS_W", "vfs_write_ops"),
    ("BLK_R", "block_read_ops"),
    ("BLK_W", "block_write_ops"),
    ("R_AMP", "read_amp_bytes"),
    ("W_AMP", "write_amp_bytes"),
];

/// Suffix of the columns with ratios.
const RATIO: &str = "_amp_bytes";

/// Builds the table of all rows of `summary`, with a line above the total, which is the last row.
pub fn table(summary: &DataFrame) -> PolarsResult<Shown> {
    let rows = (0..summary.height()).map(|row| cells(summary, row)).collect::<PolarsResult<_>>()?;
    Ok(crate::terminal::table_but_zeros(&COLUMNS.map(|(header, _)| header), rows, 1, 1))
}

fn cells(frame: &DataFrame, row: usize) -> PolarsResult<Vec<Cell>> {
    let cell = |(_, column): &(&str, &str)| {
        let is_marked = column.ends_with(RATIO) && may_have_moved(frame, row, column)?;
        Ok(Cell { text: text(&frame.column(column)?.get(row)?), is_marked })
    };
    COLUMNS.iter().map(cell).collect()
}

/// Returns the bounds of the ratios of the total, which is the last row of `summary`, such as `R_AMP 1.00 to 1.20`; an unknown bound is `?`. `None`
/// if there is no ratio.
pub fn bounds(summary: &DataFrame) -> PolarsResult<Option<String>> {
    let total = summary.tail(Some(1));
    let mut parts = Vec::new();
    for (header, column) in COLUMNS.iter().filter(|(_, column)| column.ends_with(RATIO)) {
        if total.column(column)?.get(0)?.is_null() {
            continue;
        }
        let bound = |suffix: &str| -> PolarsResult<String> {
            Ok(text(&total.column(&format!("{column}{suffix}"))?.get(0)?).replace('-', "?"))
        };
        parts.push(format!("{header} {} to {}", bound("_low")?, bound("_high")?));
    }
    Ok((!parts.is_empty()).then(|| parts.join(", ")))
}
