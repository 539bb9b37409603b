//! Tables of the page: selected rows and columns of the table files.

use anyhow::Result;
use serde::Serialize;

use super::read::Rows;
use crate::analyses::{Analysis, Results, Table, loss};
use crate::format::Format;
use crate::terminal::with_unit;

/// A table of the page.
#[derive(Debug, Serialize)]
pub struct Listed {
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
pub struct Listing {
    /// Title.
    pub title: &'static str,
    /// Table with the complete rows.
    pub table: &'static Table,
    /// Column and text of the rows to show.
    pub only: Option<(&'static str, &'static str)>,
    /// Sort column, in descending order.
    pub by: Option<&'static str>,
    /// Maximum number of rows.
    pub most: usize,
    /// Heads and columns.
    pub columns: &'static [(&'static str, &'static str)],
    /// Number of text columns, which come first.
    pub texts: usize,
}

/// Returns all tables of the analyses that have rows, with file names in `format`.
///
/// # Errors
/// Returns an error if a declared column is missing or has another type.
pub fn all(analyses: &[&Analysis], results: &Results, format: Format) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    for listing in analyses.iter().flat_map(|analysis| analysis.listings).chain([&loss::LISTING]) {
        let frame = listing.table.frame(results)?;
        let mut rows = Rows::of(&frame);
        if let Some((column, wanted)) = listing.only {
            rows = rows.with(column, wanted)?;
        }
        let count = rows.len();
        if let Some(by) = listing.by {
            rows = rows.greatest(by, listing.most)?;
        }
        let mut cells = vec![Vec::new(); rows.len().min(listing.most)];
        for (_, column) in listing.columns {
            for (row, value) in cells.iter_mut().zip(rows.values(column)?) {
                row.push(with_unit(column, &value));
            }
        }
        if count > 0 {
            all.push(Listed {
                title: listing.title.to_owned(),
                file: listing.table.file_in(format),
                header: listing.columns.iter().map(|(header, _)| *header).collect(),
                texts: listing.texts,
                more: count - cells.len(),
                rows: cells,
            });
        }
    }
    Ok(all)
}
