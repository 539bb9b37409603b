//! Table of `quality`, with the verdict.

use polars::prelude::*;

use crate::analyses::quality::Verdict;
use crate::terminal::{Cell, Shown, text};

/// Headers, and columns of `quality.csv`.
const COLUMNS: [(&str, &str); 4] =
    [("CAPTURE", "capture"), ("CHECK", "check"), ("VERDICT", "verdict"), ("FOUND", "found")];

/// Length of the shown prefix of a capture id.
const ID_LETTERS: usize = 8;

/// Builds the table of all rows of `quality`, with the worst verdict.
pub fn table(frame: &DataFrame, worst: Verdict) -> PolarsResult<Shown> {
    let rows = (0..frame.height()).map(|row| cells(frame, row)).collect::<PolarsResult<_>>()?;
    let mut table = crate::terminal::table(&COLUMNS.map(|(header, _)| header), rows, COLUMNS.len(), 0);
    table.text.push_str(match worst {
        Verdict::Good => "\nVerdict: reliable.\n",
        Verdict::Note => "\nVerdict: reliable; report the notes with any number.\n",
        Verdict::Bad => "\nVerdict: not reliable; report the failed checks with any number.\n",
    });
    Ok(table)
}

fn cells(frame: &DataFrame, row: usize) -> PolarsResult<Vec<Cell>> {
    let cell = |(_, column): &(&str, &str)| {
        let text = match (*column, frame.column(column)?.get(row)?) {
            ("capture", AnyValue::Null) => "all".to_owned(),
            ("capture", value) => text(&value).chars().take(ID_LETTERS).collect(),
            (_, value) => text(&value),
        };
        Ok(Cell { text, is_marked: false })
    };
    COLUMNS.iter().map(cell).collect()
}
