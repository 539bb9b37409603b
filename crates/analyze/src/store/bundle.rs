//! A file of partials: a header, partials one after the other, each with its length and checksum, and an end, without which the file was cut off.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use iostrata_capture::dir::Dir;

use super::Id;

/// How a file begins, with the version of its layout.
const MAGIC: &[u8; 16] = b"iostrata-part-02";

/// What stands before each partial: its id, its length, that once it is decompressed, and the CRC-32 of what is there.
const HEAD_BYTES: usize = 16 + 8 + 8 + 4;

/// The id of the end, whose length is the number of partials.
const END: Id = Id([0; 16]);

/// Where a partial is in a file.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    at: u64,
    bytes: u64,
    raw_bytes: u64,
    crc: u32,
}

/// Where a file is.
#[derive(Debug)]
enum Place {
    /// As a user named it.
    Named(PathBuf),
    /// In a directory that others may write to.
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

/// A file of partials that is there.
#[derive(Debug)]
pub struct Bundle {
    from: Place,
    /// The program that wrote it.
    pub tool: Id,
    /// Its partials.
    pub places: HashMap<Id, Span>,
}

impl Bundle {
    /// What is in the file at `path`.
    ///
    /// # Errors
    /// Where it cannot be read, is something else, or was cut off.
    pub fn open(path: &Path) -> Result<Bundle> {
        Bundle::of(Place::Named(path.to_owned()))
    }

    /// What is in the file `name` of `directory`.
    ///
    /// # Errors
    /// Where it cannot be read, is something else, or was cut off.
    pub fn within(directory: &Dir, name: &str) -> Result<Bundle> {
        Bundle::of(Place::Within(directory.clone(), name.to_owned()))
    }

    fn of(from: Place) -> Result<Bundle> {
        let (file, path) = (from.open()?, from.path());
        let length = file.metadata().with_context(|| format!("{}: cannot stat", path.display()))?.len();
        let read = |at: u64, bytes: &mut [u8]| file.read_exact_at(bytes, at).is_ok();
        let mut header = [0; 32];
        if !read(0, &mut header) || !header.starts_with(MAGIC) {
            bail!("{}: not a file of partials, expected what `iostrata-analyze partial` wrote", path.display());
        }
        let (mut places, mut at) = (HashMap::new(), header.len() as u64);
        loop {
            let mut head = [0; HEAD_BYTES];
            if !read(at, &mut head) {
                bail!("{}: the file was cut off, expected an end after {} partials", path.display(), places.len());
            }
            let (id, place) = parsed(&head, at + HEAD_BYTES as u64);
            if id == END {
                if place.bytes != places.len() as u64 || place.at != length {
                    bail!("{}: the file was changed: it ends otherwise than it says", path.display());
                }
                return Ok(Bundle { from, tool: Id::read(&header[16..]), places });
            }
            at = place.at.saturating_add(place.bytes);
            places.insert(id, place);
        }
    }

    /// A partial of it as it was written.
    ///
    /// # Errors
    /// Where it cannot be read, or is not what was written.
    pub fn read(&self, place: &Span) -> Result<Vec<u8>> {
        let Span { at, bytes, raw_bytes, crc } = *place;
        let changed = || format!("{}: the partial at byte {at} is not what was written", self.from.path().display());
        let file = self.from.open()?;
        // It lies within the file, or there would be no end behind it.
        let mut packed = vec![0; usize::try_from(bytes).with_context(changed)?];
        file.read_exact_at(&mut packed, at).with_context(changed)?;
        if crc32fast::hash(&packed) != crc {
            bail!(changed());
        }
        let mut raw = Vec::new();
        let unpacked = zstd::Decoder::with_buffer(packed.as_slice()).with_context(changed)?;
        unpacked.take(raw_bytes.saturating_add(1)).read_to_end(&mut raw).with_context(changed)?;
        // No checksum has what stands before it.
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

/// A file of partials that is being written. It has its name when it is whole.
#[derive(Debug)]
pub struct Writer {
    directory: Dir,
    name: String,
    temporary: String,
    file: BufWriter<File>,
    count: u64,
}

impl Writer {
    /// A new one at `path`, as a user named it, by the program `tool`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn create(path: &Path, tool: Id) -> Result<Writer> {
        let (directory, name) = Dir::around(path)?;
        Writer::within(&directory, &name, tool)
    }

    /// A new one in `directory`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn within(directory: &Dir, name: &str, tool: Id) -> Result<Writer> {
        let temporary = format!(".{name}.{}.tmp", std::process::id());
        let file = BufWriter::new(directory.create_file_for(&temporary, name)?);
        let mut writer = Writer { directory: directory.clone(), name: name.to_owned(), temporary, file, count: 0 };
        writer.write(&[MAGIC, &tool.0[..]].concat())?;
        Ok(writer)
    }

    /// Adds a partial.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn add(&mut self, id: Id, raw: &[u8], packed: &[u8]) -> Result<()> {
        self.count += 1;
        self.write(&head(id, packed.len() as u64, raw.len() as u64, crc32fast::hash(packed)))?;
        self.write(packed)
    }

    /// Ends it, and gives it its name.
    ///
    /// # Errors
    /// Where it cannot be written.
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
    /// What was not finished is nothing. Of what was, the name is gone.
    fn drop(&mut self) {
        let _ = self.directory.remove(&self.temporary);
    }
}

/// A partial as it lies in a file.
///
/// # Errors
/// Where there is no memory for it.
pub fn packed(raw: &[u8]) -> Result<Vec<u8>> {
    zstd::bulk::compress(raw, 1).context("cannot compress a partial")
}
