//! The list of parts: a file beside the manifest with a line for each part that was finished or removed, in this order.
//!
//! It is appended to, so that what it costs to tell of a part does not grow with how many there are ([`ListFile`]). What its
//! lines come to is a [`PartList`]. A line that a crash cut off has no end: readers leave it out, and the next one who appends
//! cuts it off. Whatever else is no line of it is an error.
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

/// The list's name in the capture directory.
pub const FILE_NAME: &str = "parts.jsonl";

/// The most that is read of one: seven million parts, which is more than a year of nine tables and a part of each a minute.
const MOST_BYTES: u64 = 1 << 30;

/// The most that a line may have. One that a recorder writes has some 150 bytes.
const MOST_LINE_BYTES: u64 = 64 << 10;

/// A finished part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PartText", into = "PartText")]
pub struct Part {
    /// What it is called.
    pub name: PartName,
    /// Rows.
    pub rows: u64,
    /// Size on disk.
    pub bytes: u64,
    /// Smallest `ts_ns`; none in an empty part.
    pub first_ts_ns: Option<i64>,
    /// Greatest `ts_ns`.
    pub last_ts_ns: Option<i64>,
}

/// A part as its line has it: with its table, for who reads the list with other tools.
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
            return Err(format!("{file:?} is no part of table {table:?}, expected one of the same table"));
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

/// The oldest parts of a table, which are not in the capture any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The table.
    #[serde(deserialize_with = "named")]
    pub table: TableId,
    /// How many parts.
    pub parts: u64,
    /// Their rows.
    pub rows: u64,
    /// Their size.
    pub bytes: u64,
    /// The greatest `ts_ns` of their rows; none where they had no rows.
    pub last_ts_ns: Option<i64>,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A part was finished: it has its name and is on the disk.
    Finished(Part),
    /// A finished part is about to be replaced by another one of the same rows, which this is about. When that is done it is what
    /// the first line of the part says, and this one is gone.
    Replacing(Part),
    /// A part is about to be deleted, so that the capture takes no more room than it may.
    Removed(PartName),
    /// What the lines of parts that were removed came to, when these lines were left out.
    RemovedSum(Removed),
}

/// Hands each entry of the list of the capture in `directory` to `take`, which may say what is wrong with it. Where the last
/// whole line ends.
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
            return Err(wrong(format!("the list goes on after {MOST_BYTES} bytes, expected less")));
        }
        serde_json::from_slice(&line).map_err(|e| not_an_entry(&e)).and_then(&mut take).map_err(wrong)?;
    }
    Ok(end)
}

/// In words. The library counts lines too, and knows of one.
fn not_an_entry(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    match error.classify() {
        // It says what it expected.
        Category::Data => what.to_owned(),
        _ => format!("{what} at column {}, expected an entry of the list of parts", error.column()),
    }
}
