//! What a part may claim. A capture from elsewhere is not believed: nothing is set aside, and nothing decoded, on the word of a
//! file that has not the bytes for it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

use super::shape::{self, DICTIONARY_PAGE, Flaw, PageHeader};
use super::small;
use crate::column::MOST_WORD_BYTES;

/// A footer: some 30,000 row groups.
pub(super) const MOST_FOOTER_BYTES: u64 = 64 << 20;

/// A page once it is decompressed. The recorder ends one soon after 1 MiB.
const MOST_PAGE_BYTES: i64 = 8 << 20;

/// The same of a dictionary, which the recorder ends sooner.
const MOST_DICTIONARY_BYTES: i64 = 2 << 20;

/// The least that is asked of a header at once: all of it, most often.
const HEADER_BYTES: usize = 256;

/// A header cannot be longer: what it tells of a page's least and greatest value is left out by the recorder.
const MOST_HEADER_BYTES: usize = 64 << 10;

/// Rows that a byte of a part can stand for. One that tells anything at all takes a bit.
const ROWS_IN_BYTE: u64 = 8;

/// Bytes of pages, once decompressed, that a byte of a part can stand for. Rows that were recorded are not so much alike: each
/// has a time of its own.
const MOST_INFLATION: u64 = 256;

/// How values may be laid out: plain, in runs, as differences, by dictionary (under its old number too). The decoders of the
/// others set memory aside before they look.
const ENCODINGS: [i64; 5] = [0, 2, 3, 5, 8];

type Result<T> = std::result::Result<T, ParquetError>;

fn refused<T>(what: impl Into<String>) -> Result<T> {
    Err(ParquetError::General(what.into()))
}

/// The metadata in the footer of a finished part.
pub(super) fn metadata(file: &File) -> Result<ParquetMetaData> {
    let metadata = footer(&footer_bytes(file)?)?;
    Ok(metadata)
}

/// The footer of a finished part, without its length and `PAR1`.
pub(super) fn footer_bytes(file: &File) -> Result<Vec<u8>> {
    let bytes = file.metadata()?.len();
    let mut tail = [0u8; 8];
    let Some(tail_at) = bytes.checked_sub(12) else {
        return refused(format!("has {bytes} bytes, expected at least 12"));
    };
    file.read_exact_at(&mut tail, tail_at + 4)?;
    let [a, b, c, d, magic @ ..] = tail;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    if &magic != b"PAR1" {
        return refused("does not end with PAR1: it was cut or is something else");
    }
    if length > tail_at.min(MOST_FOOTER_BYTES) {
        return refused(format!("a footer of {length} bytes, expected at most {}", tail_at.min(MOST_FOOTER_BYTES)));
    }
    let mut thrift = vec![0; usize::try_from(length)?];
    file.read_exact_at(&mut thrift, tail_at + 4 - length)?;
    Ok(thrift)
}

/// The metadata that the bytes of a footer hold, without its length and `PAR1`.
pub(super) fn footer(thrift: &[u8]) -> Result<ParquetMetaData> {
    shape::footer(thrift).or_else(|flaw| refused(format!("its footer {flaw}")))?;
    ParquetMetaDataReader::decode_metadata(thrift)
}

/// A column that is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Its place in the part.
    pub(super) place: usize,
    /// Whether its values are words of a dictionary.
    pub(super) words: bool,
}

/// What of a part was looked at. Row groups are looked at when they are to be read: there may be many, of which few are.
pub(super) struct Looked {
    /// The size of the part.
    bytes: u64,
    /// The columns that are to be read.
    columns: Vec<Column>,
    /// By row group: whether it was looked at.
    groups: Vec<bool>,
    /// What the pages of these groups come to once they are decompressed.
    inflated: u64,
}

impl Looked {
    /// Whether a part of `bytes` can have what `metadata` claims.
    pub(super) fn new(bytes: u64, metadata: &ParquetMetaData, columns: Vec<Column>) -> Result<Looked> {
        let (mut rows, mut in_chunks) = (0u64, 0u64);
        for group in metadata.row_groups() {
            rows = rows.saturating_add(u64::try_from(group.num_rows())?);
            for chunk in group.columns() {
                let (begin, length) = range(chunk)?;
                if begin.checked_add(length).is_none_or(|end| end > bytes) {
                    return refused(format!("{} lies outside the file", name(chunk)));
                }
                in_chunks = in_chunks.saturating_add(length);
            }
        }
        // Else many groups could be made of the same bytes.
        if in_chunks > bytes {
            return refused(format!("its columns take {in_chunks} bytes of {bytes}: they overlap"));
        }
        if rows > bytes.saturating_mul(ROWS_IN_BYTE) {
            return refused(format!("claims {rows} rows in {bytes} bytes, expected at most {ROWS_IN_BYTE} a byte"));
        }
        Ok(Looked { bytes, columns, groups: vec![false; metadata.num_row_groups()], inflated: 0 })
    }

