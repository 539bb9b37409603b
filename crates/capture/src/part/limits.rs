//! Limits of what a part may claim. A capture from elsewhere is not trusted: nothing is allocated or decoded for sizes that the
//! file does not have the bytes for.

use std::fs::File;
use std::os::unix::fs::FileExt;

use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

use super::codec;
use super::shape::{self, DICTIONARY_PAGE, Flaw, PageHeader, VALUES_PAGE};
use crate::column::{MOST_TEXT_BYTES, MOST_WORD_BYTES};

/// Maximum size of a footer: some 30,000 row groups.
pub(super) const MOST_FOOTER_BYTES: u64 = 64 << 20;

/// Maximum size of a decompressed page. The recorder ends one soon after 1 MiB, DuckDB not before its row group ends, which has
/// 122,880 rows.
const MOST_PAGE_BYTES: i64 = 8 << 20;

/// Maximum size of a decompressed page of texts, which may be long in every row.
const MOST_TEXT_PAGE_BYTES: i64 = 32 << 20;

/// Maximum size of a decompressed dictionary, which the recorder ends sooner.
const MOST_DICTIONARY_BYTES: i64 = 8 << 20;

/// Bytes of a header that are read first: most often all of it.
const HEADER_BYTES: usize = 256;

/// Maximum size of a header: the recorder omits the minimum and maximum of a page.
const MOST_HEADER_BYTES: usize = 64 << 10;

/// Maximum number of rows per byte of a part: a row with any information takes one bit.
const ROWS_IN_BYTE: u64 = 8;

/// Maximum decompressed bytes per byte of a part, in addition to [`VALUE_BYTES`] per value, which are limited by the rows. Recorded
/// texts compress less.
const MOST_INFLATION: u64 = 256;

/// Size of a number and its validity.
const VALUE_BYTES: u64 = 9;

/// Accepted encodings: plain, runs, differences, dictionary (also under its old number), byte-stream split. The decoders of the
/// others allocate memory before they check.
const ENCODINGS: [i64; 6] = [0, 2, 3, 5, 8, 9];

type Result<T> = std::result::Result<T, ParquetError>;

fn refused<T>(what: impl Into<String>) -> Result<T> {
    Err(ParquetError::General(what.into()))
}

/// Reads the metadata in the footer of a finished part.
pub(super) fn metadata(file: &File) -> Result<ParquetMetaData> {
    let metadata = footer(&footer_bytes(file)?)?;
    Ok(metadata)
}

/// Returns the footer of a finished part, without its length and `PAR1`.
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
        return refused("does not end with PAR1: truncated or another format");
    }
    if length > tail_at.min(MOST_FOOTER_BYTES) {
        return refused(format!("a footer of {length} bytes, expected at most {}", tail_at.min(MOST_FOOTER_BYTES)));
    }
    let mut thrift = vec![0; usize::try_from(length)?];
    file.read_exact_at(&mut thrift, tail_at + 4 - length)?;
    Ok(thrift)
}

/// Decodes the metadata in the bytes of a footer, given without its length and `PAR1`.
pub(super) fn footer(thrift: &[u8]) -> Result<ParquetMetaData> {
    shape::footer(thrift).or_else(|flaw| refused(format!("its footer {flaw}")))?;
    ParquetMetaDataReader::decode_metadata(thrift)
}

/// Kind of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Numbers of this many bytes.
    Numbers(i64),
    /// Booleans, which no writer puts into a dictionary.
    Booleans,
    /// Texts, copied for each row.
    Texts,
    /// Enum values, kept in a dictionary.
    Words,
}

impl Values {
    /// Returns the minimum size of a value in a dictionary, in bytes; `None` for kinds that have none.
    fn least_bytes(self) -> Option<i64> {
        match self {
            Values::Numbers(bytes) => Some(bytes),
            Values::Booleans => None,
            // Length of a text.
            Values::Texts | Values::Words => Some(4),
        }
    }

    /// Returns the maximum size of a decompressed page.
    fn most_page_bytes(self) -> i64 {
        if self == Values::Texts { MOST_TEXT_PAGE_BYTES } else { MOST_PAGE_BYTES }
    }
}

