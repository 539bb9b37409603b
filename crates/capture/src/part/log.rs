//! Log beside a part that is being written: the Parquet footer data of the row groups in the part.
//!
//! It has one record per row group, so that it is about as large as the footer of the part, however often the part is
//! flushed. A record contains the footer of its row groups as in Parquet and two checksums, of itself and of its bytes of
//! the part. A record can therefore be trusted whatever a power cut left of either file, in whichever order they reached
//! the disk.
//!
//! | bytes | |
//! | --- | --- |
//! | 16 | `iostrata groups1`, at the beginning of the log |
//! | 4 | length of what follows the next field |
//! | 4 | CRC-32 of what follows |
//! | 8 | end of the row groups in the part; they begin at the end of those of the previous record |
//! | 4 | CRC-32 of the part from there to there |
//! | … | the footer: Thrift, its length in 4 bytes, `PAR1` |
//!
//! Numbers are little endian. The first record of a log has no row group; it has the key-value metadata, which the others
//! omit.
//!
//! The writer of a part keeps none of its row groups in memory: at the end the footer is copied from the log.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData, RowGroupMetaData};

use super::footer::{self, Frame, Groups};
use super::limits::{self, MOST_FOOTER_BYTES};
use super::shape::Pieces;
use super::{finished_name, log_name};
use crate::dir::Dir;
use crate::error::{Error, Result};

const MAGIC: &[u8; 16] = b"iostrata groups1";

/// Size of a record's length and checksum, and of its fields before the footer.
const HEAD_BYTES: usize = 8;
const BEFORE_FOOTER_BYTES: usize = 12;

/// Bytes of a log that are read at once.
const READ_BYTES: usize = 1 << 16;

/// Extent of a part.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// End of its row groups.
    pub(super) end: u64,
    /// End of their records in the log.
    pub(super) log_end: u64,
    /// Row groups.
    pub(super) groups: Groups,
}

/// Log that is being written.
pub(super) struct GroupLog {
    path: PathBuf,
    file: File,
    /// Common data of the footers.
    template: FileMetaData,
    frame: Frame,
    extent: Extent,
}

impl GroupLog {
    /// Begins the log of part `number` in `folder`. Its footer will be like that of `template`, a file without rows. Errors
    /// name the part.
    pub(super) fn create(folder: &Dir, number: u32, template: &ParquetMetaData) -> Result<GroupLog> {
        let path = folder.path().join(finished_name(number));
        let whole = footer::whole(template).map_err(|e| Error::parquet(&path, e))?;
        let (thrift, pieces) = footer::taken_apart(&whole).map_err(|e| Error::parquet(&path, e))?;
        let frame = Frame::of(thrift, &pieces);
        let mut file = folder.create_file_for(log_name(number), finished_name(number))?;
        file.write_all(MAGIC).map_err(|e| Error::io(&path, "write", e))?;
        let extent = Extent { log_end: MAGIC.len() as u64, ..Extent::default() };
        Ok(GroupLog { path, file, template: template.file_metadata().clone(), frame, extent })
    }

    /// Appends a row group, which ends at `end` in the part, or none as the first record; `sum` is the checksum of the part
    /// since the last record.
    pub(super) fn append(&mut self, end: u64, sum: u32, group: Option<RowGroupMetaData>) -> Result<()> {
        let keys = self.template.key_value_metadata().filter(|_| group.is_none()).cloned();
        let metadata = footer::metadata(&self.template, keys, group.into_iter().collect());
        let error = |e| Error::parquet(&self.path, e);
        let footer = footer::whole(&metadata).map_err(error)?;
        let (_, pieces) = footer::taken_apart(&footer).map_err(error)?;
        let mut body = Vec::with_capacity(footer.len() + BEFORE_FOOTER_BYTES);
        body.extend(end.to_le_bytes());
        body.extend(sum.to_le_bytes());
        body.extend(footer);
        let length = u32::try_from(body.len())
            .map_err(|_| error(ParquetError::General("a footer of more than 4 GiB".to_owned())))?;
        let mut record = Vec::with_capacity(body.len() + HEAD_BYTES);
        record.extend(length.to_le_bytes());
        record.extend(crc32fast::hash(&body).to_le_bytes());
        record.extend(body);
        self.file.write_all(&record).map_err(|e| Error::io(&self.path, "write", e))?;
        let groups = Groups::of(metadata.row_groups(), pieces.groups.len() as u64);
        let Extent { log_end, groups: before, .. } = self.extent;
        self.extent = Extent { end, log_end: log_end + record.len() as u64, groups: before.with(groups) };
        Ok(())
    }

