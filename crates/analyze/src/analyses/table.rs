//! Tables: a file of each, its columns and its rows.

use std::fmt;

use anyhow::Result;
use polars::prelude::DataFrame;

use super::Results;
use crate::format::Format;
use crate::frame::{self, ResultColumn};

/// Consumer of the frames of a table.
pub type Take<'a> = &'a mut dyn FnMut(DataFrame) -> Result<()>;

/// Rows per frame.
const ROWS: usize = 1 << 14;

/// A table.
pub struct Table {
    /// Name, which is that of its file without the extension.
    pub name: &'static str,
    /// Documentation.
    pub doc: &'static str,
    /// Returns the documentation of the columns as Markdown.
    pub columns: fn() -> String,
    /// Passes its rows on, in one or several frames.
    pub rows: fn(&Results, Take) -> Result<()>,
}

impl Table {
    /// Name of the CSV file.
    pub fn file(&self) -> String {
        self.file_in(Format::Csv)
    }

    /// Name of the file in `format`.
    pub fn file_in(&self, format: Format) -> String {
        format!("{}.{}", self.name, format.extension())
    }

    /// Builds the whole table in one frame.
    pub fn frame(&self, results: &Results) -> Result<DataFrame> {
        let mut all = DataFrame::empty();
        (self.rows)(results, &mut |frame| {
            match all.width() {
                0 => all = frame,
                _ => drop(all.vstack_mut(&frame)?),
            }
            Ok(())
        })?;
        Ok(all)
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Table) -> bool {
        self.name == other.name
    }
}

impl Eq for Table {}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Passes all rows on in one frame.
pub fn at_once<R>(columns: &[ResultColumn<R>], rows: Vec<R>, take: Take) -> Result<()> {
    let frame = frame::frame(columns, &rows)?;
    // Memory has room for the frame; it need not have room for both.
    drop(rows);
    take(frame)
}

/// Passes rows on in several frames: a table with a row for each system, process, cgroup or file may not fit in memory. Without rows there is an
/// empty frame.
pub fn in_frames<R>(columns: &[ResultColumn<R>], mut rows: impl Iterator<Item = R>, take: Take) -> Result<()> {
    let mut some = Vec::new();
    loop {
        some.clear();
        some.extend(rows.by_ref().take(ROWS));
        let is_last = some.len() < ROWS;
        take(frame::frame(columns, &some)?)?;
        if is_last {
            return Ok(());
        }
    }
}
