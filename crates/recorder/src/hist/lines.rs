//! Output file: one JSON object per line, appended by a thread of its own.
//!
//! Whole lines are written with one call, so that a reader never sees a part of one. A crash of the machine can leave a part of the last line: it is
//! removed when the file is opened again.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail, ensure};
use chrono::Utc;
use crossbeam_channel::{Receiver, Sender, bounded};
use iostrata_capture::dir::Dir;

use super::rotate;
use super::snapshot::Snapshot;
use crate::appended::Appended;

/// Begin of each line.
const BEGIN: &[u8] = b"{\"timestamp\":";

/// Name of the standard output.
pub const STANDARD: &str = "-";

/// Snapshots that may wait for the thread. If the disk is slow for longer than that, an interval is extended instead.
const MOST_WAITING: usize = 64;

/// How the file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writing {
    /// Path of the file, or [`STANDARD`].
    pub path: PathBuf,
    /// Number of snapshots that are written at once.
    pub flush_every: usize,
    /// Whether to wait until they are on the disk.
    pub is_synced: bool,
    /// Size from which the file is compressed under another name, and a new one begun.
    pub rotate_bytes: Option<u64>,
}

/// Opened output.
pub struct Lines {
    writing: Writing,
    file: File,
    /// Size of the file.
    bytes: u64,
    pending: Vec<u8>,
    waiting: usize,
}

impl Lines {
    /// Opens the output. In an existing file, an incomplete last line is removed.
    ///
    /// # Errors
    /// If the file cannot be opened, is no regular file, or the incomplete line cannot be removed.
    pub fn open(writing: Writing) -> Result<Lines> {
        let (pending, waiting) = Default::default();
        if writing.path.as_os_str() == STANDARD {
            let file = File::from(rustix::io::dup(io::stdout()).context("standard output")?);
            // A reader of a pipe sees each snapshot at its time.
            let writing = Writing { flush_every: 1, is_synced: false, rotate_bytes: None, ..writing };
            return Ok(Lines { writing, file, bytes: 0, pending, waiting });
        }
        let file = opened(&writing.path).with_context(|| format!("--output {}", writing.path.display()))?;
        let bytes = file.metadata()?.len();
        Ok(Lines { writing, file, bytes, pending, waiting })
    }

    /// Adds a snapshot, and writes all pending ones if there are enough.
    fn add(&mut self, snapshot: &Snapshot) -> Result<()> {
        serde_json::to_writer(&mut self.pending, snapshot)?;
        self.pending.push(b'\n');
        self.waiting += 1;
        if self.waiting < self.writing.flush_every { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.file.write_all(&self.pending);
        self.bytes += self.pending.len() as u64;
        self.pending.clear();
        self.waiting = 0;
        written.with_context(|| format!("{}: cannot write", self.writing.path.display()))?;
        if self.writing.is_synced {
            self.file.sync_data().with_context(|| format!("{}: cannot sync", self.writing.path.display()))?;
        }
        match self.writing.rotate_bytes {
            Some(limit) if self.bytes >= limit => self.rotate(),
            _ => Ok(()),
        }
    }

    /// Compresses the file under another name, and begins a new one.
    fn rotate(&mut self) -> Result<()> {
        let (directory, name) = Dir::around(&self.writing.path)?;
        rotate::rotate(&directory, &name, Utc::now())?;
        self.file = opened(&self.writing.path)?;
        self.bytes = 0;
        Ok(())
    }
}

/// Opens a file to append to, without following a link.
fn opened(path: &Path) -> Result<File> {
    let appended = Appended::open(path)?;
    if appended.file.try_lock().is_err() {
        bail!("another `iostrata hist` writes to it, expected another file (--output) or none (--no-output)");
    }
    appended.remove_incomplete_line(path, BEGIN.len(), |begin| {
        ensure!(
            BEGIN.starts_with(begin),
            "its last line is incomplete and not one of `iostrata hist`, expected a file of such lines"
        );
        Ok(())
    })?;
    Ok(appended.file)
}

/// Thread that writes the output.
pub struct WriterThread {
    thread: JoinHandle<Result<()>>,
    snapshots: Sender<Snapshot>,
}

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// The thread writes it.
    Taken,
    /// There was no room, because the disk is slow.
    Full,
    /// The thread ended with an error.
    Ended,
}

