//! Files of traces as they are published: most are compressed. How is told by their first bytes, whatever they are called.

use std::fs::File;
use std::io::{BufReader, Cursor, Error, ErrorKind, Read, Result};
use std::path::Path;

use lzma_rust2::XzReader;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
    Xz,
}

/// What begins a file of each (RFC 1952, RFC 8878, the .xz file format).
const MAGIC: [(&[u8], Packing); 3] = [
    (&[0x1f, 0x8b], Packing::Gzip),
    (&[0x28, 0xb5, 0x2f, 0xfd], Packing::Zstd),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Packing::Xz),
];

/// Bytes of the longest of these.
const MAGIC_BYTES: usize = 6;

/// What a window of xz may take: that of `xz -9` is half of it. zstd has the same limit of its own.
const MOST_WINDOW_KIB: u32 = 128 << 10;

impl Packing {
    fn of(first: &[u8]) -> Option<Packing> {
        MAGIC.iter().find(|(magic, _)| first.starts_with(magic)).map(|(_, packing)| *packing)
    }
}

/// What is in the file at `path`, or comes from standard input (`-`), without its compression; and whether it has any.
pub fn open(path: &Path) -> Result<(Box<dyn Read>, bool)> {
    match path.to_str() {
        Some("-") => unpack(Box::new(std::io::stdin())),
        _ => unpack(Box::new(File::open(path)?)),
    }
}

/// What is said of a file whose compressed data was cut off.
pub const CUT_OFF: &str = "its compressed data ends early";

/// Whether an error of a file from [`open`], which is compressed or not, says that it was cut off.
pub fn is_cut_off(is_packed: bool, error: &Error) -> bool {
    is_packed && error.kind() == ErrorKind::UnexpectedEof
}

fn unpack(mut packed: Box<dyn Read>) -> Result<(Box<dyn Read>, bool)> {
    let mut first = Vec::with_capacity(MAGIC_BYTES);
    packed.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut first)?;
    let packing = Packing::of(&first);
    let whole = BufReader::new(Cursor::new(first).chain(packed));
    let unpacked: Box<dyn Read> = match packing {
        None => Box::new(whole),
        // Several in a row are one file: `cat a.gz b.gz`, and what compresses in parallel.
        Some(Packing::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Some(Packing::Zstd) => Box::new(zstd::stream::read::Decoder::with_buffer(whole)?),
        Some(Packing::Xz) => Box::new(XzReader::new_mem_limit(whole, true, MOST_WINDOW_KIB)),
    };
    Ok((unpacked, packing.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shorter_than_any_magic_is_read_as_it_is() {
        for text in ["", "1", "\u{1f}", "12345"] {
            let (mut read, packed) = unpack(Box::new(Cursor::new(text))).expect("readable");
            let mut found = String::new();
            read.read_to_string(&mut found).expect("text");
            assert_eq!((found.as_str(), packed), (text, false));
        }
    }
}