/// Column that is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Index in the part.
    pub(super) place: usize,
    /// Kind of its values.
    pub(super) values: Values,
}

/// Checked extent of a part. Row groups are checked when they are to be read: there may be many, of which few are read.
pub(super) struct Looked {
    /// Size of the part in bytes.
    bytes: u64,
    /// Columns that are to be read.
    columns: Vec<Column>,
    /// By row group: whether it was checked.
    groups: Vec<bool>,
    /// Decompressed size of the pages of the checked groups, in bytes.
    inflated: u64,
    /// Whether all of their pages have the recorder's format.
    are_recorders: bool,
}

impl Looked {
    /// Checks whether a part of `bytes` bytes can contain what `metadata` claims.
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
        // Otherwise many groups could share the same bytes.
        if in_chunks > bytes {
            return refused(format!("its columns take {in_chunks} bytes of {bytes}: they overlap"));
        }
        if rows > bytes.saturating_mul(ROWS_IN_BYTE) {
            return refused(format!("claims {rows} rows in {bytes} bytes, expected at most {ROWS_IN_BYTE} per byte"));
        }
        Ok(Looked { bytes, columns, groups: vec![false; metadata.num_row_groups()], inflated: 0, are_recorders: true })
    }

    /// Returns the columns that are to be read.
    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Returns the size of the part in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all checked pages have the recorder's format.
    pub(super) fn are_recorders(&self) -> bool {
        self.are_recorders
    }

    /// Returns the indexes of the columns that are to be read.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|column| column.place)
    }

    /// Checks whether the pages of a row group may be decoded, including those of the groups checked before.
    pub(super) fn look(&mut self, file: &File, metadata: &ParquetMetaData, number: usize) -> Result<()> {
        let (Some(looked), Some(group)) = (self.groups.get_mut(number), metadata.row_groups().get(number)) else {
            return refused(format!("has no row group {number}"));
        };
        if std::mem::replace(looked, true) {
            return Ok(());
        }
        for Column { place, values } in &self.columns {
            let Some(chunk) = group.columns().get(*place) else { return refused("lacks a column of its table") };
            let pages = self::chunk(file, group, chunk, *values).map_err(|e| about(chunk, &e))?;
            self.inflated = self.inflated.saturating_add(pages.inflated);
            self.are_recorders &= pages.are_recorders;
        }
        let Looked { bytes, inflated, .. } = *self;
        if inflated > bytes.saturating_mul(MOST_INFLATION) {
            return refused(format!(
                "{bytes} bytes that decompress to {inflated}, expected at most {MOST_INFLATION} per byte"
            ));
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

/// Returns the begin and the size of the pages of a column, in bytes.
pub(super) fn range(chunk: &ColumnChunkMetaData) -> Result<(u64, u64)> {
    // As the library computes it: the checked range must be the one it reads.
    let data = chunk.data_page_offset();
    let begin = chunk.dictionary_page_offset().unwrap_or(data);
    // Arrow C++ writes 0 if there are no rows, and so no page of values.
    if begin > data && data != 0 {
        return refused("a dictionary after the values");
    }
    Ok((u64::try_from(begin)?, u64::try_from(chunk.compressed_size())?))
}

/// Sum over the pages of a column.
struct Pages {
    /// Decompressed bytes, with texts of a dictionary counted in all rows.
    inflated: u64,
    /// Whether the pages have the recorder's format.
    are_recorders: bool,
}

/// Checks the headers of all pages of a column.
fn chunk(file: &File, group: &RowGroupMetaData, chunk: &ColumnChunkMetaData, values: Values) -> Result<Pages> {
    let compression = chunk.compression();
    if !codec::is_known(compression) {
        return refused(format!("compressed by {compression:?}, expected ZSTD, SNAPPY or UNCOMPRESSED"));
    }
    let mut pages = Pages { inflated: 0, are_recorders: codec::is_recorders(compression) };
    let (begin, length) = range(chunk)?;
    let (mut at, end) = (begin, begin.saturating_add(length));
    let (mut count, mut longest) = (0i64, 0);
    while at < end {
        let header = header(file, at, end - at)?;
        let left = end - at - header.header_bytes;
        if !u64::try_from(header.compressed_bytes).is_ok_and(|bytes| bytes <= left) {
            return refused(format!("a page of {} bytes with {left} bytes left", header.compressed_bytes));
        }
        if header.kind == DICTIONARY_PAGE {
            within(header, MOST_DICTIONARY_BYTES)?;
            // A dictionary may have more values than the rows use: Arrow keeps the whole dictionary of a slice.
            let most = values.least_bytes().map_or(-1, |least_bytes| header.uncompressed_bytes / least_bytes);
            if at != begin || header.values > most {
                return refused(format!("an invalid dictionary of {} values", header.values));
            }
            pages.are_recorders &= values == Values::Words;
            match values {
                Values::Numbers(_) | Values::Booleans => {}
                Values::Texts => longest = dictionary(file, at, &header, chunk, MOST_TEXT_BYTES)?,
                // Kept as a dictionary: no value is stored more than once.
                Values::Words => drop(dictionary(file, at, &header, chunk, MOST_WORD_BYTES)?),
            }
        } else {
            within(header, values.most_page_bytes())?;
            if header.values == 0 && group.num_rows() > 0 {
                return refused("a page without values, expected at least one");
            }
            pages.are_recorders &= header.kind == VALUES_PAGE;
            count = count.saturating_add(header.values);
        }
        at += header.header_bytes + header.compressed_bytes.unsigned_abs();
        // The rows limit the number of values, except for those of a dictionary.
        let is_dictionary = header.kind == DICTIONARY_PAGE;
        let in_rows = if is_dictionary { 0 } else { header.values.unsigned_abs().saturating_mul(VALUE_BYTES) };
        let inflated = header.uncompressed_bytes.unsigned_abs().saturating_sub(in_rows);
        pages.inflated = pages.inflated.saturating_add(inflated);
    }
    if count != group.num_rows() {
        return refused(format!("{count} values, expected {}", group.num_rows()));
    }
    pages.inflated = pages.inflated.saturating_add(count.unsigned_abs().saturating_mul(longest));
    Ok(pages)
}

fn within(header: PageHeader, most: i64) -> Result<()> {
    let PageHeader { uncompressed_bytes, values, encoding, .. } = header;
    if !(0..=most).contains(&uncompressed_bytes) {
        return refused(format!("a page of {uncompressed_bytes} bytes once decompressed, expected at most {most}"));
    }
    // The library reads 32-bit numbers, and larger values would wrap.
    let fits = |number: i64| (0..=i64::from(i32::MAX)).contains(&number);
    if !fits(values) || !fits(header.compressed_bytes) || !ENCODINGS.contains(&encoding) {
        return refused(format!("a page of {values} values of encoding {encoding}, expected one of {ENCODINGS:?}"));
    }
    Ok(())
}

/// Reads the header of the page at `at`, which has at most `left` bytes.
fn header(file: &File, at: u64, left: u64) -> Result<PageHeader> {
    let mut room = HEADER_BYTES;
    loop {
        let asked = room.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut bytes = vec![0; asked];
        file.read_exact_at(&mut bytes, at)?;
        match shape::page_header(&bytes) {
            Ok(header) => return Ok(header),
            // Longer than usual, or truncated.
            Err(Flaw::Short) if asked == room && room < MOST_HEADER_BYTES => room = MOST_HEADER_BYTES,
            Err(flaw) => return refused(format!("the header of a page {flaw}")),
        }
    }
}

/// Returns the length of the longest text in the dictionary at `at`, limited to `most`: a decoder may repeat it in every row.
fn dictionary(file: &File, at: u64, header: &PageHeader, chunk: &ColumnChunkMetaData, most: usize) -> Result<u64> {
    let mut packed = vec![0; usize::try_from(header.compressed_bytes)?];
    file.read_exact_at(&mut packed, at + header.header_bytes)?;
    let words = codec::decompressed(&packed, header, chunk.compression())?;
    let (mut rest, mut longest) = (words.as_slice(), 0);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        if length > most {
            return refused(format!("a dictionary value of {length} bytes, expected at most {most}"));
        }
        longest = longest.max(length as u64);
        rest = after.get(length..).unwrap_or_default();
    }
    Ok(longest)
}

#[cfg(test)]
mod tests;
