//! The summary as a table for people.

use comfy_table::{CellAlignment, LineStyle, Table, presets};
use polars::prelude::*;

use crate::output::one_line;

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
pub fn table(summary: &DataFrame, total: &DataFrame) -> PolarsResult<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_header(COLUMNS.map(|(header, _)| header));
    for frame in [summary, total] {
        for row in 0..frame.height() {
            table.add_row(cells(frame, row)?);
        }
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(if column.index == 0 { CellAlignment::Left } else { CellAlignment::Right });
    }
    let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    // The style knows one line below the header and none before the total.
    lines.insert(lines.len().saturating_sub(total.height()), lines.get(1).cloned().unwrap_or_default());
    Ok(lines.join("\n") + "\n")
}

fn cells(frame: &DataFrame, row: usize) -> PolarsResult<Vec<String>> {
    let marked = |(_, column): &(&str, &str)| {
        let mark = if may_have_moved(frame, row, column)? { MARK } else { "" };
        Ok(format!("{mark}{}", cell(&frame.column(column)?.get(row)?)))
    };
    COLUMNS.iter().map(marked).collect()
}

/// Before a number that what is missing may have changed.
const MARK: &str = "~";

/// Whether a ratio is printed otherwise than one of its bounds.
fn may_have_moved(frame: &DataFrame, row: usize, column: &str) -> PolarsResult<bool> {
    if !column.ends_with(RATIO) || frame.column(column)?.get(row)?.is_null() {
        return Ok(false);
    }
    let printed = |suffix: &str| Ok(cell(&frame.column(&format!("{column}{suffix}"))?.get(row)?));
    let bounds: [PolarsResult<String>; 3] = ["", "_low", "_high"].map(printed);
    let [ratio, low, high] = bounds;
    let ratio = ratio?;
    Ok(ratio != low? || ratio != high?)
}

/// What a mark means, where one is printed of `frames`.
pub fn legend(frames: &[&DataFrame], sampled: bool) -> PolarsResult<Option<String>> {
    for frame in frames {
        for (_, column) in COLUMNS {
            for row in 0..frame.height() {
                if may_have_moved(frame, row, column)? {
                    let what = match sampled {
                        true => "an estimate, which has no bounds",
                        false => "what is missing may have changed it; its bounds are in summary.csv (--out)",
                    };
                    return Ok(Some(format!("{MARK} before a ratio: {what}")));
                }
            }
        }
    }
    Ok(None)
}

/// One value: two decimals for ratios, `-` for what is not known or not defined.
fn cell(value: &AnyValue) -> String {
    match value {
        AnyValue::Null => "-".to_owned(),
        AnyValue::Float64(ratio) => format!("{ratio:.2}"),
        AnyValue::String(text) => one_line(text),
        AnyValue::StringOwned(text) => one_line(text),
        other => other.to_string(),
    }
}

/// `R_AMP 1.00 to 1.20` of the first row of `total`; a bound that is not known is `?`. `None` of no ratio.
pub fn bounds(total: &DataFrame) -> PolarsResult<Option<String>> {
    let mut parts = Vec::new();
    for (header, column) in COLUMNS.iter().filter(|(_, column)| column.ends_with(RATIO)) {
        if total.column(column)?.get(0)?.is_null() {
            continue;
        }
        let bound = |suffix: &str| -> PolarsResult<String> {
            Ok(cell(&total.column(&format!("{column}{suffix}"))?.get(0)?).replace('-', "?"))
        };
        parts.push(format!("{header} {} to {}", bound("_low")?, bound("_high")?));
    }
    Ok((!parts.is_empty()).then(|| parts.join(", ")))
}
