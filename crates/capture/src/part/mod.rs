//! Parts: the Parquet files with the rows of one table, one after another.
//!
//! A part is written under a hidden temporary name that no reader's glob matches, then synced, renamed, and its directory
//! synced. A file called `part-NNNNNN.parquet` is therefore always complete, whatever happened to the recorder afterwards.
//! During writing, a log beside the part ([`log`]) contains the Parquet footer data of the row groups in the file: with it, an
//! unfinished part is read and repaired as far as it was flushed ([`torn`]).

mod codec;
pub mod empty;
mod footer;
mod groups;
pub mod incomplete;
mod limits;
pub mod log;
mod name;
mod origin;
mod pandas;
mod reader;
mod replace;
mod shape;
mod small;
mod writer;

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::SchemaDescPtr;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use self::footer::Groups;
use crate::TableId;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::files;
use crate::list::Part;

pub use footer::MOST_GROUPS;
pub use incomplete::IncompletePart;
pub use name::PartName;
pub(crate) use origin::{Origin, copy_of};
pub use reader::{OpenPart, PartReader};
pub(crate) use replace::Replacement;
pub use writer::{PartWriter, ROW_GROUP_ROWS};

/// File of a part.
#[derive(Debug, Clone)]
pub struct Place {
    at: At,
    path: PathBuf,
}

#[derive(Debug, Clone)]
enum At {
    /// A name in the folder of a table.
    Folder(Dir, String),
    /// Copy of a file.
    Memory(Arc<[u8]>),
}

impl Place {
    /// Creates the place of file `name` in `directory`.
    pub fn new(directory: &Dir, name: String) -> Place {
        Place { path: directory.path().join(&name), at: At::Folder(directory.clone(), name) }
    }

    /// Creates the place of the file at `path`, as a user named it.
    pub fn named(path: &Path) -> Result<Place> {
        let (directory, name) = Dir::around(path)?;
        Ok(Place { at: At::Folder(directory, name), path: path.to_owned() })
    }

    /// Creates the place of a copy of the file that was at `path`.
    pub(crate) fn copied(path: PathBuf, bytes: Arc<[u8]>) -> Place {
        Place { at: At::Memory(bytes), path }
    }

    /// Creates the place of the finished part `name` of the capture in `capture`.
    pub fn of(capture: &Dir, name: PartName) -> Place {
        Place::new(&capture.sub(name.table.name()), name.file())
    }

    /// Returns the path for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file for reading.
    pub fn open(&self) -> Result<File> {
        match &self.at {
            At::Folder(directory, name) => directory.open_file(name),
            At::Memory(bytes) => {
                let error = |e| Error::io(&self.path, "copy", e);
                let file = memfd_create("part", MemfdFlags::CLOEXEC).map_err(|e| error(e.into()))?;
                let mut file = File::from(file);
                file.write_all(bytes).and_then(|()| file.rewind()).map_err(error)?;
                Ok(file)
            }
        }
    }

    /// Returns the size of the file in bytes.
    pub fn bytes(&self) -> Result<u64> {
        match &self.at {
            At::Folder(directory, name) => directory.find(name).map(|found| found.bytes),
            At::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open()?.read_to_end(&mut bytes).map_err(|e| Error::io(&self.path, "read", e))?;
        Ok(bytes)
    }
}

/// Readable part.
#[derive(Debug, Clone)]
pub enum PartFile {
    /// Finished part.
    Whole(Place),
    /// Part that is still being written, or was never finished.
    Incomplete(Box<IncompletePart>),
}

impl PartFile {
    /// Returns the file.
    pub fn place(&self) -> &Place {
        match self {
            PartFile::Whole(place) => place,
            PartFile::Incomplete(torn) => &torn.place,
        }
    }

    /// Returns the path of the file for messages.
    pub fn path(&self) -> &Path {
        self.place().path()
    }

    /// Returns the name of the part and the contents of its file, which an unfinished part gets when it is repaired.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub fn copy(&self) -> Result<(String, Vec<u8>)> {
        match self {
            PartFile::Whole(place) => {
                let name = place.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
                Ok((name, place.read()?))
            }
            PartFile::Incomplete(torn) => torn.copy(),
        }
    }

