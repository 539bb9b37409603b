//! Tables of the page: selected rows and columns of the table files.

use anyhow::Result;
use serde::Serialize;

use super::read::Rows;
use crate::format::Format;
use crate::tables::top::By;
use crate::tables::{Results, Table};
use crate::terminal::with_unit;

/// A table of the page.
#[derive(Debug, Serialize)]
pub struct Listing {
    title: String,
    /// File with the complete table.
    file: String,
    /// Column heads. The first `texts` columns are text, the others numbers.
    header: Vec<&'static str>,
    texts: usize,
    rows: Vec<Vec<String>>,
    /// Number of rows that only the file has.
    more: usize,
}

/// Selection of rows and columns of a table.
struct Choice {
    title: &'static str,
    table: Table,
    /// Column and text of the rows to show.
    only: Option<(&'static str, &'static str)>,
    /// Sort column, in descending order.
    by: Option<&'static str>,
    most: usize,
    columns: &'static [(&'static str, &'static str)],
    texts: usize,
}

const CHOICES: [Choice; 7] = [
    Choice {
        title: "Systems",
        table: Table::Summary,
        only: None,
        by: Some("total_ops"),
        most: 20,
        columns: &[
            ("system", "system"),
            ("application reads", "syscall_read_bytes"),
            ("application writes", "syscall_write_bytes"),
            ("device reads", "block_read_bytes"),
            ("device writes", "block_write_bytes"),
            ("read amp.", "read_amp_bytes"),
            ("write amp.", "write_amp_bytes"),
            ("operations", "total_ops"),
        ],
        texts: 1,
    },
    Choice {
        title: "Latency",
        table: Table::Latency,
        only: Some(("phase", "total")),
        by: Some("count"),
        most: 20,
        columns: &[
            ("system", "system"),
            ("layer", "layer"),
            ("operation", "op"),
            ("count", "count"),
            ("avg", "avg_ns"),
            ("p50", "p50_ns"),
            ("p99", "p99_ns"),
            ("p99.9", "p999_ns"),
            ("max", "max_ns"),
            ("marks", "marks"),
        ],
        texts: 3,
    },
    Choice {
        title: "Sync calls",
        table: Table::Sync,
        only: None,
        by: Some("total_ns"),
        most: 10,
        columns: &[
            ("scope", "scope"),
            ("name", "name"),
            ("call", "op"),
            ("count", "ops"),
            ("p50", "p50_ns"),
            ("p99", "p99_ns"),
            ("data", "data_bytes"),
            ("journal", "journal_bytes"),
            ("journal commits", "commits"),
            ("device flushes", "device_flushes"),
        ],
        texts: 3,
    },
    Choice {
        title: "Page cache",
        table: Table::Cache,
        only: Some(("scope", "system")),
        by: Some("read_bytes"),
        most: 10,
        columns: &[
            ("system", "name"),
            ("read", "read_bytes"),
            ("hit ratio", "hit_bytes_share"),
            ("readahead", "readahead_bytes"),
            ("unused readahead", "unused_bytes"),
            ("reads absorbed", "read_absorbed_bytes"),
            ("writes absorbed", "write_absorbed_bytes"),
        ],
        texts: 1,
    },
    Choice {
        title: "Processes",
        table: TOP,
        only: Some(("scope", "process")),
        by: None,
        most: 10,
        columns: PROCESS_COLUMNS,
        texts: 4,
    },
    Choice {
        title: "Files",
        table: TOP,
        only: Some(("scope", "file")),
        by: None,
        most: 10,
        columns: TOP_COLUMNS,
        texts: 3,
    },
    Choice {
        title: "Lost events",
        table: Table::Loss,
        only: None,
        by: Some("lost_events"),
        most: 20,
        columns: &[("table", "table"), ("cause", "cause"), ("lost", "lost_events"), ("share", "lost_share")],
        texts: 2,
    },
];

const TOP: Table = Table::Top(By::Bytes, 0);
const PROCESS_COLUMNS: &[(&str, &str)] = &[
    ("layer", "layer"),
    ("name", "name"),
    ("id", "id"),
    ("command", "cmdline"),
    ("operations", "ops"),
    ("read", "read_bytes"),
    ("written", "write_bytes"),
    ("total time", "time_ns"),
];
const TOP_COLUMNS: &[(&str, &str)] = &[
    ("layer", "layer"),
    ("name", "name"),
    ("id", "id"),
    ("operations", "ops"),
    ("read", "read_bytes"),
    ("written", "write_bytes"),
    ("total time", "time_ns"),
];

/// Returns all tables that have rows, with file names in `format`.
///
/// # Errors
/// Returns an error if a declared column is missing or has another type.
pub fn all(tables: &[Table], results: &Results, format: Format) -> Result<Vec<Listing>> {
    let mut listings = Vec::new();
    for choice in &CHOICES {
        for table in tables.iter().filter(|table| table.file() == choice.table.file()) {
            let frame = table.frame(results)?;
            let mut rows = Rows::of(&frame);
            if let Some((column, wanted)) = choice.only {
                rows = rows.with(column, wanted)?;
            }
            let count = rows.len();
            if let Some(by) = choice.by {
                rows = rows.greatest(by, choice.most)?;
            }
            let mut cells = vec![Vec::new(); rows.len().min(choice.most)];
            for (_, column) in choice.columns {
                for (row, value) in cells.iter_mut().zip(rows.values(column)?) {
                    row.push(with_unit(column, &value));
                }
            }
            if count > 0 {
                listings.push(Listing {
                    title: choice.title.to_owned(),
                    file: table.file_in(format),
                    header: choice.columns.iter().map(|(header, _)| *header).collect(),
                    texts: choice.texts,
                    more: count - cells.len(),
                    rows: cells,
                });
            }
        }
    }
    Ok(listings)
}
