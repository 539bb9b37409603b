//! Whether captures can be trusted.

use polars::prelude::*;

use super::{Cell, Shown, text};
use crate::tables::quality::Verdict;

/// Headers and the columns of `quality.csv` that they show.
const COLUMNS: [(&str, &str); 4] =
    [("CAPTURE", "capture"), ("CHECK", "check"), ("VERDICT", "verdict"), ("FOUND", "found")];

/// How much of the id of a capture is shown.
const ID_LETTERS: usize = 8;

/// The rows of `quality`, and what they come to.
pub fn table(frame: &DataFrame, worst: Verdict) -> PolarsResult<Shown> {
    let rows = (0..frame.height()).map(|row| cells(frame, row)).collect::<PolarsResult<_>>()?;
    let mut table = super::table(&COLUMNS.map(|(header, _)| header), rows, COLUMNS.len(), 0);
    table.text.push_str(match worst {
        Verdict::Good => "\nIt can be trusted.\n",
        Verdict::Note => "\nIt can be trusted, with what is noted.\n",
        Verdict::Bad => "\nDo not publish numbers from it without what is bad beside them.\n",
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
