//! Parts that were never finished: how far they go, and how they are made whole.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::log::{self, Record};
use super::writer::publish;
use super::{Origin, PartName, finished_name, log_name, numbered, part_of, temporary_name, unfinished_number};
use crate::error::{Error, Result};
use crate::files::{open, open_with};
use crate::list::Part;

/// A part without a footer, with what its log says of it.
#[derive(Debug, Clone)]
pub struct Torn {
    /// The file.
    pub path: PathBuf,
    /// What its footer would say.
    pub(super) metadata: Arc<ParquetMetaData>,
    number: u32,
    /// Where the last row group ends.
    pub(super) end: u64,
}

impl Torn {
    /// Part `number` in the folder `directory` of a table, as far as file and log agree. None where no row group of it was
    /// flushed, or where it has been finished meanwhile.
    pub fn read(directory: &Path, number: u32) -> Result<Option<Torn>> {
        let path = directory.join(temporary_name(number));
        let records = match log::read(&directory.join(log_name(number))) {
            Err(Error::Io { reason, .. }) if reason.kind() == ErrorKind::NotFound => return Ok(None),
            records => records?,
        };
        let file = match open(&path) {
            Err(Error::Io { reason, .. }) if reason.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let Some(first) = records.first() else { return Ok(None) };
        let whole = whole_records(file, &records).map_err(|e| Error::io(&path, "read", e))?;
        let groups: Vec<RowGroupMetaData> =
            records[..whole].iter().flat_map(|record| record.metadata.row_groups().iter().cloned()).collect();
        let Some(last) = records[..whole].last().filter(|_| !groups.is_empty()) else { return Ok(None) };
        let template = first.metadata.file_metadata();
        let metadata = log::metadata(template, template.key_value_metadata().cloned(), groups);
        Ok(Some(Torn::of(path, number, last.end, metadata)))
    }

    /// Of a part whose row groups end at `end`.
    pub(super) fn of(path: PathBuf, number: u32, end: u64, metadata: ParquetMetaData) -> Torn {
        Torn { path, metadata: Arc::new(metadata), number, end }
    }

    /// Opens the file. It may have got its name meanwhile.
    pub(super) fn open(&self) -> Result<File> {
        open(&self.path).or_else(|_| open(&self.path.with_file_name(finished_name(self.number))))
    }

    /// The number of the part.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Rows in its row groups.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.metadata.file_metadata().num_rows()).unwrap_or(0)
    }

    /// What it says that it is.
    pub(crate) fn origin(&self) -> Option<Origin> {
        Origin::of(self.metadata.file_metadata())
    }

    /// Writes the footer behind the last row group and makes it a finished part of `table`.
    pub fn finish(&self, directory: &Path, table: &'static str) -> Result<Part> {
        let footer = log::footer(&self.metadata).map_err(|e| Error::parquet(&self.path, e))?;
        let mut file = open_with(&self.path, OpenOptions::new().write(true), "open")?;
        file.set_len(self.end)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .and_then(|_| file.write_all(&footer))
            .map_err(|e| Error::io(&self.path, "write the footer of", e))?;
        let bytes = publish(&file, &self.path, directory, self.number)?;
        remove(directory, self.number)?;
        Ok(part_of(&self.metadata, PartName { table, number: self.number }, bytes))
    }
}

/// How many of `records` have the bytes in `file` that they are about.
fn whole_records(file: File, records: &[Record]) -> std::io::Result<usize> {
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut begin = 0u64;
    for (index, record) in records.iter().enumerate() {
        let Some(length) = record.end.checked_sub(begin) else { return Ok(index) };
        let mut sum = crc32fast::Hasher::new();
        let mut left = file.by_ref().take(length);
        let mut chunk = [0u8; 1 << 14];
        loop {
            let read = left.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            sum.update(&chunk[..read]);
        }
        if left.limit() > 0 || sum.finalize() != record.sum {
            return Ok(index);
        }
        begin = record.end;
    }
    Ok(records.len())
}

/// The numbers of parts in `directory` that were begun and not finished, ascending.
pub fn unfinished(directory: &Path) -> Result<Vec<u32>> {
    numbered(directory, unfinished_number)
}

/// Removes what is left of part `number`, but for the part itself.
pub fn remove(directory: &Path, number: u32) -> Result<()> {
    for path in [directory.join(temporary_name(number)), directory.join(log_name(number))] {
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io(&path, "remove", e)),
            _ => {}
        }
    }
    Ok(())
}
