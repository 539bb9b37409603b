//! Results as tables on the terminal.

pub mod fit;

use bytesize::ByteSize;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};
use polars::prelude::*;

use crate::analyses::Results;
use crate::output::one_line;

/// Table on the terminal.
pub struct Shown {
    /// Lines of the table.
    pub text: String,
    /// Whether any number has a [`MARK`].
    pub is_marked: bool,
}

impl Shown {
    /// Explains the mark, if there is one; `file` has bounds of the numbers, if there are any.
    pub fn legend(&self, file: Option<&str>, sampled: bool) -> Option<String> {
        let what = match (sampled, file) {
            (true, _) => "an estimate without bounds".to_owned(),
            (false, None) => "missing events may have changed it".to_owned(),
            (false, Some(file)) => format!("missing events may have changed it; its bounds are in {file} (--out)"),
        };
        self.is_marked.then(|| format!("{MARK} before a number: {what}"))
    }
}

/// Cell of a table.
pub struct Cell {
    /// Text.
    pub text: String,
    /// Whether missing events may have changed it.
    pub is_marked: bool,
}

impl Cell {
    /// Returns its width in characters.
    fn width(&self) -> usize {
        self.text.chars().count() + usize::from(self.is_marked)
    }
}

/// Builds a table with a line above the last `sums` rows. The first `texts` columns are left-aligned. On a terminal it has the columns that fit.
pub fn table(header: &[&str], rows: Vec<Vec<Cell>>, texts: usize, sums: usize) -> Shown {
    let Some(width) = fit::width() else { return whole_table(header, rows, texts, sums, None) };
    let (kept, dropped) = fit::columns(header, &rows, width);
    let texts = kept.iter().filter(|column| **column < texts).count();
    let header: Vec<&str> = kept.iter().map(|column| header[*column]).collect();
    let cells = |row: Vec<Cell>| {
        let mut cells: Vec<Option<Cell>> = row.into_iter().map(Some).collect();
        kept.iter().filter_map(|column| cells.get_mut(*column).and_then(Option::take)).collect()
    };
    let mut shown = whole_table(&header, rows.into_iter().map(cells).collect(), texts, sums, Some(width));
    if !dropped.is_empty() {
        shown
            .text
            .push_str(&format!("\nnot shown on this terminal: {}; --out writes all columns\n", dropped.join(", ")));
    }
    shown
}

/// Builds the table with all columns. Cells are broken where it is wider than `width`.
fn whole_table(header: &[&str], rows: Vec<Vec<Cell>>, texts: usize, sums: usize, width: Option<usize>) -> Shown {
    let mut table = Table::new();
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::try_from(width).unwrap_or(u16::MAX));
    }
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_header(header);
    let is_marked = rows.iter().flatten().any(|cell| cell.is_marked);
    let text = |cell: Cell| if cell.is_marked { format!("{MARK}{}", cell.text) } else { cell.text };
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(text)));
    for column in table.column_iter_mut() {
        let alignment = if column.index < texts { CellAlignment::Left } else { CellAlignment::Right };
        column.set_cell_alignment(alignment);
        if width.is_some() {
            column.set_padding((0, 1));
        }
    }
    let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    if sums > 0 {
        // The style has a line below the header and none before the total.
        lines.insert(lines.len().saturating_sub(sums), lines.get(1).cloned().unwrap_or_default());
    }
    Shown { text: lines.join("\n") + "\n", is_marked }
}

/// Line about the rest of a table of which the first `shown` rows are shown; none if there is no rest.
pub fn rest(rows: usize, shown: usize, (one, more): (&str, &str), file: &str) -> Option<String> {
    let left = rows.checked_sub(shown).filter(|left| *left > 0)?;
    Some(format!("\n{left} more {} in {file} (--out)\n", if left == 1 { one } else { more }))
}

/// Formats bytes per second.
pub fn throughput(bytes_per_s: f64) -> String {
    format!("{}/s", ByteSize(bytes_per_s.max(0.0).round() as u64).display().iec())
}

/// Maximum number of systems on the terminal.
const MOST_SYSTEMS: usize = 1_000;

/// Builds the table of the systems at these positions: all of them, or those with the most operations if there are more than the maximum.
pub fn busiest(results: &Results, table: impl FnOnce(Vec<usize>) -> PolarsResult<Shown>) -> PolarsResult<Shown> {
    let systems = &results.finished.systems;
    let places = systems.busiest(MOST_SYSTEMS);
    let left_out = systems.len() - places.len();
    let mut shown = table(places)?;
    if left_out > 0 {
        shown
            .text
            .push_str(&format!("\n{left_out} systems with fewer operations are not shown; --out writes all rows\n"));
    }
    Ok(shown)
}

/// Builds the table without rows of zeros; their number is below the table. The files of `--out` have them.
pub fn table_but_zeros(header: &[&str], rows: Vec<Vec<Cell>>, texts: usize, sums: usize) -> Shown {
    let last = rows.len().saturating_sub(sums);
    let has_some = |row: &[Cell]| row.iter().skip(texts).any(|cell| !is_nothing(&cell.text));
    let (kept, zeros): (Vec<_>, Vec<_>) =
        rows.into_iter().enumerate().partition(|(at, row)| *at >= last || has_some(row));
    let mut shown = table(header, kept.into_iter().map(|(_, row)| row).collect(), texts, sums);
    if !zeros.is_empty() {
        let rows = if zeros.len() == 1 { "row of zeros is" } else { "rows of zeros are" };
        shown.text.push_str(&format!("\n{} {rows} not shown; --out writes all rows\n", zeros.len()));
    }
    shown
}

