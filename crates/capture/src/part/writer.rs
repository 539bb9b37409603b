//! Writer of parts.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::footer::MOST_GROUPS;
use super::groups::GroupWriter;
use super::log::{Extent, GroupLog};
use super::{Origin, PartName, finished_name, incomplete, pandas, part_of, temporary_name};
use crate::TableId;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::list::Part;
use crate::table::{Column, Layout, Table};

/// Number of rows in a row group. More rows did not reduce the size and cost memory (measured:
/// `docs/measurements/performance.md`).
pub const ROW_GROUP_ROWS: usize = 65_536;

/// Allowance for the pages of a small row group, the first column of a footer, and a growing directory: more than ever
/// observed.
const UNWRITTEN_SLACK_BYTES: u64 = 64 << 10;

/// Returns the writer properties of a part with these columns, with the origin for its footer.
pub(super) fn properties(columns: &[Column], origin: Option<&Origin>) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_key_value_metadata(origin.map(Origin::keys))
        .set_created_by(concat!("iostrata ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Row groups end where batches do, so that callers that count the events of batches know the content of a row group.
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        // The offset index is of use only with the column index, which is not written.
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(false);
    for column in columns {
        let path = ColumnPath::from(column.name);
        properties = match column.layout {
            Layout::Delta => properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            Layout::Split => properties.set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT),
            // Without minimum and maximum: every row group has all values, and comparing each row's costs as much as encoding
            // it.
            Layout::Dictionary => properties
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                .set_column_dictionary_enabled(path, true),
            Layout::Plain => properties.set_column_encoding(path, Encoding::PLAIN),
        };
    }
    properties.build()
}

/// File of a part, with a checksum of the bytes written since the last log record.
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

/// Part that is being written.
pub struct PartWriter {
    table: TableId,
    directory: Dir,
    number: u32,
    /// Path for messages: that of the finished part.
    path: PathBuf,
    groups: GroupWriter<Summed>,
    pub(super) log: GroupLog,
    /// Extent that is known to be on the disk. After a failed sync the state of later data is unknown, and the next sync would
    /// not report it.
    synced: Extent,
}

impl PartWriter {
    /// Opens part `number` of table `T` in the capture directory `capture`, in an existing table folder; `id` is the capture ID
    /// for its footer. After an error nothing is left of it.
    pub fn create<T: Table>(capture: &Dir, number: u32, id: Option<&str>) -> Result<PartWriter> {
        let directory = capture.sub(T::NAME);
        let origin = id.map(|id| Origin::new(id, PartName { table: T::ID, number }));
        Self::create_in::<T>(directory.clone(), number, origin.as_ref())
            .inspect_err(|_| drop(incomplete::remove(&directory, number)))
    }

    fn create_in<T: Table>(directory: Dir, number: u32, origin: Option<&Origin>) -> Result<PartWriter> {
        let path = directory.path().join(finished_name(number));
        let file = directory.create_file_for(temporary_name(number), finished_name(number))?;
        let summed = Summed { file, bytes: 0, sum: crc32fast::Hasher::new() };
        let (groups, empty) = GroupWriter::begin(summed, pandas::schema::<T>(), properties(&T::columns(), origin))
            .map_err(|e| Error::parquet(&path, e))?;
        let log = GroupLog::create(&directory, number, &empty)?;
        let synced = Extent::default();
        let mut part = PartWriter { table: T::ID, directory, number, path, groups, log, synced };
        part.groups.out().flush().map_err(|e| Error::io(&part.path, "write", e))?;
        part.take_down(None)?;
        Ok(part)
    }

