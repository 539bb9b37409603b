//! File of partial results: a header (JSON, with its length before it), the entries with their lengths and checksums, and an end marker. A file without
//! the marker is truncated. Entries are partial results, and [what is needed of captures](super::stored) besides their events.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use iostrata_capture::dir::Dir;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::Id;

/// Magic bytes, with the version of the layout.
const MAGIC: &[u8; 16] = b"iostrata-part-03";

/// Size of the header of an entry: its id, its length, its decompressed length, and the CRC-32 of the stored bytes.
const HEAD_BYTES: usize = 16 + 8 + 8 + 4;

/// Maximum size of the header.
const MOST_HEADER_BYTES: usize = 64 << 10;

/// Header of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Identity of the program that wrote the file, as hexadecimal digits: a hash of its executable.
    pub program: String,
    /// Version of the program.
    pub program_version: String,
    /// Versions of the stored states, by name.
    pub states: BTreeMap<String, u32>,
}

/// Id of the end marker; its length is the number of entries.
const END: Id = Id([0; 16]);

/// Position of an entry in a file.
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
    /// Copy of a pipe.
    Copied(PathBuf, File),
}

/// Name of the standard input in messages.
const STDIN: &str = "standard input";

/// Creates a file without a name, in the directory for temporary files, or in memory where the file system has no such files.
///
/// # Errors
/// If there is no room, or the file system there has no such files.
fn unnamed() -> Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(std::env::temp_dir(), flags, Mode::RUSR | Mode::WUSR);
    let file = file.or_else(|_| rustix::fs::memfd_create("partials", MemfdFlags::CLOEXEC));
    Ok(File::from(file.context("cannot make a temporary file")?))
}

impl Place {
    fn path(&self) -> PathBuf {
        match self {
            Place::Named(path) => path.clone(),
            Place::Within(directory, name) => directory.path().join(name),
            Place::Copied(path, _) => path.clone(),
        }
    }

    fn open(&self) -> Result<File> {
        match self {
            Place::Named(path) => File::open(path).with_context(|| format!("{}: cannot open", path.display())),
            Place::Within(directory, name) => Ok(directory.open_file(name)?),
            Place::Copied(path, file) => file.try_clone().with_context(|| path.display().to_string()),
        }
    }
}

/// Existing file of partial results.
#[derive(Debug)]
pub struct Bundle {
    from: Place,
    /// Its header.
    pub header: Header,
    /// Partial results by id.
    pub places: HashMap<Id, Span>,
    /// Documents and copies of parts by name.
    pub named: HashMap<String, Span>,
}

impl Bundle {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is of another type, or is truncated.
    pub fn open(path: &Path) -> Result<Bundle> {
        let place = Place::Named(path.to_owned());
        let file = place.open()?;
        // Partial results are read in any order, which a pipe cannot do.
        let is_pipe = file.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
        if is_pipe { Bundle::copied(path.to_owned(), file) } else { Bundle::of(place) }
    }

    /// Reads the standard input.
    ///
    /// # Errors
    /// If it cannot be read, is of another type, or is truncated.
    pub fn read_input() -> Result<Bundle> {
        Bundle::copied(PathBuf::from(STDIN), io::stdin().lock())
    }

    fn copied(path: PathBuf, mut from: impl Read) -> Result<Bundle> {
        let mut file = unnamed()?;
        io::copy(&mut from, &mut file).with_context(|| format!("{}: cannot read", path.display()))?;
        Bundle::of(Place::Copied(path, file))
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
        let not_ours =
            || format!("{}: not a file of partial results, expected one of `iostrata-analyze partial`", path.display());
        let mut start = [0; MAGIC.len() + 4];
        if !read(0, &mut start) || !start.starts_with(&MAGIC[..MAGIC.len() - 2]) {
            bail!(not_ours());
        }
        if !start.starts_with(MAGIC) {
            bail!(
                "{}: a file of another version of iostrata-analyze, expected one in the layout of this version",
                path.display()
            );
        }
        let length_bytes = start[MAGIC.len()..].iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let mut text = vec![0; length_bytes.min(MOST_HEADER_BYTES)];
        let header = if read(start.len() as u64, &mut text) { serde_json::from_slice(&text).ok() } else { None };
        let Some(header) = header.filter(|_| text.len() == length_bytes) else { bail!(not_ours()) };
        let (mut places, mut named) = (HashMap::new(), HashMap::new());
        let mut at = (start.len() + text.len()) as u64;
        loop {
            let mut head = [0; HEAD_BYTES];
            if !read(at, &mut head) {
                let entries = places.len() + named.len();
                bail!("{}: truncated file, expected an end after {entries} entries", path.display());
            }
            let (id, place) = parsed(&head, at + HEAD_BYTES as u64);
            if id == END {
                if place.bytes != (places.len() + named.len()) as u64 || place.at != length {
                    bail!("{}: corrupt file, its end does not match its contents", path.display());
                }
                return Ok(Bundle { from, header, places, named });
            }
            at = place.at.saturating_add(place.bytes);
            match id.name() {
                Some(name) => drop(named.insert(name, place)),
                None => drop(places.insert(id, place)),
            }
        }
    }

