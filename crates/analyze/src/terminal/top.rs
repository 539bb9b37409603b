//! Who did most.

use bytesize::ByteSize;
use polars::prelude::*;

use super::{Cell, Shown, duration, text};

/// Headers and the columns of `top.csv` that they show.
const COLUMNS: [(&str, &str); 9] = [
    ("SCOPE", "scope"),
    ("LAYER", "layer"),
    ("NAME", "name"),
    ("ID", "id"),
    ("OPS", "ops"),
    ("READ", "read_bytes"),
    ("WRITTEN", "write_bytes"),
    ("TIME", "time_ns"),
    ("AVG", "avg_ns"),
];

/// How many of each scope and layer are shown.
const SHOWN: usize = 5;

/// The first rows of each scope and layer in `top`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    let (mut rows, mut of, mut number) = (Vec::new(), Vec::new(), 0);
    for row in 0..frame.height() {
        let found = ["scope", "layer"].map(|column| Ok(text(&frame.column(column)?.get(row)?)));
        let found: Vec<String> = found.into_iter().collect::<PolarsResult<_>>()?;
        number = if of == found { number + 1 } else { 0 };
        of = found;
        if number < SHOWN {
            rows.push(cells(frame, row)?);
        }
    }
    Ok(super::table(&COLUMNS.map(|(header, _)| header), rows, 4, 0))
}

fn cells(frame: &DataFrame, row: usize) -> PolarsResult<Vec<Cell>> {
    let cell = |(_, column): &(&str, &str)| {
        let text = match frame.column(column)?.get(row)? {
            AnyValue::UInt64(ns) if column.ends_with("_ns") => duration(ns),
            AnyValue::UInt64(bytes) if column.ends_with("_bytes") => ByteSize(bytes).display().iec().to_string(),
            value => text(&value),
        };
        Ok(Cell { text, is_marked: false })
    };
    COLUMNS.iter().map(cell).collect()
}
