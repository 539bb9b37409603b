//! Table of `sizes`.

use polars::prelude::*;

use crate::terminal::{Cell, Shown, with_unit};

/// Headers, and columns of `sizes.csv`.
const COLUMNS: [(&str, &str); 10] = [
    ("LAYER", "layer"),
    ("DIR", "direction"),
    ("SIZE ≤", "to_bytes"),
    ("OPS", "ops"),
    ("SHARE", "ops_share"),
    ("BYTES", "bytes"),
    ("BIOS/REQ", "bios_per_request"),
    ("AVG", "avg_ns"),
    ("P50", "p50_ns"),
    ("P99", "p99_ns"),
];

/// Builds the table of all rows of `sizes`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    let rows = (0..frame.height()).map(|row| cells(frame, row)).collect::<PolarsResult<_>>()?;
    Ok(crate::terminal::table(&COLUMNS.map(|(header, _)| header), rows, 2, 0))
}

fn cells(frame: &DataFrame, row: usize) -> PolarsResult<Vec<Cell>> {
    let has_moved = !frame.column("marks")?.get(row)?.is_null();
    let cell = |(_, column): &(&str, &str)| {
        let is_marked = has_moved && column.starts_with('p');
        let text = with_unit(column, &frame.column(column)?.get(row)?);
        Ok(Cell { is_marked: is_marked && text != "-", text })
    };
    COLUMNS.iter().map(cell).collect()
}
