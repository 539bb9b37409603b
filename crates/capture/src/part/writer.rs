//! Writing a part.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::log::GroupLog;
use super::{finished_name, log_name, temporary_name};
use crate::error::{Error, Result};
use crate::manifest::{Part, sync_dir};
use crate::table::{Column, Layout, Table};

/// Rows in a row group. More bought nothing in size and costs memory (measured: `docs/performance.md`).
pub const ROW_GROUP_ROWS: usize = 65_536;

fn properties(columns: &[Column]) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("iostrata ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
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
    directory: PathBuf,
    number: u32,
    temporary: PathBuf,
    writer: ArrowWriter<Summed>,
    log: GroupLog,
    logged_groups: usize,
    /// Whether everything in the file is on the disk.
    synced: bool,
    rows: u64,
    range_ns: Option<(i64, i64)>,
}

impl PartWriter {
    /// Opens part `number` of table `T` in the capture directory `capture`, whose table folder exists.
    pub fn create<T: Table>(capture: &Path, number: u32) -> Result<PartWriter> {
        let directory = capture.join(T::NAME);
        let temporary = directory.join(temporary_name(number));
        let properties = properties(&T::columns());
        let template = ArrowWriter::try_new(Vec::new(), T::schema(), Some(properties.clone()))
            .and_then(ArrowWriter::close)
            .map_err(|e| Error::parquet(&temporary, e))?;
        let file = File::create(&temporary).map_err(|e| Error::io(&temporary, "create", e))?;
        let summed = Summed { file, bytes: 0, sum: crc32fast::Hasher::new() };
        let writer =
            ArrowWriter::try_new(summed, T::schema(), Some(properties)).map_err(|e| Error::parquet(&temporary, e))?;
        let log = GroupLog::create(directory.join(log_name(number)), template.file_metadata().clone())?;
        let mut part = PartWriter {
            table: T::NAME,
            directory,
            number,
            temporary,
            writer,
            log,
            logged_groups: 0,
            synced: false,
            rows: 0,
            range_ns: None,
        };
        part.log_groups()?;
        Ok(part)
    }

    /// Appends a batch of the table's schema.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        use arrow::array::{Array, Int64Array};
        self.writer.write(batch).map_err(|e| Error::parquet(&self.temporary, e))?;
        self.rows += batch.num_rows() as u64;
        let times = batch.column_by_name("ts_ns").and_then(|c| c.as_any().downcast_ref::<Int64Array>());
        for time in times.iter().flat_map(|times| times.values().iter()) {
            let (first, last) = self.range_ns.get_or_insert((*time, *time));
            *first = (*first).min(*time);
            *last = (*last).max(*time);
        }
        if self.writer.flushed_row_groups().len() > self.logged_groups { self.log_groups() } else { Ok(()) }
    }

    /// Ends the row group: what was written until now is in the file and in its log, and on the disk when this returns.
    pub fn flush(&mut self) -> Result<()> {
        if self.writer.in_progress_rows() > 0 {
            self.writer.flush().map_err(|e| Error::parquet(&self.temporary, e))?;
            self.log_groups()?;
        }
        if !self.synced {
            self.writer.inner().file.sync_data().map_err(|e| Error::io(&self.temporary, "sync", e))?;
            self.log.sync()?;
            self.synced = true;
        }
        Ok(())
    }

    /// Puts the row groups that are new in the file into the log.
    fn log_groups(&mut self) -> Result<()> {
        self.writer.sync().map_err(|e| Error::io(&self.temporary, "write", e))?;
        let summed = self.writer.inner_mut();
        let (end, sum) = (summed.bytes, std::mem::take(&mut summed.sum).finalize());
        let groups = self.writer.flushed_row_groups();
        self.log.append(end, sum, &groups[self.logged_groups..])?;
        self.logged_groups = groups.len();
        self.synced = false;
        Ok(())
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Size of the part so far: what is on disk and what waits in memory.
    pub fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Closes the part and gives it its name.
    pub fn finish(self) -> Result<Part> {
        let PartWriter { table, directory, number, temporary, writer, log, rows, range_ns, .. } = self;
        let file = writer.into_inner().map_err(|e| Error::parquet(&temporary, e))?.file;
        let bytes = publish(&file, &temporary, &directory, number)?;
        // Of no use any more. One that cannot be removed does no harm: its part is whole.
        let _ = log.remove();
        Ok(Part {
            table: table.to_owned(),
            file: format!("{table}/{}", finished_name(number)),
            rows,
            bytes,
            first_ts_ns: range_ns.map(|r| r.0),
            last_ts_ns: range_ns.map(|r| r.1),
        })
    }

    /// Gives the part up; its rows are lost.
    pub fn discard(self) {
        drop(self.writer);
        // Whatever made the part fail may also stop this; the name is one that no reader takes for a part.
        let _ = fs::remove_file(&self.temporary);
        let _ = self.log.remove();
    }
}

/// Makes a finished part of the file at `temporary`, durably. Its size.
pub(super) fn publish(file: &File, temporary: &Path, directory: &Path, number: u32) -> Result<u64> {
    file.sync_all().map_err(|e| Error::io(temporary, "sync", e))?;
    let bytes = file.metadata().map_err(|e| Error::io(temporary, "stat", e))?.len();
    let path = directory.join(finished_name(number));
    fs::rename(temporary, &path).map_err(|e| Error::io(&path, "rename to", e))?;
    sync_dir(directory)?;
    Ok(bytes)
}
