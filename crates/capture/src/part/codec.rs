//! Compression of pages: zstd by the recorder, their default codec by programs that rewrite parts.

use std::cell::RefCell;

use parquet::basic::Compression;
use parquet::errors::ParquetError;

use super::shape::PageHeader;

type Result<T> = std::result::Result<T, ParquetError>;

thread_local! {
    static UNPACKER: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Whether pages with this compression can be read. Decoders of other codecs (gzip) allocate without limit, and check the
/// declared size afterwards.
pub(super) fn is_known(compression: Compression) -> bool {
    matches!(compression, Compression::SNAPPY) || is_recorders(compression)
}

/// Whether the recorder uses this compression.
pub(super) fn is_recorders(compression: Compression) -> bool {
    matches!(compression, Compression::UNCOMPRESSED | Compression::ZSTD(_))
}

/// Decompresses a page. Its header declares the size, and no more is allocated.
pub(super) fn decompressed(packed: &[u8], header: &PageHeader, compression: Compression) -> Result<Vec<u8>> {
    let size = usize::try_from(header.uncompressed_bytes)?;
    let bytes = match compression {
        Compression::UNCOMPRESSED => return Ok(packed.to_vec()),
        _ if size == 0 => return Ok(Vec::new()),
        Compression::ZSTD(_) => zstd(packed, size)?,
        Compression::SNAPPY => snappy(packed, size)?,
        other => return Err(ParquetError::General(format!("compressed by {other:?}"))),
    };
    if bytes.len() != size {
        return Err(ParquetError::General(format!("a page of {} bytes, expected {size}", bytes.len())));
    }
    Ok(bytes)
}

fn zstd(packed: &[u8], size: usize) -> Result<Vec<u8>> {
    let bytes = UNPACKER.with_borrow_mut(|unpacker| {
        let unpacker = match unpacker {
            Some(unpacker) => unpacker,
            None => unpacker.insert(zstd::bulk::Decompressor::new()?),
        };
        unpacker.decompress(packed, size)
    })?;
    Ok(bytes)
}

fn snappy(packed: &[u8], size: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let length = snap::raw::Decoder::new().decompress(packed, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}
