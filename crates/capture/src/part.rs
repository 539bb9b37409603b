//! Parts: the Parquet files that hold the rows of one table, one after another.
//!
//! A part is written under a name that no reader globs, then synced, renamed and its directory synced. So a file
//! called `part-NNNNNN.parquet` is always whole, whatever happened to the recorder afterwards.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::{Error, Result};
use crate::manifest::{Manifest, Part, sync_dir};
use crate::table::{Column, Layout, Table};

/// Rows in a row group. More bought nothing in size and costs memory (measured: `docs/performance.md`).
pub const ROW_GROUP_ROWS: usize = 65_536;

/// Rows in a batch that a reader is given.
const READ_BATCH_ROWS: usize = 8_192;

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

/// A part that is being written.
pub struct PartWriter {
    table: &'static str,
    directory: PathBuf,
    temporary: PathBuf,
    name: String,
    writer: ArrowWriter<File>,
    rows: u64,
    range_ns: Option<(i64, i64)>,
}

impl PartWriter {
    /// Opens part `number` of table `T` in the capture directory `capture`, whose table folder exists.
    pub fn create<T: Table>(capture: &Path, number: u32) -> Result<PartWriter> {
        let directory = capture.join(T::NAME);
        let name = format!("part-{number:06}.parquet");
        let temporary = directory.join(format!(".{name}.tmp"));
        let file = File::create(&temporary).map_err(|e| Error::io(&temporary, "create", e))?;
        let writer = ArrowWriter::try_new(file, T::schema(), Some(properties(&T::columns())))
            .map_err(|e| Error::parquet(&temporary, e))?;
        Ok(PartWriter { table: T::NAME, directory, temporary, name, writer, rows: 0, range_ns: None })
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
        let PartWriter { table, directory, temporary, name, writer, rows, range_ns } = self;
        let file = writer.into_inner().map_err(|e| Error::parquet(&temporary, e))?;
        file.sync_all().map_err(|e| Error::io(&temporary, "sync", e))?;
        let bytes = file.metadata().map_err(|e| Error::io(&temporary, "stat", e))?.len();
        let path = directory.join(&name);
        fs::rename(&temporary, &path).map_err(|e| Error::io(&path, "rename to", e))?;
        sync_dir(&directory)?;
        Ok(Part {
            table: table.to_owned(),
            file: format!("{table}/{name}"),
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
    }
}

/// A capture to be read.
#[derive(Debug, Clone)]
pub struct Capture {
    /// Its directory.
    pub directory: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Capture {
    /// Opens the capture in `directory`. Every part that the manifest lists must be there, whole.
    pub fn open(directory: &Path) -> Result<Capture> {
        let manifest = Manifest::read(directory)?;
        for part in &manifest.parts {
            let path = directory.join(&part.file);
            let size = fs::metadata(&path).map_err(|e| Error::io(&path, "find the part", e))?.len();
            if size != part.bytes {
                let what = format!("has {size} bytes, but the manifest says {}: it was cut or changed", part.bytes);
                return Err(Error::Schema { path, what });
            }
        }
        Ok(Capture { directory: directory.to_owned(), manifest })
    }

    /// The finished parts of table `T`, in order. A capture that was cut off may have more than its manifest lists.
    pub fn parts<T: Table>(&self) -> Result<Vec<PathBuf>> {
        let directory = self.directory.join(T::NAME);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io(&directory, "list", e)),
        };
        let mut parts = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| Error::io(&directory, "list", e))?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("part-") && name.ends_with(".parquet") {
                parts.push(directory.join(name.as_ref()));
            }
        }
        parts.sort();
        Ok(parts)
    }
}

/// The batches of one part, each of the schema of its table.
pub struct PartReader {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
}

impl PartReader {
    /// Opens a part of table `T`.
    pub fn open<T: Table>(path: &Path) -> Result<PartReader> {
        PartReader::build::<T>(path, |builder| builder)
    }

    /// Opens a part of table `T` to read these columns alone.
    pub fn open_columns<T: Table>(path: &Path, columns: &[&str]) -> Result<PartReader> {
        PartReader::build::<T>(path, |builder| {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder.with_projection(mask)
        })
    }

