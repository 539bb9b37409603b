//! The log beside a part that is being written: what a Parquet footer would say of the row groups that are in it.
//!
//! One record after the other, each for the row groups since the one before, so that a part costs the log as much as its
//! footer, however often it is flushed. A record holds the footer of these row groups as Parquet has it and two checksums,
//! its own and that of the bytes of the part that it is about: so a record can be believed whatever a power cut left of
//! either file, in whichever order they reached the disk.
//!
//! | bytes | |
//! | --- | --- |
//! | 16 | `iostrata groups1`, at the beginning of the log |
//! | 4 | length of what follows the next field |
//! | 4 | CRC-32 of what follows |
//! | 8 | where the row groups end in the part; they begin where those of the record before end |
//! | 4 | CRC-32 of the part from there to there |
//! | … | the footer: Thrift, its length in 4 bytes, `PAR1` |
//!
//! Numbers are little endian. The first record of a log has no row group; it has the key-value metadata, which the others
//! leave out.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData};

use super::limits::{self, MOST_FOOTER_BYTES};
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::files;

const MAGIC: &[u8; 16] = b"iostrata groups1";

/// A log that is being written.
pub(super) struct GroupLog {
    path: PathBuf,
    file: File,
    /// What the footers have in common.
    template: FileMetaData,
    bytes: u64,
}

impl GroupLog {
    /// Begins the log `name` in `folder`, of a part whose footer will be like `template`.
    pub(super) fn create(folder: &Dir, name: &str, template: FileMetaData) -> Result<GroupLog> {
        let path = folder.path().join(name);
        let mut file = folder.create_file(name)?;
        file.write_all(MAGIC).map_err(|e| Error::io(&path, "write", e))?;
        Ok(GroupLog { path, file, template, bytes: 0 })
    }

    /// Appends `groups`, which end at `end` in the part; `sum` is the checksum of the part since the last record.
    pub(super) fn append(&mut self, end: u64, sum: u32, groups: &[RowGroupMetaData]) -> Result<()> {
        let keys = self.template.key_value_metadata().filter(|_| self.bytes == 0).cloned();
        let metadata = metadata(&self.template, keys, groups.to_vec());
        let footer = footer(&metadata).map_err(|e| Error::parquet(&self.path, e))?;
        let mut body = Vec::with_capacity(footer.len() + 12);
        body.extend(end.to_le_bytes());
        body.extend(sum.to_le_bytes());
        body.extend(footer);
        let length = u32::try_from(body.len())
            .map_err(|_| Error::parquet(&self.path, ParquetError::General("a footer of more than 4 GiB".to_owned())))?;
        let mut record = Vec::with_capacity(body.len() + 8);
        record.extend(length.to_le_bytes());
        record.extend(crc32fast::hash(&body).to_le_bytes());
        record.extend(body);
        self.file.write_all(&record).map_err(|e| Error::io(&self.path, "write", e))?;
        self.bytes += record.len() as u64;
        Ok(())
    }

    /// Size of all records.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The metadata of the part, if it ended with these row groups.
    pub(super) fn metadata(&self, groups: Vec<RowGroupMetaData>) -> ParquetMetaData {
        metadata(&self.template, self.template.key_value_metadata().cloned(), groups)
    }

    /// Makes what was appended durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io(&self.path, "sync", e))
    }
}

/// The footer of a file with `metadata`: Thrift, its length, `PAR1`.
pub(super) fn footer(metadata: &ParquetMetaData) -> std::result::Result<Vec<u8>, ParquetError> {
    let mut bytes = Vec::new();
    ParquetMetaDataWriter::new(&mut bytes, metadata).finish()?;
    Ok(bytes)
}

/// The metadata of a file with `groups`.
pub(super) fn metadata(
    template: &FileMetaData,
    keys: Option<Vec<KeyValue>>,
    groups: Vec<RowGroupMetaData>,
) -> ParquetMetaData {
    let rows = groups.iter().fold(0i64, |sum, group| sum.saturating_add(group.num_rows()));
    let file = FileMetaData::new(
        template.version(),
        rows,
        template.created_by().map(str::to_owned),
        keys,
        template.schema_descr_ptr(),
        template.column_orders().cloned(),
    );
    ParquetMetaData::new(file, groups)
}

/// One record of a log.
pub(super) struct Record {
    /// Where its row groups end in the part.
    pub(super) end: u64,
    /// The checksum of the part from the end of the record before.
    pub(super) sum: u32,
    /// The footer of its row groups.
    pub(super) metadata: ParquetMetaData,
}

/// The records of the log `name` in `folder`, as far as they are whole; what follows the first one that is not is of no use.
pub(super) fn read(folder: &Dir, name: &str) -> Result<Vec<Record>> {
    // It says of the columns again with every record what a footer says of them once.
    let bytes = files::read(folder, name, 2 * MOST_FOOTER_BYTES)?;
    let mut rest = bytes.strip_prefix(MAGIC).unwrap_or_default();
    let mut records = Vec::new();
    // Only the first one has no row group: of others like it a log could have any number.
    while let Some((record, after)) = take_record(rest)
        && (records.is_empty() || record.metadata.num_row_groups() > 0)
    {
        records.push(record);
        rest = after;
    }
    Ok(records)
}

fn take_record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (length, bytes) = bytes.split_first_chunk::<4>()?;
    let (sum, bytes) = bytes.split_first_chunk::<4>()?;
    let (body, after) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (end, body) = body.split_first_chunk::<8>()?;
    let (sum, footer) = body.split_first_chunk::<4>()?;
    // The last 8 bytes are the footer's length and `PAR1`.
    let thrift = footer.split_at_checked(footer.len().checked_sub(8)?)?.0;
    let metadata = limits::footer(thrift).ok()?;
    let record = Record { end: u64::from_le_bytes(*end), sum: u32::from_le_bytes(*sum), metadata };
    Some((record, after))
}