    /// Returns the identity of a finished part; `None` for a part that may still grow.
    ///
    /// # Errors
    /// Returns an error if the footer cannot be read.
    pub fn identity(&self) -> Result<Option<Identity>> {
        let PartFile::Whole(place) = self else { return Ok(None) };
        let (bytes, footer) = length_and_footer(place)?;
        let names = place.path().iter().rev().take(2).map(|name| name.to_string_lossy().into_owned());
        Ok(Some(Identity { name: names.collect(), bytes, footer: crc32fast::hash(&footer) }))
    }
}

/// Identity of a finished part: distinguishes it from all others of its capture, and from a modified version of itself, because
/// the footer contains the positions of its row groups, and the size and value range of each column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the part and of its folder.
    name: Vec<String>,
    /// Length in bytes.
    bytes: u64,
    /// CRC-32 of the footer.
    footer: u32,
}

/// Data that is counted of a finished part.
#[derive(Debug)]
pub(crate) struct Found {
    /// Number of rows in its row groups, which are the rows that are read.
    pub(crate) rows: u64,
    /// Length in bytes.
    pub(crate) bytes: u64,
    /// CRC-32 of the footer.
    pub(crate) footer: u32,
    /// Range of `ts_ns`, if the statistics contain it.
    pub(crate) range_ns: Option<(i64, i64)>,
    /// Origin stated in the footer.
    pub(crate) origin: Option<Origin>,
    schema: SchemaDescPtr,
}

impl Found {
    /// Whether the footer states this part number.
    pub(crate) fn has_number(&self, number: u32) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.number() == number)
    }

    /// Reads the data that is counted of the part at `place`.
    pub(crate) fn read(place: &Place) -> Result<Found> {
        let (bytes, footer) = length_and_footer(place)?;
        let metadata = limits::footer(&footer).map_err(|e| Error::parquet(place.path(), e))?;
        let origin = Origin::of(metadata.file_metadata());
        let (rows, range_ns) = (rows_of(metadata.row_groups()), range_ns(metadata.row_groups()));
        let schema = metadata.file_metadata().schema_descr_ptr();
        Ok(Found { rows, bytes, footer: crc32fast::hash(&footer), range_ns, origin, schema })
    }

    /// Returns a column that every part of `table` has, and this one lacks.
    pub(crate) fn lacks(&self, table: TableId) -> Option<&'static str> {
        let has = |name: &str| self.schema.columns().iter().any(|column| column.name() == name);
        let mut columns = (table.declared().columns)().into_iter();
        columns.find(|column| !column.added && !has(column.name)).map(|column| column.name)
    }
}

/// Returns the length of the finished part at `place`, and its footer as in the file.
fn length_and_footer(place: &Place) -> Result<(u64, Vec<u8>)> {
    let (path, file) = (place.path(), place.open()?);
    let bytes = file.metadata().map_err(|e| Error::io(path, "stat", e))?.len();
    Ok((bytes, limits::footer_bytes(&file).map_err(|e| Error::parquet(path, e))?))
}

/// Returns the number of rows in row groups of a part.
fn rows_of(groups: &[RowGroupMetaData]) -> u64 {
    let rows = groups.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0));
    rows.fold(0, u64::saturating_add)
}

/// Returns the origin stated by the finished part at `place`.
pub(crate) fn origin(place: &Place) -> Result<Option<Origin>> {
    let metadata = limits::metadata(&place.open()?).map_err(|e| Error::parquet(place.path(), e))?;
    Ok(Origin::of(metadata.file_metadata()))
}

/// Returns the name of a part that is to replace another one. Readers ignore it.
fn replacement_name(number: u32) -> String {
    format!(".{}.new", finished_name(number))
}

/// Returns the number of a part that was to replace another one.
fn replacement_number(name: &str) -> Option<u32> {
    finished_number(name.strip_prefix('.')?.strip_suffix(".new")?)
}