    /// Returns the path for messages.
    pub fn path(&self) -> PathBuf {
        self.from.path()
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// If it cannot be read, or is corrupt.
    pub fn read(&self, place: &Span) -> Result<Vec<u8>> {
        let Span { at, bytes, raw_bytes, crc } = *place;
        let changed = || format!("{}: the entry at byte {at} is corrupt", self.from.path().display());
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

/// File of partial results that is being written. It gets its name, or is copied to the standard output, when it is complete.
#[derive(Debug)]
pub struct Writer {
    /// Directory, name, and temporary name; none for the standard output.
    named: Option<(Dir, String, String)>,
    file: BufWriter<File>,
    count: u64,
}

impl Writer {
    /// Creates a file at `path`, a path given by a user.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(path: &Path, header: &Header) -> Result<Writer> {
        let (directory, name) = Dir::around(path)?;
        Writer::within(&directory, &name, header)
    }

    /// Creates a file in `directory`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn within(directory: &Dir, name: &str, header: &Header) -> Result<Writer> {
        let temporary = format!(".{name}.{}.tmp", std::process::id());
        let file = directory.create_file_for(&temporary, name)?;
        Writer::begin(file, Some((directory.clone(), name.to_owned(), temporary)), header)
    }

    /// Creates a file for the standard output.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn output(header: &Header) -> Result<Writer> {
        Writer::begin(unnamed()?, None, header)
    }

    fn begin(file: File, named: Option<(Dir, String, String)>, header: &Header) -> Result<Writer> {
        let mut writer = Writer { named, file: BufWriter::new(file), count: 0 };
        let header = serde_json::to_vec(header)?;
        writer.write(&[&MAGIC[..], &u32::try_from(header.len())?.to_le_bytes(), &header].concat())?;
        Ok(writer)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, id: Id, raw: &[u8], packed: &[u8]) -> Result<()> {
        self.count += 1;
        self.write(&head(id, packed.len() as u64, raw.len() as u64, crc32fast::hash(packed)))?;
        self.write(packed)
    }

    /// Writes the end marker, and gives the file its name or copies it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<u64> {
        self.write(&head(END, self.count, 0, 0))?;
        self.file.flush().with_context(|| self.cannot_write())?;
        match &self.named {
            Some((directory, name, temporary)) => {
                self.file.get_ref().sync_all().with_context(|| self.cannot_write())?;
                directory.rename(temporary, name)?;
            }
            None => {
                let mut file = self.file.get_ref();
                let copied = file.rewind().and_then(|()| io::copy(&mut file, &mut io::stdout().lock()));
                copied.with_context(|| self.cannot_write())?;
            }
        }
        Ok(self.count)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| self.cannot_write())
    }

    fn cannot_write(&self) -> String {
        let named = self.named.as_ref().map(|(directory, name, _)| directory.path().join(name).display().to_string());
        format!("{}: cannot write", named.as_deref().unwrap_or("standard output"))
    }
}

impl Drop for Writer {
    /// Removes an unfinished file. A finished one no longer has the temporary name.
    fn drop(&mut self) {
        if let Some((directory, _, temporary)) = &self.named {
            let _ = directory.remove(temporary);
        }
    }
}

/// Compresses an entry for a file.
///
/// # Errors
/// If it does not fit into memory.
pub fn packed(raw: &[u8]) -> Result<Vec<u8>> {
    zstd::bulk::compress(raw, 1).context("cannot compress a partial result")
}
