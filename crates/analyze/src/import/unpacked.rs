//! Decompression of trace files. The first bytes determine the format, not the file name.
//!
//! Each decoder has its own error messages. Here they become a few messages for users.

use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result};
use std::path::Path;

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use super::xz::Xz;

/// Compression format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
    Xz,
}

/// First bytes of a file of each format (RFC 1952, RFC 8878, the .xz file format).
const MAGIC: [(&[u8], Packing); 3] = [
    (&[0x1f, 0x8b], Packing::Gzip),
    (&[0x28, 0xb5, 0x2f, 0xfd], Packing::Zstd),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Packing::Xz),
];

/// First bytes of files in unsupported formats, their names, and commands that decompress them.
const OTHERS: [(&[u8], &str, &str); 5] = [
    (b"BZh", "bzip2", "bzip2 -dc"),
    (&[b'P', b'K', 3, 4], "zip", "unzip -p"),
    (&[4, 0x22, 0x4d, 0x18], "lz4", "lz4 -dc"),
    (b"LZIP\x01", "lzip", "lzip -dc"),
    (&[0x1f, 0x9d], "compress", "uncompress -c"),
];

/// Bytes of a bzip2 file after its first bytes and a digit, which no text has.
const BZIP2_BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];

/// Length of the longest of these.
const MAGIC_BYTES: usize = 10;

/// First bytes of a skippable frame of zstd: the upper half of the first byte, and the bytes after it.
const ZSTD_SKIPPABLE: (u8, &[u8]) = (0x50, &[0x2a, 0x4d, 0x18]);

/// Maximum window. `xz -9` uses half of it. zstd has the same limit itself.
const MOST_WINDOW_KIB: u32 = 128 << 10;

impl Packing {
    fn of(first: &[u8]) -> Option<Packing> {
        let found = MAGIC.iter().find(|(magic, _)| first.starts_with(magic)).map(|(_, packing)| *packing);
        found.or(is_skippable(first, true).then_some(Packing::Zstd))
    }

    const fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
            Packing::Xz => "xz",
        }
    }
}

/// Opens the file at `path`, or standard input (`-`), and decompresses it. Returns the data, and whether it was compressed.
pub fn open(path: &Path) -> Result<(Box<dyn Read>, bool)> {
    match path.to_str() {
        Some("-") => unpack(Box::new(std::io::stdin())),
        _ => unpack(Box::new(File::open(path)?)),
    }
}

/// Message about a file with truncated compressed data.
pub const CUT_OFF: &str = "its compressed data ends early";

/// Whether an error of a file from [`open`] means that its compressed data was truncated.
pub fn is_cut_off(is_packed: bool, error: &Error) -> bool {
    is_packed && error.kind() == ErrorKind::UnexpectedEof
}

fn unpack(packed: Box<dyn Read>) -> Result<(Box<dyn Read>, bool)> {
    let mut input = Input { ahead: Vec::new(), taken: 0, rest: BufReader::new(packed) };
    let first = input.first()?;
    let packing = Packing::of(first);
    if let (None, Some((_, name, program))) = (packing, other(first)) {
        let what = format!(
            "it is compressed by {name}, expected gzip, zstd, xz or none: decompress it first, `{program} FILE`, and import `-` (standard input)"
        );
        return Err(Error::new(ErrorKind::InvalidData, what));
    }
    Ok(match packing {
        None => (Box::new(input), false),
        Some(packing) => (Box::new(Unpacked { packing, now: Now::Between(input), members: 0 }), true),
    })
}

fn other(first: &[u8]) -> Option<&'static (&'static [u8], &'static str, &'static str)> {
    let found = OTHERS.iter().find(|(magic, ..)| first.starts_with(magic))?;
    (found.1 != "bzip2" || first.get(4..) == Some(BZIP2_BLOCK)).then_some(found)
}

/// Whether a skippable frame of zstd begins with these bytes; if they are incomplete, whether it may.
fn is_skippable(first: &[u8], is_whole: bool) -> bool {
    let (low, rest) = ZSTD_SKIPPABLE;
    let behind = first.get(1..).unwrap_or_default();
    let goes_on = if is_whole { behind.starts_with(rest) } else { rest.starts_with(behind) };
    goes_on && first.first().is_some_and(|byte| byte & 0xf0 == low)
}

/// File with lookahead.
struct Input {
    ahead: Vec<u8>,
    /// Number of lookahead bytes that were read.
    taken: usize,
    rest: BufReader<Box<dyn Read>>,
}

impl Input {
    /// Returns the next bytes, as many as determine the format.
    fn first(&mut self) -> Result<&[u8]> {
        self.ahead.drain(..self.taken);
        self.taken = 0;
        let missing = MAGIC_BYTES.saturating_sub(self.ahead.len());
        self.rest.by_ref().take(missing as u64).read_to_end(&mut self.ahead)?;
        Ok(&self.ahead)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        if self.taken < self.ahead.len() { Ok(&self.ahead[self.taken..]) } else { self.rest.fill_buf() }
    }

