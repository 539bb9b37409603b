//! Footers assembled from pieces: the common part of a table's footers, and row groups copied from a log.
//!
//! In Thrift's compact protocol the elements of a list follow each other and do not depend on preceding ones. Row groups of a
//! footer can therefore be copied from other footers.

use std::io::{self, Write};

use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData};

use super::shape::{self, Pieces};
use super::{range_ns, rows_of};

/// Maximum number of row groups in a part: a part with this number is closed. The writer keeps none of them in memory; but the
/// reader has the footer in memory, 7 KB for each row group of sixteen columns (measured), for each reading thread.
pub const MOST_GROUPS: u64 = 1_024;

/// Size of the end of a file: the length of the footer and `PAR1`.
pub(super) const TAIL_BYTES: usize = 8;

const MAGIC: &[u8; 4] = b"PAR1";

/// Row groups, consecutive from the begin of a part.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Groups {
    /// Number of row groups.
    pub(super) count: u64,
    /// Number of rows.
    pub(super) rows: u64,
    /// Bytes of the footer that describe them.
    pub(super) bytes: u64,
    /// Minimum and maximum `ts_ns`.
    pub(super) range_ns: Option<(i64, i64)>,
}

impl Groups {
    /// Summarizes `groups`, described by `bytes` bytes of a footer.
    pub(super) fn of(groups: &[RowGroupMetaData], bytes: u64) -> Groups {
        Groups { count: groups.len() as u64, rows: rows_of(groups), bytes, range_ns: range_ns(groups) }
    }

    /// Adds the row groups that follow.
    pub(super) fn with(self, next: Groups) -> Groups {
        let ranges = [self.range_ns, next.range_ns].into_iter().flatten();
        Groups {
            count: self.count.saturating_add(next.count),
            rows: self.rows.saturating_add(next.rows),
            bytes: self.bytes.saturating_add(next.bytes),
            range_ns: ranges.reduce(|sum, range| (sum.0.min(range.0), sum.1.max(range.1))),
        }
    }
}

/// Footer of a part without the row groups.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    until_rows: Vec<u8>,
    until_groups: Vec<u8>,
    after_groups: Vec<u8>,
}

impl Frame {
    /// Returns the frame of the footer `thrift` with known `pieces`.
    pub(super) fn of(thrift: &[u8], pieces: &Pieces) -> Frame {
        let of = |range: std::ops::Range<usize>| thrift.get(range).unwrap_or_default().to_vec();
        Frame {
            until_rows: of(0..pieces.rows.start),
            until_groups: of(pieces.rows.end..pieces.list.start),
            after_groups: of(pieces.list.end..thrift.len()),
        }
    }

    /// Writes the footer of a part with `groups`; `copy` writes their descriptions.
    pub(super) fn write<W: Write>(
        &self,
        out: &mut W,
        groups: &Groups,
        copy: impl FnOnce(&mut W) -> io::Result<u64>,
    ) -> io::Result<()> {
        let before = self.before(groups);
        out.write_all(&before)?;
        if copy(out)? != groups.bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the log no longer has the same row groups"));
        }
        out.write_all(&self.after_groups)?;
        let length = before.len() as u64 + groups.bytes + self.after_groups.len() as u64;
        let length = u32::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(MAGIC)
    }

    /// Returns the bytes before the row groups.
    fn before(&self, groups: &Groups) -> Vec<u8> {
        let mut before = self.until_rows.clone();
        varint(&mut before, groups.rows << 1);
        before.extend(&self.until_groups);
        match u8::try_from(groups.count) {
            Ok(count @ ..15) => before.push(count << 4 | STRUCT),
            _ => {
                before.push(0xf0 | STRUCT);
                varint(&mut before, groups.count);
            }
        }
        before
    }

    /// Returns the length of the footer of a part with `groups`, including the end of the file.
    pub(super) fn bytes(&self, groups: &Groups) -> u64 {
        (self.before(groups).len() + self.after_groups.len() + TAIL_BYTES) as u64 + groups.bytes
    }
}

/// Type of a structure in Thrift's compact protocol.
pub(super) const STRUCT: u8 = 0xc;

/// Appends a number in that protocol.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns the footer of a file with `metadata`: Thrift, its length, `PAR1`.
pub(super) fn whole(metadata: &ParquetMetaData) -> Result<Vec<u8>, ParquetError> {
    let mut bytes = Vec::new();
    ParquetMetaDataWriter::new(&mut bytes, metadata).finish()?;
    Ok(bytes)
}

/// Returns the Thrift of a footer, and the positions of its pieces.
pub(super) fn taken_apart(footer: &[u8]) -> Result<(&[u8], Pieces), ParquetError> {
    let cut = || ParquetError::General("a truncated footer".to_owned());
    let thrift = footer.len().checked_sub(TAIL_BYTES).and_then(|length| footer.get(..length)).ok_or_else(cut)?;
    let pieces = shape::pieces(thrift).map_err(|flaw| ParquetError::General(format!("its footer {flaw}")))?;
    Ok((thrift, pieces))
}

/// Returns the metadata of a file with `groups`.
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

#[cfg(test)]
mod tests;
