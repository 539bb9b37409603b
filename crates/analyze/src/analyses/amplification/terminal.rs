//! Table of `amplification`.

use std::cmp::Reverse;

use bytesize::ByteSize;
use polars::prelude::*;

use crate::terminal::{Cell, Shown, may_have_moved, text};

/// Headers, and columns of `amplification.csv`.
const COLUMNS: [(&str, &str); 8] = [
    ("SCOPE", "scope"),
    ("NAME", "name"),
    ("ID", "id"),
    ("DIR", "direction"),
    ("APPLICATION", "application_bytes"),
    ("CACHED", "cached_bytes"),
    ("DEVICE", "device_bytes"),
    ("AMP", "amplification"),
];

/// Maximum number of rows of each scope and direction.
const SHOWN: usize = 10;

/// Builds the table of the largest rows of each scope and direction, with the number of the others.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    let (mut shown, mut more) = (Vec::new(), String::new());
    for ((scope, direction), rows) in by_scope(frame)? {
        for (_, row) in rows.iter().take(SHOWN) {
            shown.push(cells(frame, *row)?);
        }
        if let Some(left @ 1..) = rows.len().checked_sub(SHOWN) {
            more.push_str(&format!(
                "{left} more rows of scope {scope}, {direction}, are in amplification.csv (--out)\n"
            ));
        }
    }
    let mut table = crate::terminal::table(&COLUMNS.map(|(header, _)| header), shown, 4, 0);
    if !more.is_empty() {
        table.text.push_str(&format!("\n{more}"));
    }
    Ok(table)
}

/// Rows of a scope and direction, each with the bytes by which it is sorted.
type Rows = ((String, String), Vec<(u64, usize)>);

/// Groups the rows by scope and direction, in order of the table, largest first.
fn by_scope(frame: &DataFrame) -> PolarsResult<Vec<Rows>> {
    let mut all: Vec<Rows> = Vec::new();
    for row in 0..frame.height() {
        let word = |column: &str| -> PolarsResult<String> { Ok(text(&frame.column(column)?.get(row)?)) };
        let bytes = |column: &str| -> PolarsResult<u64> { Ok(integer(&frame.column(column)?.get(row)?)) };
        let of = (word("scope")?, word("direction")?);
        let greatest = bytes("device_bytes")?.max(bytes("application_bytes")?);
        match all.iter_mut().find(|(known, _)| *known == of) {
            Some((_, rows)) => rows.push((greatest, row)),
            None => all.push((of, vec![(greatest, row)])),
        }
    }
    all.iter_mut().for_each(|(_, rows)| rows.sort_by_key(|(bytes, row)| (Reverse(*bytes), *row)));
    Ok(all)
}

fn integer(value: &AnyValue) -> u64 {
    match value {
        AnyValue::UInt64(number) => *number,
        _ => 0,
    }
}

fn cells(frame: &DataFrame, row: usize) -> PolarsResult<Vec<Cell>> {
    let cell = |(_, column): &(&str, &str)| {
        let value = frame.column(column)?.get(row)?;
        let is_marked = *column == "amplification" && may_have_moved(frame, row, column)?;
        Ok(match value {
            AnyValue::UInt64(bytes) if column.ends_with("_bytes") => {
                Cell { text: ByteSize(bytes).display().iec().to_string(), is_marked }
            }
            value => Cell { text: text(&value), is_marked },
        })
    };
    COLUMNS.iter().map(cell).collect()
}