    /// Appends a batch of the table's schema. A full row group is ended.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.groups.write(batch).map_err(|e| Error::parquet(&self.path, e))?;
        if self.group_rows() >= ROW_GROUP_ROWS { self.end_group() } else { Ok(()) }
    }

    /// Makes the rows written so far durable, so that they can be recovered.
    pub fn flush(&mut self) -> Result<()> {
        self.end_group()?;
        if self.synced != *self.log.extent() {
            self.groups.out().inner().file.sync_data().map_err(|e| Error::io(&self.path, "sync", e))?;
            self.log.sync()?;
            self.synced = *self.log.extent();
        }
        Ok(())
    }

    /// Ends the row group that is being encoded, if there is one, and frees its memory.
    pub fn end_group(&mut self) -> Result<()> {
        match self.groups.end().map_err(|e| Error::parquet(&self.path, e))? {
            Some(group) => self.take_down(Some(group)),
            None => Ok(()),
        }
    }

    /// Appends a row group that is new in the file to the log.
    fn take_down(&mut self, group: Option<RowGroupMetaData>) -> Result<()> {
        let summed = self.groups.out().inner_mut();
        let (end, sum) = (summed.bytes, std::mem::take(&mut summed.sum).finalize());
        self.log.append(end, sum, group)
    }

    /// Returns the number of rows in the row group that is being encoded.
    pub fn group_rows(&self) -> usize {
        self.groups.rows()
    }

    /// Whether it has the maximum number of row groups, and must be finished.
    pub fn is_full(&self) -> bool {
        self.log.extent().groups.count >= MOST_GROUPS
    }

    /// Returns the memory of the row group that is being encoded, in bytes. All other memory is small.
    pub fn memory_bytes(&self) -> u64 {
        self.groups.memory_bytes() as u64
    }

    /// Returns the size of the part so far, in bytes: on disk, in memory, and the footer.
    pub fn bytes(&self) -> u64 {
        (self.groups.written_bytes() + self.groups.encoded_bytes()) as u64 + self.log.footer_bytes()
    }

    /// Returns the size of the part and its log on the disk, in bytes.
    pub fn on_disk_bytes(&self) -> u64 {
        self.groups.written_bytes() as u64 + self.log.extent().log_end
    }

    /// Returns the maximum number of bytes that finishing the part adds on the disk.
    pub fn unwritten_bytes(&self) -> u64 {
        self.groups.encoded_bytes() as u64 + self.log.footer_bytes() + UNWRITTEN_SLACK_BYTES
    }

    /// Closes the part and gives it its final name. After an error nothing is left of it.
    pub fn finish(self) -> Result<Part> {
        let (directory, number) = (self.directory.clone(), self.number);
        self.close().inspect_err(|_| drop(incomplete::remove(&directory, number)))
    }

    fn close(mut self) -> Result<Part> {
        self.end_group()?;
        let PartWriter { table, directory, number, path, mut groups, log, .. } = self;
        let out = groups.out();
        log.write_footer(out, log.extent()).and_then(|()| out.flush()).map_err(|e| footer_error(&path, e))?;
        let bytes = publish(&out.inner().file, &directory, number)?;
        // The log is no longer needed. If it cannot be removed it does no harm: the part is complete.
        let _ = incomplete::remove(&directory, number);
        Ok(part_of(&log.extent().groups, PartName { table, number }, bytes))
    }

    /// Makes a finished part, after an error, of what the last successful [`PartWriter::flush`] made durable, if there was one.
    /// Rows written since are lost; if this fails too, all of them are.
    pub fn salvage(self) -> Result<Option<Part>> {
        let PartWriter { table, directory, number, path, groups, log, synced } = self;
        // Dropping may still write buffered data, after the last row group.
        drop(groups);
        let salvaged = match synced.groups.count {
            0 => Ok(None),
            _ => reopen(&directory, number, synced.end).and_then(|file| {
                let mut out = BufWriter::new(file);
                let written = log.write_footer(&mut out, &synced).and_then(|()| out.flush());
                written.map_err(|e| footer_error(&path, e))?;
                let bytes = publish(out.get_ref(), &directory, number)?;
                Ok(Some(part_of(&synced.groups, PartName { table, number }, bytes)))
            }),
        };
        // The cause of the part's failure may also prevent this; readers ignore files with these names.
        let _ = incomplete::remove(&directory, number);
        salvaged
    }
}

fn footer_error(path: &Path, reason: std::io::Error) -> Error {
    Error::io(path, "write the footer of", reason)
}

/// Opens the unfinished part `number` in `directory`, truncated to `end`, where the next write goes.
pub(super) fn reopen(directory: &Dir, number: u32, end: u64) -> Result<File> {
    let mut file = directory.open_to_write(temporary_name(number))?;
    file.set_len(end)
        .and_then(|()| file.seek(SeekFrom::End(0)))
        .map_err(|e| footer_error(&directory.path().join(finished_name(number)), e))?;
    Ok(file)
}

/// Makes a finished part of `file`, which is the unfinished part `number` in `directory`, durably. Returns its size.
pub(super) fn publish(file: &File, directory: &Dir, number: u32) -> Result<u64> {
    let path = directory.path().join(finished_name(number));
    file.sync_all().map_err(|e| Error::io(&path, "sync", e))?;
    let bytes = file.metadata().map_err(|e| Error::io(&path, "stat", e))?.len();
    directory.rename(temporary_name(number), finished_name(number))?;
    let Err(error) = directory.sync() else { return Ok(bytes) };
    // A part that may or may not exist after a crash would be counted as lost and still be read.
    match directory.remove(finished_name(number)) {
        // It stays, and is read. All of it except its name is synced.
        Err(_) if directory.open_file(finished_name(number)).is_ok() => Ok(bytes),
        _ => Err(error),
    }
}
