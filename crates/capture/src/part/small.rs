//! Small row groups, for which the cost per column must be low.
//!
//! The parquet crate creates a decompressor, and a compressor that is not needed, for each column of a row group, and zstd queries
//! the CPU's features each time, which traps in a virtual machine: 20 µs and more, where a row takes a tenth of one. Pages are
//! therefore decompressed by one decompressor per thread ([`super::codec`]), and the crate reads a few row groups at a time from
//! memory, as if they had never been compressed.

use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::codec::decompressed;
use super::footer::{STRUCT, varint};
use super::limits::{Column, range};
use super::shape::{self, DICTIONARY_PAGE, Flaw, PageHeader};

type Result<T> = std::result::Result<T, ParquetError>;

/// Maximum average size of a small row group, in bytes.
const SMALL_BYTES: u64 = 64 << 10;

/// Minimum number of row groups; below it the cost is negligible.
const FEWEST: usize = 16;

/// Number of row groups read at a time: their footer is in memory a second time.
pub(super) const AT_A_TIME: usize = 256;

/// Whether a part of `bytes` has small row groups.
pub(super) fn are_small(bytes: u64, groups: usize) -> bool {
    groups >= FEWEST && bytes / groups as u64 <= SMALL_BYTES
}

/// Returns some row groups as in memory, with metadata for them alone. Their pages were checked before, and only `columns` are
/// read.
pub(super) fn unpacked(
    file: &File,
    metadata: &ParquetMetaData,
    groups: &[usize],
    columns: &[Column],
) -> Result<(Bytes, ParquetMetaData)> {
    // No page is at the beginning of a file.
    let mut bytes = b"PAR1".to_vec();
    let mut unpacked = Vec::with_capacity(groups.len());
    for group in groups.iter().filter_map(|group| metadata.row_groups().get(*group)) {
        let mut chunks = group.columns().to_vec();
        for column in columns {
            if let Some(chunk) = chunks.get_mut(column.place) {
                *chunk = self::chunk(file, chunk, &mut bytes)?;
            }
        }
        unpacked.push(group.clone().into_builder().set_column_metadata(chunks).build()?);
    }
    Ok((bytes.into(), ParquetMetaData::new(metadata.file_metadata().clone(), unpacked)))
}

/// Appends the decompressed pages of a column and returns their position.
fn chunk(file: &File, chunk: &ColumnChunkMetaData, to: &mut Vec<u8>) -> Result<ColumnChunkMetaData> {
    let (begin, length) = range(chunk)?;
    let mut packed = vec![0; usize::try_from(length)?];
    file.read_exact_at(&mut packed, begin)?;
    let (first, mut dictionary, mut data) = (to.len(), None, None);
    let mut rest = packed.as_slice();
    while !rest.is_empty() {
        let header = shape::page_header(rest).map_err(|flaw| wrong(&flaw))?;
        let short = || ParquetError::General("a truncated page".to_owned());
        let body = rest.get(usize::try_from(header.header_bytes)?..).ok_or_else(short)?;
        let (page, after) = body.split_at_checked(usize::try_from(header.compressed_bytes)?).ok_or_else(short)?;
        let page = decompressed(page, &header, chunk.compression())?;
        let place = if header.kind == DICTIONARY_PAGE { &mut dictionary } else { &mut data };
        place.get_or_insert(i64::try_from(to.len())?);
        write_header(&header, page.len(), to);
        to.extend_from_slice(&page);
        rest = after;
    }
    let length = i64::try_from(to.len() - first)?;
    let chunk = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED);
    let chunk = chunk.set_total_compressed_size(length).set_total_uncompressed_size(length);
    let first = i64::try_from(first)?;
    chunk.set_dictionary_page_offset(dictionary).set_data_page_offset(data.unwrap_or(first)).build()
}

fn wrong(flaw: &Flaw) -> ParquetError {
    ParquetError::General(format!("the header of a page {flaw}"))
}

/// Writes a header in Thrift's compact protocol, for an uncompressed page of `bytes` bytes.
fn write_header(header: &PageHeader, bytes: usize, to: &mut Vec<u8>) {
    /// Writes a number; its field number is `after` more than the previous one.
    fn number(value: i64, after: u8, to: &mut Vec<u8>) {
        const I32: u8 = 5;
        to.push(after << 4 | I32);
        varint(to, (value << 1 ^ value >> 63) as u64);
    }
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    number(header.kind, 1, to);
    number(bytes, 1, to);
    number(bytes, 1, to);
    // Field 7 describes a dictionary, field 5 values.
    let after = if header.kind == DICTIONARY_PAGE { 4 } else { 2 };
    to.push(after << 4 | STRUCT);
    number(header.values, 1, to);
    number(header.encoding, 1, to);
    if header.kind != DICTIONARY_PAGE {
        number(header.levels[0], 1, to);
        number(header.levels[1], 1, to);
    }
    // Ends of both structures.
    to.extend_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_written_says_what_it_said() {
        for kind in [0, DICTIONARY_PAGE] {
            let header = PageHeader { kind, values: 70_000, encoding: 8, levels: [3, 3], ..PageHeader::default() };
            let mut bytes = Vec::new();
            write_header(&header, 1 << 20, &mut bytes);
            let read = shape::page_header(&bytes).expect("a header");
            assert_eq!((read.kind, read.values, read.encoding), (kind, 70_000, 8));
            assert_eq!((read.uncompressed_bytes, read.compressed_bytes), (1 << 20, 1 << 20));
            assert_eq!(
                (read.header_bytes as usize, read.levels),
                (bytes.len(), if kind == 0 { [3, 3] } else { [0, 0] })
            );
        }
    }
}