    fn consume(&mut self, bytes: usize) {
        if self.taken < self.ahead.len() { self.taken += bytes } else { self.rest.consume(bytes) }
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let buffer = self.fill_buf()?;
        let bytes = buffer.len().min(into.len());
        into[..bytes].copy_from_slice(&buffer[..bytes]);
        self.consume(bytes);
        Ok(bytes)
    }
}

/// Reader of a compressed file. Several members, frames or streams in a row are one file: `cat a.gz b.gz`, and the output of parallel
/// compressors.
struct Unpacked {
    packing: Packing,
    now: Now,
    /// Number of members read to their end.
    members: u64,
}

/// Position of the reader.
enum Now {
    /// Before the first member, or after one.
    Between(Input),
    /// Within a member.
    Gzip(Box<GzDecoder<Input>>),
    Zstd(Box<ZstdDecoder<'static, Input>>),
    Xz(Box<Xz<Input>>),
    /// At the end.
    Ended,
}

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.now {
                Now::Ended => return Ok(0),
                Now::Between(_) => {
                    let Now::Between(input) = std::mem::replace(&mut self.now, Now::Ended) else { return Ok(0) };
                    self.now = self.next(input)?;
                    continue;
                }
                Now::Gzip(decoder) => decoder.read(into),
                Now::Zstd(decoder) => decoder.read(into),
                Now::Xz(decoder) => decoder.read(into),
            };
            match read {
                Ok(0) => self.now = std::mem::replace(&mut self.now, Now::Ended).behind(),
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                Err(error) => {
                    self.now = Now::Ended;
                    return Err(said(self.packing, &error).unwrap_or(error));
                }
            }
            self.members += 1;
        }
    }
}

impl Now {
    /// Moves after the member that was read to its end.
    fn behind(self) -> Now {
        match self {
            Now::Gzip(decoder) => Now::Between(decoder.into_inner()),
            Now::Zstd(decoder) => Now::Between(decoder.finish()),
            Now::Xz(decoder) => Now::Between(decoder.into_inner()),
            now @ (Now::Between(_) | Now::Ended) => now,
        }
    }
}

impl Unpacked {
    /// Begins the next member of the file.
    fn next(&self, mut input: Input) -> Result<Now> {
        // Zeros pad blocks, of tapes and in the .xz file format.
        if self.members > 0 {
            loop {
                let buffer = input.fill_buf()?;
                if buffer.is_empty() {
                    return Ok(Now::Ended);
                }
                let (zeros, all) = (buffer.iter().take_while(|byte| **byte == 0).count(), buffer.len());
                input.consume(zeros);
                if zeros < all {
                    break;
                }
            }
        }
        let first = input.first()?;
        match self.begins(first) {
            Begins::This => {}
            Begins::Early => return Err(Error::new(ErrorKind::UnexpectedEof, CUT_OFF)),
            Begins::Other => {
                let (name, shown) = (self.packing.name(), first.escape_ascii());
                let what = format!(
                    "its {name} data is followed by other data, which begins with \"{shown}\": remove it, or import both separately"
                );
                return Err(Error::new(ErrorKind::InvalidData, what));
            }
        }
        Ok(match self.packing {
            Packing::Gzip => Now::Gzip(Box::new(GzDecoder::new(input))),
            Packing::Zstd => Now::Zstd(Box::new(ZstdDecoder::with_buffer(input)?.single_frame())),
            Packing::Xz => Now::Xz(Box::new(Xz::new(input, MOST_WINDOW_KIB))),
        })
    }

    fn begins(&self, first: &[u8]) -> Begins {
        let magic = MAGIC.iter().find(|(_, packing)| *packing == self.packing).map_or(&[][..], |(magic, _)| magic);
        let skips = |is_whole: bool| self.packing == Packing::Zstd && is_skippable(first, is_whole);
        match () {
            () if first.starts_with(magic) || skips(true) => Begins::This,
            () if magic.starts_with(first) || skips(false) => Begins::Early,
            () => Begins::Other,
        }
    }
}

/// Next data in a file.
enum Begins {
    /// A member of the same format.
    This,
    /// The first bytes of such a member, truncated.
    Early,
    /// Other data.
    Other,
}

/// Translates an error of a decoder; none if the file itself could not be read.
fn said(packing: Packing, error: &Error) -> Option<Error> {
    if error.raw_os_error().is_some() {
        return None;
    }
    let name = packing.name();
    // Decoders have no other error for a window.
    let is_window = error.kind() == ErrorKind::OutOfMemory || error.to_string().contains("too much memory");
    Some(match error.kind() {
        ErrorKind::UnexpectedEof => Error::new(ErrorKind::UnexpectedEof, CUT_OFF),
        _ if is_window => {
            let most = MOST_WINDOW_KIB >> 10;
            Error::new(
                ErrorKind::InvalidData,
                format!("its {name} data needs a window of more than {most} MiB: compress it again with a smaller one"),
            )
        }
        _ => Error::new(ErrorKind::InvalidData, format!("its {name} data is damaged")),
    })
}

#[cfg(test)]
mod tests;