    /// Returns the extent of what was appended.
    pub(super) fn extent(&self) -> &Extent {
        &self.extent
    }

    /// Returns the length of the part's footer, if the part ends here.
    pub(super) fn footer_bytes(&self) -> u64 {
        self.frame.bytes(&self.extent.groups)
    }

    /// Writes the footer of the part as of the given `extent` of the log.
    pub(super) fn write_footer(&self, out: &mut impl Write, extent: &Extent) -> io::Result<()> {
        self.frame.write(out, &extent.groups, |out| {
            let mut copied = 0;
            let mut records = Records::of(&self.file, extent.log_end)?;
            while let Some(record) = records.next()? {
                let groups = record.groups();
                out.write_all(groups)?;
                copied += groups.len() as u64;
            }
            Ok(copied)
        })
    }

    /// Makes the appended records durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io(&self.path, "sync", e))
    }
}

/// Record of a log.
pub(super) struct Record {
    /// End of its row groups in the part.
    pub(super) end: u64,
    /// Checksum of the part since the end of the previous record.
    pub(super) sum: u32,
    /// Record, from the field `end` on.
    body: Vec<u8>,
    pieces: Pieces,
}

impl Record {
    fn of(body: Vec<u8>) -> Option<Record> {
        let (end, rest) = body.split_first_chunk::<8>()?;
        let (sum, footer) = rest.split_first_chunk::<4>()?;
        let (end, sum) = (u64::from_le_bytes(*end), u32::from_le_bytes(*sum));
        let (_, pieces) = footer::taken_apart(footer).ok()?;
        Some(Record { end, sum, body, pieces })
    }

    /// Returns the Thrift of its footer.
    fn thrift(&self) -> &[u8] {
        let end = self.body.len().saturating_sub(footer::TAIL_BYTES);
        self.body.get(BEFORE_FOOTER_BYTES..end).unwrap_or_default()
    }

    /// Returns the description of its row groups, as in a footer.
    pub(super) fn groups(&self) -> &[u8] {
        self.thrift().get(self.pieces.groups.clone()).unwrap_or_default()
    }

    /// Returns the number of its row groups.
    pub(super) fn count(&self) -> u64 {
        self.pieces.count
    }

    /// Returns the metadata in its footer.
    pub(super) fn metadata(&self) -> std::result::Result<ParquetMetaData, ParquetError> {
        limits::footer(self.thrift())
    }

    /// Returns the frame of the part's footer, if this is the first record.
    pub(super) fn frame(&self) -> Frame {
        Frame::of(self.thrift(), &self.pieces)
    }
}

/// Valid records of a log; everything after the first invalid one is ignored.
pub(super) struct Records<'a> {
    log: BufReader<At<'a>>,
    /// Remaining bytes.
    left: u64,
}

impl Records<'_> {
    /// Returns the records in the first `bytes` of `log`.
    pub(super) fn of(log: &File, bytes: u64) -> io::Result<Records<'_>> {
        let mut records = Records { log: BufReader::with_capacity(READ_BYTES, At { file: log, at: 0 }), left: bytes };
        let mut magic = [0; MAGIC.len()];
        if !records.take(&mut magic)? || magic != *MAGIC {
            records.left = 0;
        }
        Ok(records)
    }

    /// Returns the next record.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        let record = self.read()?;
        if record.is_none() {
            self.left = 0;
        }
        Ok(record)
    }

    fn read(&mut self) -> io::Result<Option<Record>> {
        let mut head = [0; HEAD_BYTES];
        if !self.take(&mut head)? {
            return Ok(None);
        }
        let [a, b, c, d, sum @ ..] = head;
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        if length > self.left.min(MOST_FOOTER_BYTES) {
            return Ok(None);
        }
        let mut body = vec![0; usize::try_from(length).unwrap_or(0)];
        if !self.take(&mut body)? || crc32fast::hash(&body) != u32::from_le_bytes(sum) {
            return Ok(None);
        }
        Ok(Record::of(body))
    }

    /// Fills `bytes`; returns whether enough bytes were left.
    fn take(&mut self, bytes: &mut [u8]) -> io::Result<bool> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else { return Ok(false) };
        self.left = left;
        match self.log.read_exact(bytes) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Reads a file at its own offset, without moving the file's write position.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
