//! File of partial results: a header, the partial results with their lengths and checksums, and an end marker. A file without the marker is
//! truncated.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use iostrata_capture::dir::Dir;

use super::Id;

/// Magic bytes, with the version of the layout.
const MAGIC: &[u8; 16] = b"iostrata-part-02";

/// Size of the header of a partial result: its id, its length, its decompressed length, and the CRC-32 of the stored bytes.
const HEAD_BYTES: usize = 16 + 8 + 8 + 4;

/// Id of the end marker; its length is the number of partial results.
const END: Id = Id([0; 16]);

/// Position of a partial result in a file.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    at: u64,
    bytes: u64,
    raw_bytes: u64,
    crc: u32,
}

/// Location of a file.
#[derive(Debug)]
enum Place {
    /// Path given by a user.
    Named(PathBuf),
    /// File in a directory that others may write to.
    Within(Dir, String),
}

impl Place {
    fn path(&self) -> PathBuf {
        match self {
            Place::Named(path) => path.clone(),
            Place::Within(directory, name) => directory.path().join(name),
        }
    }

    fn open(&self) -> Result<File> {
        match self {
            Place::Named(path) => File::open(path).with_context(|| format!("{}: cannot open", path.display())),
            Place::Within(directory, name) => Ok(directory.open_file(name)?),
        }
    }
}

/// Existing file of partial results.
#[derive(Debug)]
pub struct Bundle {
    from: Place,
    /// Id of the program that wrote it.
    pub tool: Id,
    /// Partial results by id.
    pub places: HashMap<Id, Span>,
}

impl Bundle {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is of another type, or is truncated.
    pub fn open(path: &Path) -> Result<Bundle> {
        Bundle::of(Place::Named(path.to_owned()))
    }

    /// Opens the file `name` of `directory`.
    ///
    /// # Errors
    /// If it cannot be read, is of another type, or is truncated.
    pub fn within(directory: &Dir, name: &str) -> Result<Bundle> {
        Bundle::of(Place::Within(directory.clone(), name.to_owned()))
    }

    fn of(from: Place) -> Result<Bundle> {
        let (file, path) = (from.open()?, from.path());
        let length = file.metadata().with_context(|| format!("{}: cannot stat", path.display()))?.len();
        let read = |at: u64, bytes: &mut [u8]| file.read_exact_at(bytes, at).is_ok();
        let mut header = [0; 32];
        if !read(0, &mut header) || !header.starts_with(MAGIC) {
            bail!("{}: not a file of partial results, expected one of `iostrata-analyze partial`", path.display());
        }
        let (mut places, mut at) = (HashMap::new(), header.len() as u64);
        loop {
            let mut head = [0; HEAD_BYTES];
            if !read(at, &mut head) {
                bail!("{}: truncated file, expected an end after {} partial results", path.display(), places.len());
            }
            let (id, place) = parsed(&head, at + HEAD_BYTES as u64);
            if id == END {
                if place.bytes != places.len() as u64 || place.at != length {
                    bail!("{}: corrupt file, its end does not match its contents", path.display());
                }
                return Ok(Bundle { from, tool: Id::read(&header[16..]), places });
            }
            at = place.at.saturating_add(place.bytes);
            places.insert(id, place);
        }
    }

    /// Reads a partial result.
    ///
    /// # Errors
    /// If it cannot be read, or is corrupt.
    pub fn read(&self, place: &Span) -> Result<Vec<u8>> {
        let Span { at, bytes, raw_bytes, crc } = *place;
        let changed = || format!("{}: the partial result at byte {at} is corrupt", self.from.path().display());
        let file = self.from.open()?;
        // It lies within the file, because the end marker is behind it.
        let mut packed = vec![0; usize::try_from(bytes).with_context(changed)?];
        file.read_exact_at(&mut packed, at).with_context(changed)?;
        if crc32fast::hash(&packed) != crc {
            bail!(changed());
        }
        let mut raw = Vec::new();
        let unpacked = zstd::Decoder::with_buffer(packed.as_slice()).with_context(changed)?;
        unpacked.take(raw_bytes.saturating_add(1)).read_to_end(&mut raw).with_context(changed)?;
        // The checksum does not cover the header.
        if raw.len() as u64 != raw_bytes {
            bail!(changed());
        }
        Ok(raw)
    }
}

fn parsed(head: &[u8; HEAD_BYTES], at: u64) -> (Id, Span) {
    let word = |from: usize| head[from..from + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let crc = head[32..].iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    (Id::read(head), Span { at, bytes: word(16), raw_bytes: word(24), crc })
}

fn head(id: Id, bytes: u64, raw_bytes: u64, crc: u32) -> Vec<u8> {
    [&id.0[..], &bytes.to_le_bytes(), &raw_bytes.to_le_bytes(), &crc.to_le_bytes()].concat()
}

/// File of partial results that is being written. It gets its name when it is complete.
#[derive(Debug)]
pub struct Writer {
    directory: Dir,
    name: String,
    temporary: String,
    file: BufWriter<File>,
    count: u64,
}

impl Writer {
    /// Creates a file at `path`, a path given by a user, of the program `tool`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(path: &Path, tool: Id) -> Result<Writer> {
        let (directory, name) = Dir::around(path)?;
        Writer::within(&directory, &name, tool)
    }

    /// Creates a file in `directory`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn within(directory: &Dir, name: &str, tool: Id) -> Result<Writer> {
        let temporary = format!(".{name}.{}.tmp", std::process::id());
        let file = BufWriter::new(directory.create_file_for(&temporary, name)?);
        let mut writer = Writer { directory: directory.clone(), name: name.to_owned(), temporary, file, count: 0 };
        writer.write(&[MAGIC, &tool.0[..]].concat())?;
        Ok(writer)
    }

    /// Adds a partial result.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, id: Id, raw: &[u8], packed: &[u8]) -> Result<()> {
        self.count += 1;
        self.write(&head(id, packed.len() as u64, raw.len() as u64, crc32fast::hash(packed)))?;
        self.write(packed)
    }

    /// Writes the end marker and renames the file to its name.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<u64> {
        self.write(&head(END, self.count, 0, 0))?;
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.with_context(|| self.cannot_write())?;
        self.directory.rename(&self.temporary, &self.name)?;
        Ok(self.count)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| self.cannot_write())
    }

    fn cannot_write(&self) -> String {
        format!("{}: cannot write", self.directory.path().join(&self.name).display())
    }
}

impl Drop for Writer {
    /// Removes an unfinished file. A finished one no longer has the temporary name.
    fn drop(&mut self) {
        let _ = self.directory.remove(&self.temporary);
    }
}

/// Compresses a partial result for a file.
///
/// # Errors
/// If it does not fit into memory.
pub fn packed(raw: &[u8]) -> Result<Vec<u8>> {
    zstd::bulk::compress(raw, 1).context("cannot compress a partial result")
}