    /// The columns that are to be read.
    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The size of the part.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The places of the columns that are to be read.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|column| column.place)
    }

    /// Whether the pages of a row group are such as may be decoded, those of the groups before included.
    pub(super) fn look(&mut self, file: &File, metadata: &ParquetMetaData, number: usize) -> Result<()> {
        let (Some(looked), Some(group)) = (self.groups.get_mut(number), metadata.row_groups().get(number)) else {
            return refused(format!("has no row group {number}"));
        };
        if std::mem::replace(looked, true) {
            return Ok(());
        }
        for Column { place, words } in &self.columns {
            let Some(chunk) = group.columns().get(*place) else { return refused("lacks a column of its table") };
            let inflated = self::chunk(file, group, chunk, *words).map_err(|e| about(chunk, &e))?;
            self.inflated = self.inflated.saturating_add(inflated);
        }
        let Looked { bytes, inflated, .. } = *self;
        if inflated > bytes.saturating_mul(MOST_INFLATION) {
            return refused(format!("{bytes} bytes that become {inflated}, expected at most {MOST_INFLATION} for one"));
        }
        Ok(())
    }
}

fn about(chunk: &ColumnChunkMetaData, error: &ParquetError) -> ParquetError {
    let what = match error {
        ParquetError::General(what) => what.clone(),
        other => other.to_string(),
    };
    ParquetError::General(format!("{}: {what}", name(chunk)))
}

fn name(chunk: &ColumnChunkMetaData) -> String {
    format!("column {}", chunk.column_path().string())
}

/// Where the pages of a column begin, and how many bytes they take.
pub(super) fn range(chunk: &ColumnChunkMetaData) -> Result<(u64, u64)> {
    let begin = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    Ok((u64::try_from(begin)?, u64::try_from(chunk.compressed_size())?))
}

/// Goes through the headers of all pages of a column. What they come to once they are decompressed.
fn chunk(file: &File, group: &RowGroupMetaData, chunk: &ColumnChunkMetaData, words: bool) -> Result<u64> {
    if !matches!(chunk.compression(), Compression::UNCOMPRESSED | Compression::ZSTD(_)) {
        return refused(format!("compressed by {:?}, expected ZSTD", chunk.compression()));
    }
    let (begin, length) = range(chunk)?;
    let (mut at, end) = (begin, begin.saturating_add(length));
    let (mut values, mut inflated) = (0i64, 0u64);
    while at < end {
        let header = header(file, at, end - at)?;
        let left = end - at - header.header_bytes;
        if !u64::try_from(header.compressed_bytes).is_ok_and(|bytes| bytes <= left) {
            return refused(format!("a page of {} bytes in {left}", header.compressed_bytes));
        }
        if header.kind == DICTIONARY_PAGE {
            within(header, MOST_DICTIONARY_BYTES)?;
            if !words || at != begin || header.values.saturating_mul(4) > header.uncompressed_bytes {
                return refused(format!("a dictionary of {} values where none can be", header.values));
            }
            dictionary(file, at, &header, chunk)?;
        } else {
            within(header, MOST_PAGE_BYTES)?;
            values = values.saturating_add(header.values);
        }
        at += header.header_bytes + header.compressed_bytes.unsigned_abs();
        inflated = inflated.saturating_add(header.uncompressed_bytes.unsigned_abs());
    }
    if values != group.num_rows() {
        return refused(format!("{values} values, expected {}", group.num_rows()));
    }
    Ok(inflated)
}

fn within(header: PageHeader, most: i64) -> Result<()> {
    let PageHeader { uncompressed_bytes, values, encoding, .. } = header;
    if !(0..=most).contains(&uncompressed_bytes) {
        return refused(format!("a page of {uncompressed_bytes} bytes once decompressed, expected at most {most}"));
    }
    if values < 0 || !ENCODINGS.contains(&encoding) {
        return refused(format!("a page of {values} values of encoding {encoding}, which the recorder does not write"));
    }
    Ok(())
}

/// The header of the page at `at`, which has at most `left` bytes.
fn header(file: &File, at: u64, left: u64) -> Result<PageHeader> {
    let mut room = HEADER_BYTES;
    loop {
        let asked = room.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut bytes = vec![0; asked];
        file.read_exact_at(&mut bytes, at)?;
        match shape::page_header(&bytes) {
            Ok(header) => return Ok(header),
            // Longer than most, or cut.
            Err(Flaw::Short) if asked == room && room < MOST_HEADER_BYTES => room = MOST_HEADER_BYTES,
            Err(flaw) => return refused(format!("the header of a page {flaw}")),
        }
    }
}

/// Whether no word of the dictionary at `at` is longer than one may be: a decoder may repeat it in every row.
fn dictionary(file: &File, at: u64, header: &PageHeader, chunk: &ColumnChunkMetaData) -> Result<()> {
    let mut packed = vec![0; usize::try_from(header.compressed_bytes)?];
    file.read_exact_at(&mut packed, at + header.header_bytes)?;
    let words = small::decompressed(&packed, header, chunk.compression())?;
    let mut rest = words.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        if length > MOST_WORD_BYTES {
            return refused(format!("a word of {length} bytes, expected at most {MOST_WORD_BYTES}"));
        }
        rest = after.get(length..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
