//! Writing a part.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::log::GroupLog;
use super::{Origin, PartName, Place, Torn, finished_name, log_name, part_of, temporary_name, torn};
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::list::Part;
use crate::table::{Column, Layout, Table};

/// Rows in a row group. More bought nothing in size and costs memory (measured: `docs/performance.md`).
pub const ROW_GROUP_ROWS: usize = 65_536;

/// Pages of a row group that is small, a footer's first column, a directory that grows: more than it has ever been.
const UNWRITTEN_SLACK_BYTES: u64 = 64 << 10;

/// How a part with these columns is written, and what its footer says that it is.
pub(super) fn properties(columns: &[Column], origin: Option<&Origin>) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_key_value_metadata(origin.map(Origin::keys))
        .set_created_by(concat!("iostrata ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Row groups end where batches do, so that whoever counts the events of batches knows what is in them.
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_enabled(false);
    for column in columns {
        let path = ColumnPath::from(column.name);
        properties = match column.layout {
            Layout::Delta => properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            // Without a least and a greatest word: every row group has them all, and comparing each row's costs as much as
            // encoding it.
            Layout::Dictionary => properties
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                .set_column_dictionary_enabled(path, true),
            Layout::Plain => properties.set_column_encoding(path, Encoding::PLAIN),
        };
    }
    properties.build()
}

/// The file of a part, with a checksum of what was written since the log last took it.
struct Summed {
    file: File,
    bytes: u64,
    sum: crc32fast::Hasher,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// A part that is being written.
pub struct PartWriter {
    table: &'static str,
    directory: Dir,
    number: u32,
    /// What its file is called in messages.
    temporary: PathBuf,
    writer: ArrowWriter<Summed>,
    log: GroupLog,
    logged_groups: usize,
    /// Row groups that are known to be on the disk, and where the last of them ends. After a sync that failed nobody knows of any
    /// other, and the next one would say nothing of them.
    synced: (usize, u64),
}

impl PartWriter {
    /// Opens part `number` of table `T` in the capture directory `capture`, whose table folder exists; its footer says that it is of
    /// the capture whose parts have `id`. After an error nothing is left of it.
    pub fn create<T: Table>(capture: &Dir, number: u32, id: Option<&str>) -> Result<PartWriter> {
        let directory = capture.sub(T::NAME);
        let origin = id.map(|id| Origin::new(id, PartName { table: T::NAME, number }));
        Self::create_in::<T>(directory.clone(), number, origin.as_ref())
            .inspect_err(|_| drop(torn::remove(&directory, number)))
    }

    fn create_in<T: Table>(directory: Dir, number: u32, origin: Option<&Origin>) -> Result<PartWriter> {
        let temporary = directory.path().join(temporary_name(number));
        let properties = properties(&T::columns(), origin);
        let template = ArrowWriter::try_new(Vec::new(), T::schema(), Some(properties.clone()))
            .and_then(ArrowWriter::close)
            .map_err(|e| Error::parquet(&temporary, e))?;
        let file = directory.create_file(temporary_name(number))?;
        let summed = Summed { file, bytes: 0, sum: crc32fast::Hasher::new() };
        let writer =
            ArrowWriter::try_new(summed, T::schema(), Some(properties)).map_err(|e| Error::parquet(&temporary, e))?;
        let log = GroupLog::create(&directory, &log_name(number), template.file_metadata().clone())?;
        let mut part =
            PartWriter { table: T::NAME, directory, number, temporary, writer, log, logged_groups: 0, synced: (0, 0) };
        part.log_groups()?;
        Ok(part)
    }

    /// Appends a batch of the table's schema. A row group that it fills is ended.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(|e| Error::parquet(&self.temporary, e))?;
        if self.writer.in_progress_rows() >= ROW_GROUP_ROWS { self.end_group() } else { Ok(()) }
    }

    /// Makes what was written until now durable, so that it can be recovered.
    pub fn flush(&mut self) -> Result<()> {
        if self.writer.in_progress_rows() > 0 {
            self.end_group()?;
        }
        let logged = (self.logged_groups, self.writer.inner().bytes);
        if self.synced != logged {
            self.writer.inner().file.sync_data().map_err(|e| Error::io(&self.temporary, "sync", e))?;
            self.log.sync()?;
            self.synced = logged;
        }
        Ok(())
    }

    /// Ends the row group that is being encoded, and with it gives back its memory.
    pub fn end_group(&mut self) -> Result<()> {
        self.writer.flush().map_err(|e| Error::parquet(&self.temporary, e))?;
        self.log_groups()
    }

    /// Puts the row groups that are new in the file into the log.
    fn log_groups(&mut self) -> Result<()> {
        self.writer.sync().map_err(|e| Error::io(&self.temporary, "write", e))?;
        let summed = self.writer.inner_mut();
        let (end, sum) = (summed.bytes, std::mem::take(&mut summed.sum).finalize());
        let groups = self.writer.flushed_row_groups();
        self.log.append(end, sum, &groups[self.logged_groups..])?;
        self.logged_groups = groups.len();
        Ok(())
    }

    /// What the row group that is being encoded takes in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.writer.memory_size() as u64
    }

    /// Size of the part so far: what is on disk and what waits in memory.
    pub fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// What finishing the part will at most add to what it has on disk.
    pub fn unwritten_bytes(&self) -> u64 {
        // The footer is about as large as the log.
        self.writer.in_progress_size() as u64 + 2 * self.log.bytes() + UNWRITTEN_SLACK_BYTES
    }

    /// Closes the part and gives it its name. After an error nothing is left of it.
    pub fn finish(self) -> Result<Part> {
        let (directory, number) = (self.directory.clone(), self.number);
        self.close().inspect_err(|_| drop(torn::remove(&directory, number)))
    }

    fn close(mut self) -> Result<Part> {
        let metadata = self.writer.finish().map_err(|e| Error::parquet(&self.temporary, e))?;
        let bytes = publish(&self.writer.inner().file, &self.directory, self.number)?;
        // The log is of no use any more. One that cannot be removed does no harm: its part is whole.
        let _ = torn::remove(&self.directory, self.number);
        Ok(part_of(&metadata, PartName { table: self.table, number: self.number }, bytes))
    }

    /// After an error: makes a finished part of what the last [`PartWriter::flush`] that succeeded made durable, if there was
    /// one. What was written since is lost; where this fails too, all of it is.
    pub fn salvage(self) -> Result<Option<Part>> {
        let PartWriter { table, directory, number, writer, log, synced, .. } = self;
        let (synced_groups, synced_bytes) = synced;
        let groups = writer.flushed_row_groups()[..synced_groups].to_vec();
        // It may still write what it has in its buffer, behind the last row group.
        drop(writer);
        let salvaged = match groups.is_empty() {
            true => Ok(None),
            false => {
                let place = Place::new(&directory, temporary_name(number));
                Torn::of(place, number, synced_bytes, log.metadata(groups)).finish(table).map(Some)
            }
        };
        if !matches!(salvaged, Ok(Some(_))) {
            // Whatever made the part fail may also stop this; the names are such as no reader takes for a part's.
            let _ = torn::remove(&directory, number);
        }
        salvaged
    }
}

/// Makes a finished part of `file`, which is the unfinished part `number` in `directory`, durably. Its size.
pub(super) fn publish(file: &File, directory: &Dir, number: u32) -> Result<u64> {
    let temporary = directory.path().join(temporary_name(number));
    file.sync_all().map_err(|e| Error::io(&temporary, "sync", e))?;
    let bytes = file.metadata().map_err(|e| Error::io(&temporary, "stat", e))?.len();
    directory.rename(temporary_name(number), finished_name(number))?;
    let Err(error) = directory.sync() else { return Ok(bytes) };
    // One that may or may not be there after a crash would be counted as lost and read all the same.
    match directory.remove(finished_name(number)) {
        // It stays, and is read. What is synced of it is all but its name.
        Err(_) if directory.open_file(finished_name(number)).is_ok() => Ok(bytes),
        _ => Err(error),
    }
}