/// Whether a cell is zero in any unit, unknown or undefined.
fn is_nothing(text: &str) -> bool {
    let number = text.split(' ').next().unwrap_or_default();
    text == "-" || number.parse::<f64>().is_ok_and(|number| number == 0.0)
}

/// Builds a table from rows of a frame. `columns` has headers and columns; the first `texts` are left-aligned. The suffix of a column name gives
/// the unit.
pub fn listing(frame: &DataFrame, rows: &[usize], columns: &[(&str, &str)], texts: usize) -> PolarsResult<Shown> {
    let cell = |row: usize, column: &str| -> PolarsResult<Cell> {
        Ok(Cell { text: with_unit(column, &frame.column(column)?.get(row)?), is_marked: false })
    };
    let cells = |row: &usize| columns.iter().map(|(_, column)| cell(*row, column)).collect::<PolarsResult<Vec<_>>>();
    let rows = rows.iter().map(cells).collect::<PolarsResult<_>>()?;
    Ok(table_but_zeros(&columns.iter().map(|(header, _)| *header).collect::<Vec<_>>(), rows, texts, 0))
}

/// Returns the first `most` rows of each run of rows with the same values in the columns `of`.
pub fn first_of_each(frame: &DataFrame, of: &[&str], most: usize) -> PolarsResult<Vec<usize>> {
    let (mut rows, mut last, mut number) = (Vec::new(), None, 0);
    for row in 0..frame.height() {
        let values = of.iter().map(|column| Ok(text(&frame.column(column)?.get(row)?)));
        let values = Some(values.collect::<PolarsResult<Vec<String>>>()?);
        number = if last == values { number + 1 } else { 0 };
        last = values;
        rows.extend((number < most).then_some(row));
    }
    Ok(rows)
}

/// Formats a value of a column, in the unit given by the column name.
pub fn with_unit(column: &str, value: &AnyValue) -> String {
    match value {
        AnyValue::UInt64(ns) if column.ends_with("_ns") => duration(*ns),
        AnyValue::UInt64(bytes) if column.ends_with("bytes") => ByteSize(*bytes).display().iec().to_string(),
        AnyValue::String(line) if column == "cmdline" => shortened(line),
        AnyValue::Float64(rate) if column.ends_with("bytes_per_s") => throughput(*rate),
        AnyValue::Float64(share) if column.ends_with("_share") => format!("{:.1} %", share * 100.0),
        value => text(value),
    }
}

/// Maximum length of a command line in a table, in characters.
const COMMAND: usize = 48;

/// Shortens a text.
fn shortened(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(COMMAND) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Mark before a number that missing events may have changed.
const MARK: &str = "~";

/// Whether the printed ratio differs from one of its printed bounds.
pub fn may_have_moved(frame: &DataFrame, row: usize, column: &str) -> PolarsResult<bool> {
    if frame.column(column)?.get(row)?.is_null() {
        return Ok(false);
    }
    let printed = |suffix: &str| Ok(text(&frame.column(&format!("{column}{suffix}"))?.get(row)?));
    let bounds: [PolarsResult<String>; 3] = ["", "_low", "_high"].map(printed);
    let [ratio, low, high] = bounds;
    let ratio = ratio?;
    Ok(ratio != low? || ratio != high?)
}

/// Formats a value: two decimals for ratios, `-` for unknown or undefined.
pub fn text(value: &AnyValue) -> String {
    match value {
        AnyValue::Null => "-".to_owned(),
        AnyValue::Float64(ratio) => format!("{ratio:.2}"),
        AnyValue::String(text) => one_line(text),
        AnyValue::StringOwned(text) => one_line(text),
        other => other.to_string(),
    }
}

/// Formats nanoseconds with three digits in a suitable unit.
pub fn duration(ns: u64) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    let Some((size, unit)) = units.into_iter().find(|(size, _)| ns >= *size) else { return format!("{ns} ns") };
    let value = ns as f64 / size as f64;
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_have_nothing_are_counted_in_place_of_shown() {
        let row = |texts: [&str; 4]| texts.map(|text| Cell { text: text.to_owned(), is_marked: false }).into();
        let rows =
            |first| vec![row(["a", first, "0 B", "-"]), row(["b", "0", "0 ns", "0.00"]), row(["all", "0", "-", "-"])];
        let names = |shown: &Shown| shown.text.lines().skip(2).map(str::trim).map(str::to_owned).collect::<Vec<_>>();
        let shown = table_but_zeros(&["N", "X", "Y", "Z"], rows("1"), 1, 1);
        assert_eq!(names(&shown).len(), 5, "{}", shown.text);
        assert!(shown.text.ends_with("\n1 row of zeros is not shown; --out writes all rows\n"), "{}", shown.text);
        assert!(
            table_but_zeros(&["N", "X", "Y", "Z"], rows("0"), 1, 1).text.contains("\n2 rows of zeros are not shown")
        );
        assert!(
            ["0.0 %", "0", "-", "0 B"].into_iter().all(is_nothing)
                && !["~0.01", "", "read", "1 B"].into_iter().any(is_nothing)
        );
    }

    #[test]
    fn durations_have_three_digits_and_the_unit_that_suits_them() {
        let texts = [0, 999, 1_000, 12_345, 999_999, 1_500_000, 12_000_000_000].map(duration);
        assert_eq!(texts, ["0 ns", "999 ns", "1.00 µs", "12.3 µs", "1000 µs", "1.50 ms", "12.0 s"]);
    }
}
