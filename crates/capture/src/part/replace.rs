//! Replacing a finished part by one of other values in the same rows: written beside it, durably, and renamed over it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;

use super::writer::{ROW_GROUP_ROWS, properties};
use super::{Origin, PartName, finished_name, numbered, part_of, replacement_name, replacement_number};
use crate::error::{Error, Result};
use crate::files;
use crate::list::Part;
use crate::table::Table;

/// A part that is being written beside the one that it is to replace.
pub(crate) struct Replacement {
    path: PathBuf,
    name: PartName,
    writer: ArrowWriter<File>,
}

impl Replacement {
    /// Begins one of part `number` of table `T` in the capture directory `capture`, which says that it is what the old one says.
    pub(crate) fn create<T: Table>(capture: &Path, number: u32, origin: Option<&Origin>) -> Result<Replacement> {
        let path = capture.join(T::NAME).join(replacement_name(number));
        let file = files::create(&path)?;
        files::keep_owner(&capture.join(T::NAME).join(finished_name(number)), &file);
        let writer = ArrowWriter::try_new(file, T::schema(), Some(properties(&T::columns(), origin)));
        let writer = writer.map_err(|e| Error::parquet(&path, e))?;
        Ok(Replacement { path, name: PartName { table: T::NAME, number }, writer })
    }

    /// Appends a batch of the table's schema.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = self
            .writer
            .write(batch)
            .and_then(|()| if self.writer.in_progress_rows() >= ROW_GROUP_ROWS { self.writer.flush() } else { Ok(()) });
        written.map_err(|e| Error::parquet(&self.path, e))
    }

    /// Ends it, durably. What the list is to say of it.
    pub(crate) fn finish(mut self) -> Result<Part> {
        let metadata = self.writer.finish().map_err(|e| Error::parquet(&self.path, e))?;
        let file = self.writer.inner();
        file.sync_all().map_err(|e| Error::io(&self.path, "sync", e))?;
        let bytes = file.metadata().map_err(|e| Error::io(&self.path, "stat", e))?.len();
        Ok(part_of(&metadata, self.name, bytes))
    }

    /// Puts the one of part `name` of the capture in `capture` in its place. To be made durable by [`files::sync_dir`].
    pub(crate) fn publish(capture: &Path, name: PartName) -> Result<()> {
        let folder = capture.join(name.table);
        let path = folder.join(finished_name(name.number));
        fs::rename(folder.join(replacement_name(name.number)), &path).map_err(|e| Error::io(&path, "rename to", e))
    }

    /// Removes those in the folder of a table that were never put in their place.
    pub(crate) fn remove_all(folder: &Path) -> Result<()> {
        for number in numbered(folder, replacement_number)? {
            let path = folder.join(replacement_name(number));
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io(&path, "remove", e)),
                _ => {}
            }
        }
        Ok(())
    }
}