    fn build<T: Table>(
        path: &Path,
        choose: impl FnOnce(ParquetRecordBatchReaderBuilder<File>) -> ParquetRecordBatchReaderBuilder<File>,
    ) -> Result<PartReader> {
        let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| Error::parquet(path, e))?;
        check_schema(path, builder.schema(), &T::schema())?;
        let builder = choose(builder);
        let batches = builder.with_batch_size(READ_BATCH_ROWS).build().map_err(|e| Error::parquet(path, e))?;
        Ok(PartReader { path: path.to_owned(), batches })
    }
}

impl Iterator for PartReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next().map(|batch| batch.map_err(|e| Error::parquet(&self.path, e.into())))
    }
}

fn check_schema(path: &Path, found: &Schema, expected: &SchemaRef) -> Result<()> {
    for field in expected.fields() {
        let what = match found.field_with_name(field.name()) {
            Err(_) => format!("column {} is missing", field.name()),
            Ok(f) if f.data_type() != field.data_type() => {
                format!("column {} is {}, expected {}", field.name(), f.data_type(), field.data_type())
            }
            Ok(_) => continue,
        };
        return Err(Error::Schema { path: path.to_owned(), what });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::{Comm, Reader};
    use crate::table::TableBuilder;
    use crate::tables::{BlockTable, ProcessBuilder, ProcessRow, ProcessTable, ProcessView};

    fn process(ts_ns: i64, exe: Option<&str>) -> ProcessRow {
        ProcessRow {
            ts_ns,
            pid: 4,
            ppid: 1,
            start_ns: 3,
            comm: Comm(*b"etcd\0\0\0\0\0\0\0\0\0\0\0\0"),
            kernel_thread: false,
            cgroup_id: 1,
            exe: exe.map(str::to_owned),
            cmdline: None,
            cgroup: Some("/".into()),
        }
    }

    fn written(directory: &Path) -> Part {
        fs::create_dir(directory.join("process")).expect("a fresh directory");
        let mut builder = ProcessBuilder::default();
        builder.push(process(20, Some("/usr/bin/etcd")));
        builder.push(process(10, None));
        let mut part = PartWriter::create::<ProcessTable>(directory, 1).expect("a writable directory");
        part.write(&builder.finish().expect("equal columns")).expect("room");
        part.finish().expect("room")
    }

    #[test]
    fn a_finished_part_reads_back_and_leaves_no_temporary_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let part = written(directory.path());
        assert_eq!((part.rows, part.first_ts_ns, part.last_ts_ns), (2, Some(10), Some(20)));
        let path = directory.path().join(&part.file);
        let batches: Vec<_> = PartReader::open::<ProcessTable>(&path).expect("whole").collect();
        let batch = batches[0].as_ref().expect("whole");
        let view = ProcessView::new(batch).expect("its own schema");
        assert_eq!(view.exe.at(0), Some("/usr/bin/etcd"));
        assert_eq!(view.exe.at(1), None);
        assert_eq!(view.comm.at(1), Some("etcd"));
        assert_eq!(fs::read_dir(path.parent().expect("a folder")).expect("readable").count(), 1);
    }

    #[test]
    fn a_part_of_another_table_is_refused_with_the_column_at_fault() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let part = written(directory.path());
        let error = PartReader::open::<BlockTable>(&directory.path().join(part.file)).err().expect("refused");
        assert!(error.to_string().ends_with("part-000001.parquet: column dur_ns is missing"), "{error}");
    }

    #[test]
    fn a_truncated_part_is_an_error_wherever_it_was_cut() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join(written(directory.path()).file);
        let whole = fs::read(&path).expect("readable");
        for length in [0, 3, 4, 8, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            fs::write(&path, &whole[..length]).expect("room");
            let error = PartReader::open::<ProcessTable>(&path).err().expect("refused");
            assert!(error.to_string().contains("not a readable Parquet file"), "{length}: {error}");
        }
    }
}
