//! Operations and amplification by system.

use polars::prelude::*;

use super::{Cell, Shown, may_have_moved, text};

/// Headers and the columns of `summary.csv` that they show.
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

/// How the names of columns end that are ratios.
const RATIO: &str = "_amp_bytes";

/// The rows of `summary` and, below a line, those of `total`.
pub fn table(summary: &DataFrame, total: &DataFrame) -> PolarsResult<Shown> {
    let mut rows = Vec::new();
    for frame in [summary, total] {
        for row in 0..frame.height() {
            rows.push(cells(frame, row)?);
        }
    }
    Ok(super::table(&COLUMNS.map(|(header, _)| header), rows, 1, total.height()))
}

fn cells(frame: &DataFrame, row: usize) -> PolarsResult<Vec<Cell>> {
    let cell = |(_, column): &(&str, &str)| {
        let is_marked = column.ends_with(RATIO) && may_have_moved(frame, row, column)?;
        Ok(Cell { text: text(&frame.column(column)?.get(row)?), is_marked })
    };
    COLUMNS.iter().map(cell).collect()
}

/// `R_AMP 1.00 to 1.20` of the first row of `total`; a bound that is not known is `?`. `None` of no ratio.
pub fn bounds(total: &DataFrame) -> PolarsResult<Option<String>> {
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
