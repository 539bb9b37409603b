//! List of parts: a file beside the manifest with one line for each part that was finished or removed, in this order.
//!
//! Lines are appended, so that the cost of recording a part does not grow with the number of parts ([`ListFile`]). A
//! [`PartList`] is the sum of its lines. A line truncated by a crash has no newline: readers ignore it, and the next writer
//! truncates it. Any other invalid line is an error.
//!
//! ```text
//! {"finished":{"table":"block","file":"block/part-000001.parquet","rows":7,"bytes":9404,"first_ts_ns":1,"last_ts_ns":9}}
//! {"removed":"block/part-000001.parquet"}
//! {"removed_sum":{"table":"block","parts":1,"rows":7,"bytes":9404,"last_ts_ns":9}}
//! ```

mod file;
mod parts;
#[cfg(test)]
mod tests;

use std::io::{BufRead, BufReader, Read};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;

use crate::TableId;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::part::PartName;

pub use file::ListFile;
pub use parts::{Kept, PartList};

/// Name of the list in the capture directory.
pub const FILE_NAME: &str = "parts.jsonl";

/// Maximum size that is read: seven million parts, which is more than a year of nine tables and a part of each a minute.
const MOST_BYTES: u64 = 1 << 30;

/// Maximum length of a line. A recorder's lines have some 150 bytes.
const MOST_LINE_BYTES: u64 = 64 << 10;

/// Finished part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PartText", into = "PartText")]
pub struct Part {
    /// Name.
    pub name: PartName,
    /// Number of rows.
    pub rows: u64,
    /// Size on disk in bytes.
    pub bytes: u64,
    /// Minimum `ts_ns`; none in an empty part.
    pub first_ts_ns: Option<i64>,
    /// Maximum `ts_ns`.
    pub last_ts_ns: Option<i64>,
}

/// Part as in its line: with its table, for readers of the list with other tools.
#[derive(Serialize, Deserialize)]
struct PartText {
    table: String,
    file: String,
    rows: u64,
    bytes: u64,
    first_ts_ns: Option<i64>,
    last_ts_ns: Option<i64>,
}

impl TryFrom<PartText> for Part {
    type Error = String;

    fn try_from(text: PartText) -> std::result::Result<Part, String> {
        let PartText { table, file, rows, bytes, first_ts_ns, last_ts_ns } = text;
        let name: PartName = file.parse()?;
        if table != name.table.name() {
            return Err(format!("{file:?} is not in table {table:?}, expected a part of this table"));
        }
        Ok(Part { name, rows, bytes, first_ts_ns, last_ts_ns })
    }
}

impl From<Part> for PartText {
    fn from(part: Part) -> PartText {
        let Part { name, rows, bytes, first_ts_ns, last_ts_ns } = part;
        PartText { table: name.table.name().to_owned(), file: name.to_string(), rows, bytes, first_ts_ns, last_ts_ns }
    }
}

fn named<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<TableId, D::Error> {
    TableId::named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Oldest parts of a table, which are no longer in the capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Table.
    #[serde(deserialize_with = "named")]
    pub table: TableId,
    /// Number of parts.
    pub parts: u64,
    /// Number of rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Maximum `ts_ns` of their rows; none if they had no rows.
    pub last_ts_ns: Option<i64>,
}

/// Line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A part was finished: it has its final name and is on the disk.
    Finished(Part),
    /// A finished part is about to be replaced by another one of the same rows, which this entry describes. Afterwards the
    /// part's first line has its data, and this line is gone.
    Replacing(Part),
    /// A part is about to be deleted, so that the capture stays within its size limit.
    Removed(PartName),
    /// Sums of the lines of removed parts, when these lines were dropped.
    RemovedSum(Removed),
}

/// Passes each entry of the list of the capture in `directory` to `take`, which may return an error text. Returns the end of
/// the last complete line.
pub fn read(directory: &Dir, mut take: impl FnMut(Entry) -> std::result::Result<(), String>) -> Result<u64> {
    let path = directory.path().join(FILE_NAME);
    let mut file = BufReader::new(directory.open_file(FILE_NAME)?);
    let mut line = Vec::new();
    let mut end = 0u64;
    for number in 1.. {
        line.clear();
        let length = file.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line);
        let length = length.map_err(|e| Error::io(&path, "read", e))? as u64;
        let wrong = |what| Error::List { path: path.clone(), line: number, what };
        if line.pop_if(|last| *last == b'\n').is_none() {
            if length == MOST_LINE_BYTES {
                return Err(wrong(format!("has {MOST_LINE_BYTES} bytes or more, expected less")));
            }
            break;
        }
        end += length;
        if end > MOST_BYTES {
            return Err(wrong(format!("the list has more than {MOST_BYTES} bytes, expected less")));
        }
        serde_json::from_slice(&line).map_err(|e| not_an_entry(&e)).and_then(&mut take).map_err(wrong)?;
    }
    Ok(end)
}

/// Returns the error as text, without the library's line number: it sees one line only.
fn not_an_entry(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    match error.classify() {
        // The text includes what was expected.
        Category::Data => what.to_owned(),
        _ => format!("{what} at column {}, expected an entry of the list of parts", error.column()),
    }
}
