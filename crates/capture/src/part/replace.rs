//! Replacement of a finished part by one with other values in the same rows: written beside it, durably, and renamed over
//! it.

use std::fs::File;
use std::path::PathBuf;

use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;

use super::writer::{ROW_GROUP_ROWS, properties};
use super::{Origin, PartName, finished_name, groups_of, numbered, part_of, replacement_name, replacement_number};
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::files;
use crate::list::Part;
use crate::table::Table;

/// Part that is being written beside the one that it is to replace.
pub(crate) struct Replacement {
    path: PathBuf,
    name: PartName,
    writer: ArrowWriter<File>,
}

impl Replacement {
    /// Begins a replacement of part `number` of table `T` in the capture directory `capture`, with the origin of the old
    /// part.
    pub(crate) fn create<T: Table>(capture: &Dir, number: u32, origin: Option<&Origin>) -> Result<Replacement> {
        let (folder, name) = (capture.sub(T::NAME), replacement_name(number));
        let path = folder.path().join(finished_name(number));
        let file = folder.create_file_for(&name, finished_name(number))?;
        files::keep_owner(&folder, &finished_name(number), &file);
        let writer = ArrowWriter::try_new(file, T::schema(), Some(properties(&T::columns(), origin)));
        let writer = writer.map_err(|e| Error::parquet(&path, e))?;
        Ok(Replacement { path, name: PartName { table: T::ID, number }, writer })
    }

    /// Appends a batch of the table's schema.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = self
            .writer
            .write(batch)
            .and_then(|()| if self.writer.in_progress_rows() >= ROW_GROUP_ROWS { self.writer.flush() } else { Ok(()) });
        written.map_err(|e| Error::parquet(&self.path, e))
    }

    /// Ends it, durably, and returns its list entry.
    pub(crate) fn finish(mut self) -> Result<Part> {
        let metadata = self.writer.finish().map_err(|e| Error::parquet(&self.path, e))?;
        let file = self.writer.inner();
        file.sync_all().map_err(|e| Error::io(&self.path, "sync", e))?;
        let bytes = file.metadata().map_err(|e| Error::io(&self.path, "stat", e))?.len();
        Ok(part_of(&groups_of(&metadata), self.name, bytes))
    }

    /// Puts the replacement of part `name` of the capture in `capture` in its place. [`Dir::sync`] makes this durable.
    pub(crate) fn publish(capture: &Dir, name: PartName) -> Result<()> {
        capture.sub(name.table.name()).rename(replacement_name(name.number), name.file())
    }

    /// Removes replacements in the folder of a table that were never put in place.
    pub(crate) fn remove_all(folder: &Dir) -> Result<()> {
        for number in numbered(folder, replacement_number)? {
            folder.remove(replacement_name(number))?;
        }
        Ok(())
    }
}
