//! Writing a capture from existing rows: those of a generator, or of another program's trace.
//!
//! The recorder has its own writer, because its rows arrive whether or not there is room for them.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use arrow_array::RecordBatch;

use crate::dir::{Dir, FOLDER_MODE, Undo};
use crate::error::{Error, Result};
use crate::list::{Entry, ListFile, Part};
use crate::manifest::{MOST_BYTES, Manifest};
use crate::part::{PartWriter, ROW_GROUP_ROWS, empty};
use crate::table::{Table, TableBuilder};

/// Rows per batch, and batches of a table that wait to be encoded.
const BATCH_ROWS: usize = 8_192;
const WAITING: usize = 8;

/// Rows of a row group in which all may be equal. Readers accept at most 8 rows per byte of a part (`part/limits.rs`); 65,536 equal
/// rows of `block` take 7.6 KB, most of which is a fixed cost of each column and group.
const ALIKE_ROWS: usize = 4 * BATCH_ROWS;

/// Capture that is being written.
#[derive(Debug)]
pub struct CaptureWriter {
    directory: Dir,
    /// An unfinished capture is unusable and would block the next attempt.
    undo: Undo,
    list: ListFile,
    part_bytes: u64,
    group_rows: usize,
    id: PartsId,
}

/// Capture ID in the footers of parts. It is set once, before the first row is written.
pub type PartsId = Arc<OnceLock<String>>;

impl CaptureWriter {
    /// Begins a capture in `directory`, which must not exist yet or be empty. A part is closed when it reaches `part_bytes`. Unless
    /// the capture is finished, everything created is removed again.
    pub fn create(directory: &Path, part_bytes: u64) -> Result<CaptureWriter> {
        let (directory, undo) = Dir::begin(directory, FOLDER_MODE)?;
        if !directory.names()?.is_empty() {
            let what = "is not empty, expected a new directory or an empty one".to_owned();
            return Err(Error::Schema { path: directory.path().to_owned(), what });
        }
        let directory = directory.keep()?;
        let (list, group_rows) = (ListFile::create(&directory)?, ROW_GROUP_ROWS);
        Ok(CaptureWriter { list, directory, undo, part_bytes, group_rows, id: PartsId::default() })
    }

    /// Limits row groups to the number of rows that readers accept for the few bytes of equal rows. Must be called before a table
    /// is opened.
    pub fn of_rows_alike(self) -> CaptureWriter {
        CaptureWriter { group_rows: ALIKE_ROWS, ..self }
    }

    /// Returns the directory.
    pub fn directory(&self) -> &Dir {
        &self.directory
    }

    /// Returns the capture ID of its parts.
    pub fn id(&self) -> &PartsId {
        &self.id
    }

    /// Opens table `T` for rows, once. A separate thread encodes them.
    pub fn table<T: Table>(&self) -> Rows<T> {
        let (batches, waiting) = sync_channel(WAITING);
        let (directory, id) = (self.directory.clone(), Arc::clone(&self.id));
        let most = (self.part_bytes, self.group_rows);
        let encoder = thread::spawn(move || encode::<T>((&directory, &id), most, &waiting));
        Rows { folder: self.directory.path().join(T::NAME), builder: T::Builder::default(), batches, encoder }
    }

    /// Adds the parts of a table to the list.
    pub fn add(&mut self, parts: Vec<Part>) -> Result<()> {
        self.list.append(&parts.into_iter().map(Entry::Finished).collect::<Vec<_>>())
    }

    /// Writes the manifest, which makes the directory a capture. A table without rows gets a part without rows.
    pub fn finish(mut self, manifest: &Manifest) -> Result<()> {
        let id = self.id.get().cloned();
        fits(manifest).map_err(|what| Error::manifest(self.directory.path(), what))?;
        let empty = empty::fill_in(&self.directory, id.as_deref())?;
        let manifest = Manifest { parts_id: id, ..manifest.clone() };
        self.add(empty)?;
        manifest.write(&self.directory)?;
        self.undo.keep();
        Ok(())
    }
}

/// Checks the size of a manifest: readers refuse larger ones.
fn fits(manifest: &Manifest) -> std::result::Result<(), String> {
    let bytes = serde_json::to_vec_pretty(manifest).map_err(|e| e.to_string())?.len() as u64;
    if bytes >= MOST_BYTES {
        return Err(format!("its manifest would have {bytes} bytes, expected less than {MOST_BYTES}"));
    }
    Ok(())
}

/// Rows of a table that are being written to parts.
pub struct Rows<T: Table> {
    folder: PathBuf,
    builder: T::Builder,
    batches: SyncSender<RecordBatch>,
    encoder: JoinHandle<Result<Vec<Part>>>,
}

impl<T: Table> Rows<T> {
    /// Appends a row. Write errors are returned by [`Rows::finish`].
    pub fn push(&mut self, row: T::Row) -> Result<()> {
        self.builder.push(row);
        if self.builder.rows() == BATCH_ROWS { self.hand_over() } else { Ok(()) }
    }

    /// Ends the last part and returns all parts.
    pub fn finish(mut self) -> Result<Vec<Part>> {
        if self.builder.rows() > 0 {
            self.hand_over()?;
        }
        drop(self.batches);
        match self.encoder.join() {
            Ok(parts) => parts,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn hand_over(&mut self) -> Result<()> {
        let batch = self.builder.finish().map_err(|e| Error::parquet(&self.folder, e.into()))?;
        // After an error nobody receives it; [`Rows::finish`] returns the error.
        let _ = self.batches.send(batch);
        Ok(())
    }
}

fn encode<T: Table>(
    capture: (&Dir, &PartsId),
    (part_bytes, group_rows): (u64, usize),
    batches: &Receiver<RecordBatch>,
) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut open: Option<PartWriter> = None;
    for batch in batches {
        let mut part = match open.take() {
            Some(part) => part,
            None => begin::<T>(capture, parts.len())?,
        };
        part.write(&batch)?;
        if part.group_rows() >= group_rows {
            part.end_group()?;
        }
        match part.bytes() < part_bytes && !part.is_full() {
            true => open = Some(part),
            false => parts.push(part.finish()?),
        }
    }
    if let Some(part) = open {
        parts.push(part.finish()?);
    }
    Ok(parts)
}

fn begin<T: Table>((capture, id): (&Dir, &PartsId), finished: usize) -> Result<PartWriter> {
    if finished == 0 {
        capture.make_dir(T::NAME, FOLDER_MODE)?;
    }
    PartWriter::create::<T>(capture, u32::try_from(finished + 1).unwrap_or(u32::MAX), id.get().map(String::as_str))
}