impl WriterThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If it cannot start.
    pub fn start(lines: Lines) -> Result<WriterThread> {
        let (snapshots, received) = bounded(MOST_WAITING);
        let thread = std::thread::Builder::new().name("lines".into()).spawn(move || write(lines, &received));
        Ok(WriterThread { thread: thread.context("cannot start the thread that writes the output")?, snapshots })
    }

    /// Hands a snapshot over, without waiting.
    pub fn offer(&self, snapshot: Snapshot) -> Offered {
        match self.snapshots.try_send(snapshot) {
            Ok(()) => Offered::Taken,
            Err(error) if error.is_full() => Offered::Full,
            Err(_) => Offered::Ended,
        }
    }

    /// Writes the last snapshot and everything that is pending.
    ///
    /// # Errors
    /// The first error of a write.
    pub fn finish(self, last: Snapshot) -> Result<()> {
        // If the thread has ended, its error follows.
        let _ = self.snapshots.send(last);
        drop(self.snapshots);
        self.thread.join().map_err(|_| anyhow!("the thread that writes the output panicked"))?
    }
}

fn write(mut lines: Lines, snapshots: &Receiver<Snapshot>) -> Result<()> {
    let written = snapshots.iter().try_for_each(|snapshot| lines.add(&snapshot)).and_then(|()| lines.flush());
    // A reader of the standard output that has enough closes it.
    let is_over = |error: &anyhow::Error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    match written {
        Err(error) if is_over(&error) => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_removed() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("hist.jsonl");
        let long = format!("{{\"timestamp\":{}", "1".repeat(10_000));
        for (before, whole) in [
            (String::new(), 0),
            ("{}\n".to_owned(), 3),
            ("{}\n{\"times".to_owned(), 3),
            (long.clone(), 0),
            (format!("{long}\n{long}"), long.len() + 1),
        ] {
            std::fs::write(&path, &before).expect("room");
            let writing = Writing { path: path.clone(), flush_every: 1, is_synced: true, rotate_bytes: None };
            let mut lines = Lines::open(writing).expect("a file");
            lines.pending.extend(b"new\n");
            lines.flush().expect("room");
            let after = std::fs::read_to_string(&path).expect("there");
            assert_eq!(after, format!("{}new\n", &before[..whole]));
        }
    }

    #[test]
    fn a_file_of_something_else_or_of_another_writer_is_left_as_it_is() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("notes");
        let writing = || Writing { path: path.clone(), flush_every: 1, is_synced: false, rotate_bytes: None };
        std::fs::write(&path, "line\nnot a snapshot").expect("room");
        assert!(Lines::open(writing()).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "line\nnot a snapshot");
        std::fs::remove_file(&path).expect("there");
        let first = Lines::open(writing()).expect("a file");
        let second = Lines::open(writing()).err().map(|error| format!("{error:#}")).expect("locked");
        assert!(second.contains("another `iostrata hist` writes to it"), "{second}");
        drop(first);
        assert!(Lines::open(writing()).is_ok());
    }

    #[test]
    fn no_line_is_lost_or_doubled_where_the_file_rotates() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("hist.jsonl");
        let writing = Writing { path: path.clone(), flush_every: 1, is_synced: false, rotate_bytes: Some(100) };
        let mut lines = Lines::open(writing).expect("a file");
        for number in 0..50 {
            lines.pending.extend(format!("{{\"timestamp\":{number}}}\n").into_bytes());
            lines.flush().expect("room");
        }
        let names = std::fs::read_dir(place.path()).expect("there").map(|of| of.expect("there").path());
        let (mut full, last): (Vec<_>, Vec<_>) = names.partition(|name| name.extension().is_some_and(|of| of == "zst"));
        full.sort();
        assert_eq!((full.len(), last), (8, vec![path.clone()]));
        let mut all = Vec::new();
        for name in full {
            all.extend(zstd::decode_all(File::open(name).expect("there")).expect("zstd"));
        }
        all.extend(std::fs::read(path).expect("there"));
        let expected: String = (0..50).map(|number| format!("{{\"timestamp\":{number}}}\n")).collect();
        assert_eq!(String::from_utf8(all).expect("text"), expected);
    }

    #[test]
    fn a_link_is_not_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let (path, other) = (place.path().join("hist.jsonl"), place.path().join("other"));
        std::fs::write(&other, "x").expect("room");
        std::os::unix::fs::symlink(&other, &path).expect("room");
        let opened = Lines::open(Writing { path, flush_every: 1, is_synced: false, rotate_bytes: None });
        assert!(opened.is_err());
        assert_eq!(std::fs::read_to_string(other).expect("there"), "x");
    }
}
