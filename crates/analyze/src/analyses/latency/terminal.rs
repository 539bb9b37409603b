//! Table of `latency`.

use polars::prelude::*;

use crate::terminal::{Cell, Shown, duration, text};

/// Headers, and columns of `latency.csv`, key columns first.
const COLUMNS: [(&str, &str); 11] = [
    ("SYSTEM", "system"),
    ("LAYER", "layer"),
    ("OP", "op"),
    ("PHASE", "phase"),
    ("COUNT", "count"),
    ("AVG", "avg_ns"),
    ("P50", "p50_ns"),
    ("P90", "p90_ns"),
    ("P99", "p99_ns"),
    ("P99.9", "p999_ns"),
    ("MAX", "max_ns"),
];

/// Builds the table of all rows of `latency`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    let rows = (0..frame.height()).map(|row| cells(frame, row)).collect::<PolarsResult<_>>()?;
    Ok(crate::terminal::table(&COLUMNS.map(|(header, _)| header), rows, 4, 0))
}

fn cells(frame: &DataFrame, row: usize) -> PolarsResult<Vec<Cell>> {
    let marks = text(&frame.column("marks")?.get(row)?);
    let cell = |(_, column): &(&str, &str)| {
        let value = frame.column(column)?.get(row)?;
        let name = column.trim_end_matches("_ns");
        let is_marked = marks.split(' ').any(|mark| mark.trim_end_matches('?') == name);
        Ok(match value {
            AnyValue::UInt64(ns) if column.ends_with("_ns") => Cell { text: duration(ns), is_marked },
            value => Cell { text: text(&value), is_marked },
        })
    };
    COLUMNS.iter().map(cell).collect()
}
