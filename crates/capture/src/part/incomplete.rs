//! Unfinished parts: their extent, and their repair.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::footer::{Groups, TAIL_BYTES};
use super::limits::{self, MOST_FOOTER_BYTES};
use super::log::{Record, Records};
use super::writer::{publish, reopen};
use super::{Origin, PartName, Place, finished_name, log_name, numbered, part_of, temporary_name, unfinished_number};
use crate::TableId;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::list::Part;

/// Maximum size of a log: it describes the columns again in every record, a footer once.
const MOST_LOG_BYTES: u64 = 2 * MOST_FOOTER_BYTES;

/// Part without a footer, with the data of its log.
#[derive(Debug, Clone)]
pub struct IncompletePart {
    /// File.
    pub place: Place,
    directory: Dir,
    /// Its future footer, with the end of the file. Decoded at each use, because the library's form is far larger.
    footer: Arc<[u8]>,
    groups: Groups,
    origin: Option<Origin>,
    number: u32,
    /// End of the last row group.
    pub(super) end: u64,
}

impl IncompletePart {
    /// Reads part `number` in the folder `directory` of a table, as far as file and log agree. `None` if no row group of it was
    /// flushed, or if it was finished in the meantime.
    pub fn read(directory: &Dir, number: u32) -> Result<Option<IncompletePart>> {
        let (place, log) = (Place::new(directory, temporary_name(number)), Place::new(directory, log_name(number)));
        let (Some(log_file), Some(file)) = (unless_gone(log.open())?, unless_gone(place.open())?) else {
            return Ok(None);
        };
        let log_error = |e| Error::io(log.path(), "read", e);
        let bytes = log_file.metadata().map_err(log_error)?.len();
        most(&log, bytes, MOST_LOG_BYTES)?;
        let mut records = Records::of(&log_file, bytes).map_err(log_error)?;
        let mut part = Summed { file: BufReader::with_capacity(1 << 16, file), end: 0 };
        let (mut groups, mut told, mut first) = (Groups::default(), Vec::new(), None);
        while let Some(record) = records.next().map_err(log_error)? {
            // Only the first record has no row group: a log could contain any number of others like it.
            if first.is_some() && record.count() == 0 {
                break;
            }
            let Ok(metadata) = record.metadata() else { break };
            if !part.has(&record).map_err(|e| Error::io(place.path(), "read", e))? {
                break;
            }
            first.get_or_insert_with(|| (record.frame(), Origin::of(metadata.file_metadata())));
            groups = groups.with(Groups::of(metadata.row_groups(), record.groups().len() as u64));
            told.extend_from_slice(record.groups());
        }
        let Some((frame, origin)) = first.filter(|_| groups.count > 0) else { return Ok(None) };
        most(&place, frame.bytes(&groups), MOST_FOOTER_BYTES)?;
        let mut footer = Vec::new();
        let made = frame.write(&mut footer, &groups, |footer| {
            footer.append(&mut told);
            Ok(groups.bytes)
        });
        made.map_err(|e| Error::io(place.path(), "build the footer of", e))?;
        Ok(Some(IncompletePart {
            place,
            directory: directory.clone(),
            footer: footer.into(),
            groups,
            origin,
            number,
            end: part.end,
        }))
    }

    /// Returns the metadata in its future footer.
    pub(super) fn metadata(&self) -> std::result::Result<ParquetMetaData, ParquetError> {
        limits::footer(&self.footer[..self.footer.len().saturating_sub(TAIL_BYTES)])
    }

    /// Opens the file, which may have been renamed to its final name in the meantime.
    pub(super) fn open(&self) -> Result<File> {
        self.place.open().or_else(|_| self.directory.open_file(finished_name(self.number)))
    }

    /// Returns its name and contents after a repair.
    pub(super) fn copy(&self) -> Result<(String, Vec<u8>)> {
        let mut bytes = Vec::new();
        let read = self.open()?.take(self.end).read_to_end(&mut bytes);
        read.map_err(|e| Error::io(self.place.path(), "read", e))?;
        bytes.extend_from_slice(&self.footer);
        Ok((finished_name(self.number), bytes))
    }

    /// Returns the number of the part.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns the number of rows in its row groups.
    pub fn rows(&self) -> u64 {
        self.groups.rows
    }

    /// Returns its origin.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.origin.clone()
    }

    /// Writes the footer after the last row group and makes it a finished part of `table`.
    pub fn finish(&self, table: TableId) -> Result<Part> {
        let directory = &self.directory;
        let mut file = reopen(directory, self.number, self.end)?;
        file.write_all(&self.footer).map_err(|e| Error::io(self.place.path(), "write the footer of", e))?;
        let bytes = publish(&file, directory, self.number)?;
        remove(directory, self.number)?;
        Ok(part_of(&self.groups, PartName { table, number: self.number }, bytes))
    }
}

/// Returns `None` for a file that does not exist.
fn unless_gone(opened: Result<File>) -> Result<Option<File>> {
    match opened {
        Err(Error::Io { reason, .. }) if reason.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Part whose row groups are checked against its log, from the first on.
struct Summed {
    file: BufReader<File>,
    /// End of the last row group checked.
    end: u64,
}

impl Summed {
    /// Whether the part has the bytes described by the next record.
    fn has(&mut self, record: &Record) -> std::io::Result<bool> {
        let Some(length) = record.end.checked_sub(self.end) else { return Ok(false) };
        let mut sum = crc32fast::Hasher::new();
        let mut left = self.file.by_ref().take(length);
        let mut chunk = [0u8; 1 << 14];
        loop {
            let read = left.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            sum.update(&chunk[..read]);
        }
        let has = left.limit() == 0 && sum.finalize() == record.sum;
        if has {
            self.end = record.end;
        }
        Ok(has)
    }
}

/// Returns an error if `bytes`, the size in memory, is more than `most`.
fn most(place: &Place, bytes: u64, most: u64) -> Result<()> {
    match bytes > most {
        true => {
            let what = format!("row groups with {bytes} bytes of metadata, expected at most {most}");
            Err(Error::parquet(place.path(), ParquetError::General(what)))
        }
        false => Ok(()),
    }
}

/// Returns the numbers of unfinished parts in `directory`, ascending.
pub fn unfinished(directory: &Dir) -> Result<Vec<u32>> {
    numbered(directory, unfinished_number)
}

/// Removes the remains of part `number`, except for the part itself.
pub fn remove(directory: &Dir, number: u32) -> Result<()> {
    directory.remove(temporary_name(number))?;
    directory.remove(log_name(number))
}
