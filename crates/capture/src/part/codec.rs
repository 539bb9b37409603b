//! How pages are compressed: with zstd by the recorder, with what they have as the default by programs that write parts anew.

use std::cell::RefCell;

use parquet::basic::Compression;
use parquet::errors::ParquetError;

use super::shape::PageHeader;

type Result<T> = std::result::Result<T, ParquetError>;

thread_local! {
    static UNPACKER: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Whether pages that are compressed so can be read. Decoders of others set aside whatever a page comes to, and look at what it says afterwards (gzip).
pub(super) fn is_known(compression: Compression) -> bool {
    matches!(compression, Compression::SNAPPY) || is_recorders(compression)
}

/// Whether the recorder compresses so.
pub(super) fn is_recorders(compression: Compression) -> bool {
    matches!(compression, Compression::UNCOMPRESSED | Compression::ZSTD(_))
}

/// What a page comes to, which says how much that is: no more is set aside.
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
