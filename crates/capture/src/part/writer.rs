//! Writing a part.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::footer::MOST_GROUPS;
use super::groups::GroupWriter;
use super::log::{Extent, GroupLog};
use super::{Origin, PartName, finished_name, pandas, part_of, temporary_name, torn};
use crate::TableId;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::list::Part;
use crate::table::{Column, Layout, Table};

/// Rows in a row group. More bought nothing in size and costs memory (measured: `docs/measurements/performance.md`).
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
        // Where the pages of a column are is of use only with what is in each of them, which is not written.
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(false);
    for column in columns {
        let path = ColumnPath::from(column.name);
        properties = match column.layout {
            Layout::Delta => properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            Layout::Split => properties.set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT),
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
    table: TableId,
    directory: Dir,
    number: u32,
    /// What its file is called in messages: as when it is finished.
    path: PathBuf,
    groups: GroupWriter<Summed>,
    pub(super) log: GroupLog,
    /// As far as it is known to be on the disk. After a sync that failed nobody knows of any more, and the next one would say
    /// nothing of it.
    synced: Extent,
}

impl PartWriter {
    /// Opens part `number` of table `T` in the capture directory `capture`, whose table folder exists; its footer says that it is of
    /// the capture whose parts have `id`. After an error nothing is left of it.
    pub fn create<T: Table>(capture: &Dir, number: u32, id: Option<&str>) -> Result<PartWriter> {
        let directory = capture.sub(T::NAME);
        let origin = id.map(|id| Origin::new(id, PartName { table: T::ID, number }));
        Self::create_in::<T>(directory.clone(), number, origin.as_ref())
            .inspect_err(|_| drop(torn::remove(&directory, number)))
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

    /// Appends a batch of the table's schema. A row group that it fills is ended.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.groups.write(batch).map_err(|e| Error::parquet(&self.path, e))?;
        if self.group_rows() >= ROW_GROUP_ROWS { self.end_group() } else { Ok(()) }
    }

    /// Makes what was written until now durable, so that it can be recovered.
    pub fn flush(&mut self) -> Result<()> {
        self.end_group()?;
        if self.synced != *self.log.extent() {
            self.groups.out().inner().file.sync_data().map_err(|e| Error::io(&self.path, "sync", e))?;
            self.log.sync()?;
            self.synced = *self.log.extent();
        }
        Ok(())
    }

    /// Ends the row group that is being encoded, if there is one, and with it gives back its memory.
    pub fn end_group(&mut self) -> Result<()> {
        match self.groups.end().map_err(|e| Error::parquet(&self.path, e))? {
            Some(group) => self.take_down(Some(group)),
            None => Ok(()),
        }
    }

    /// Puts a row group that is new in the file into the log.
    fn take_down(&mut self, group: Option<RowGroupMetaData>) -> Result<()> {
        let summed = self.groups.out().inner_mut();
        let (end, sum) = (summed.bytes, std::mem::take(&mut summed.sum).finalize());
        self.log.append(end, sum, group)
    }

    /// Rows of the row group that is being encoded.
    pub fn group_rows(&self) -> usize {
        self.groups.rows()
    }

    /// Whether it has as many row groups as a part may have, and is to be finished.
    pub fn is_full(&self) -> bool {
        self.log.extent().groups.count >= MOST_GROUPS
    }

    /// What the row group that is being encoded takes in memory. There is nothing else of which it could be much.
    pub fn memory_bytes(&self) -> u64 {
        self.groups.memory_bytes() as u64
    }

    /// Size of the part so far: what is on disk, what waits in memory, and the footer.
    pub fn bytes(&self) -> u64 {
        (self.groups.written_bytes() + self.groups.encoded_bytes()) as u64 + self.log.footer_bytes()
    }

    /// What it and its log have on the disk.
    pub fn on_disk_bytes(&self) -> u64 {
        self.groups.written_bytes() as u64 + self.log.extent().log_end
    }

    /// What finishing the part will at most add to what it has on disk.
    pub fn unwritten_bytes(&self) -> u64 {
        self.groups.encoded_bytes() as u64 + self.log.footer_bytes() + UNWRITTEN_SLACK_BYTES
    }

    /// Closes the part and gives it its name. After an error nothing is left of it.
    pub fn finish(self) -> Result<Part> {
        let (directory, number) = (self.directory.clone(), self.number);
        self.close().inspect_err(|_| drop(torn::remove(&directory, number)))
    }

    fn close(mut self) -> Result<Part> {
        self.end_group()?;
        let PartWriter { table, directory, number, path, mut groups, log, .. } = self;
        let out = groups.out();
        log.write_footer(out, log.extent()).and_then(|()| out.flush()).map_err(|e| footer_error(&path, e))?;
        let bytes = publish(&out.inner().file, &directory, number)?;
        // The log is of no use any more. One that cannot be removed does no harm: its part is whole.
        let _ = torn::remove(&directory, number);
        Ok(part_of(&log.extent().groups, PartName { table, number }, bytes))
    }

    /// After an error: makes a finished part of what the last [`PartWriter::flush`] that succeeded made durable, if there was
    /// one. What was written since is lost; where this fails too, all of it is.
    pub fn salvage(self) -> Result<Option<Part>> {
        let PartWriter { table, directory, number, path, groups, log, synced } = self;
        // It may still write what it has in its buffer, behind the last row group.
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
        // Whatever made the part fail may also stop this; the names are such as no reader takes for a part's.
        let _ = torn::remove(&directory, number);
        salvaged
    }
}

fn footer_error(path: &Path, reason: std::io::Error) -> Error {
    Error::io(path, "write the footer of", reason)
}

/// The unfinished part `number` in `directory`, without what it has behind `end`, where the next write goes.
pub(super) fn reopen(directory: &Dir, number: u32, end: u64) -> Result<File> {
    let mut file = directory.open_to_write(temporary_name(number))?;
    file.set_len(end)
        .and_then(|()| file.seek(SeekFrom::End(0)))
        .map_err(|e| footer_error(&directory.path().join(finished_name(number)), e))?;
    Ok(file)
}

/// Makes a finished part of `file`, which is the unfinished part `number` in `directory`, durably. Its size.
pub(super) fn publish(file: &File, directory: &Dir, number: u32) -> Result<u64> {
    let path = directory.path().join(finished_name(number));
    file.sync_all().map_err(|e| Error::io(&path, "sync", e))?;
    let bytes = file.metadata().map_err(|e| Error::io(&path, "stat", e))?.len();
    directory.rename(temporary_name(number), finished_name(number))?;
    let Err(error) = directory.sync() else { return Ok(bytes) };
    // One that may or may not be there after a crash would be counted as lost and read all the same.
    match directory.remove(finished_name(number)) {
        // It stays, and is read. What is synced of it is all but its name.
        Err(_) if directory.open_file(finished_name(number)).is_ok() => Ok(bytes),
        _ => Err(error),
    }
}