/// Returns the list entry of the finished part at `place`.
pub(crate) fn whole_part(place: &Place, name: PartName) -> Result<Part> {
    let (path, file) = (place.path(), place.open()?);
    let bytes = file.metadata().map_err(|e| Error::io(path, "stat", e))?.len();
    let metadata = limits::metadata(&file).map_err(|e| Error::parquet(path, e))?;
    Ok(part_of(&groups_of(&metadata), name, bytes))
}

/// Returns the row groups of a finished part with `metadata`.
fn groups_of(metadata: &ParquetMetaData) -> Groups {
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    Groups { rows, ..Groups::of(metadata.row_groups(), 0) }
}

/// Returns the list entry of a finished part with `groups`.
fn part_of(groups: &Groups, name: PartName, bytes: u64) -> Part {
    let Groups { rows, range_ns, .. } = *groups;
    Part { name, rows, bytes, first_ts_ns: range_ns.map(|range| range.0), last_ts_ns: range_ns.map(|range| range.1) }
}

/// Returns the minimum and maximum `ts_ns`, by the statistics of the row groups.
fn range_ns(groups: &[RowGroupMetaData]) -> Option<(i64, i64)> {
    let columns = groups.iter().flat_map(|group| group.columns());
    columns
        .filter(|column| column.column_path().string() == "ts_ns")
        .filter_map(|column| match column.statistics() {
            Some(Statistics::Int64(range)) => Some((*range.min_opt()?, *range.max_opt()?)),
            _ => None,
        })
        .reduce(|sum, range| (sum.0.min(range.0), sum.1.max(range.1)))
}

/// Returns the name of a finished part.
fn finished_name(number: u32) -> String {
    format!("part-{number:06}.parquet")
}

/// Returns the finished parts in the folder of a table, with their numbers, ascending.
pub(crate) fn finished(folder: &Dir) -> Result<Vec<(u32, Place)>> {
    let place = |number| (number, Place::new(folder, finished_name(number)));
    Ok(numbered(folder, finished_number)?.into_iter().map(place).collect())
}

/// Returns the names of other parts in the folder of a table, in order: programs that rewrite a table choose their own file
/// names. Hive, Spark and Arrow ignore names that begin with a dot or an underscore, and so does this function.
pub(crate) fn others(folder: &Dir) -> Result<Vec<String>> {
    let is_other =
        |name: &String| name.ends_with(".parquet") && !name.starts_with(['.', '_']) && finished_number(name).is_none();
    let mut others: Vec<String> = names_in(folder)?.into_iter().filter(is_other).collect();
    others.sort_unstable();
    Ok(others)
}

/// Returns the names in `folder`; none if the folder does not exist.
fn names_in(folder: &Dir) -> Result<Vec<String>> {
    match folder.names() {
        Err(Error::Io { reason, .. }) if reason.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        names => Ok(names?.iter().map(|name| name.to_string_lossy().into_owned()).collect()),
    }
}

/// Returns the numbers that `of` finds in the names in `folder`, ascending; none if the folder does not exist.
pub(crate) fn numbered(folder: &Dir, of: fn(&str) -> Option<u32>) -> Result<Vec<u32>> {
    let mut numbers: Vec<u32> = names_in(folder)?.iter().filter_map(|name| of(name)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// Returns the name of a part that is being written.
fn temporary_name(number: u32) -> String {
    files::temporary_name(&finished_name(number))
}

/// Returns the name of the log beside a part that is being written.
fn log_name(number: u32) -> String {
    format!(".{}.groups", finished_name(number))
}

/// Returns the number of a finished part by its name.
fn finished_number(name: &str) -> Option<u32> {
    let number = name.strip_prefix("part-")?.strip_suffix(".parquet")?.parse().ok()?;
    // Other notations of the number are not names of parts.
    (finished_name(number) == name).then_some(number)
}

/// Returns the number of a part that is being written, by its name or that of its log.
fn unfinished_number(name: &str) -> Option<u32> {
    let rest = name.strip_prefix('.')?;
    finished_number(rest.strip_suffix(".tmp").or_else(|| rest.strip_suffix(".groups"))?)
}

/// Whether this is the name of a part that is being written, or of its log.
pub(crate) fn is_unfinished(name: &str) -> bool {
    unfinished_number(name).is_some()
}

#[cfg(test)]
mod tests;
