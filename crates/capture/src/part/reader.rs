//! Reader of parts.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{RecordBatch, new_null_array};
use arrow_schema::ArrowError;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::statistics::Statistics;

use super::{PartFile, limits, small};
use crate::error::{Error, Result};
use crate::panic_guard::reading;
use crate::table::Table;

/// Number of rows in a batch.
const READ_BATCH_ROWS: usize = 8_192;

/// Opened part with checked metadata; row groups are checked when they are read.
pub struct OpenPart {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
    looked: limits::Looked,
    /// Columns that are read.
    mask: ProjectionMask,
    /// Schema of the batches, including columns that were added to the table after the part was written. None if the part has
    /// all of them.
    filled: Option<SchemaRef>,
}

impl OpenPart {
    /// Opens a part of table `T` to read these columns. Columns of a part beyond its table are ignored.
    pub fn new<T: Table>(part: &PartFile, columns: &[&str]) -> Result<OpenPart> {
        let path = part.path();
        let error = |e| Error::parquet(path, e);
        let (file, metadata, bytes) = match part {
            PartFile::Whole(place) => {
                let file = place.open()?;
                let bytes = file.metadata().map_err(|e| Error::io(path, "stat", e))?.len();
                let metadata = limits::metadata(&file).map_err(|e| Error::parquet(path, e))?;
                (file, Arc::new(metadata), bytes)
            }
            PartFile::Incomplete(torn) => (torn.open()?, Arc::new(torn.metadata().map_err(error)?), torn.end),
        };
        // An embedded Arrow schema adds nothing to the table's schema, and is ignored.
        let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let found = ArrowReaderMetadata::try_new(metadata.clone(), options()).map_err(error)?;
        let added: Vec<&str> = T::columns().iter().filter(|column| column.added).map(|column| column.name).collect();
        let expected = T::schema();
        let schema = check_schema(part, found.schema(), &expected, &added)?;
        let asked = expected.fields().iter().filter(|field| columns.contains(&field.name().as_str()));
        let asked: Vec<FieldRef> = asked.cloned().collect();
        let lacks_one = asked.iter().any(|field| schema.field_with_name(field.name()).is_err());
        let filled = lacks_one.then(|| Arc::new(Schema::new(asked)));
        let chosen = schema.fields().iter().enumerate().filter(|(_, field)| columns.contains(&field.name().as_str()));
        let chosen: Vec<limits::Column> =
            chosen.map(|(place, field)| limits::Column { place, values: values(field.data_type()) }).collect();
        let looked = limits::Looked::new(bytes, &metadata, chosen).map_err(error)?;
        let metadata = ArrowReaderMetadata::try_new(metadata, options().with_schema(schema)).map_err(error)?;
        let mask = ProjectionMask::leaves(metadata.parquet_schema(), looked.places());
        Ok(OpenPart { path: path.to_owned(), file, metadata, looked, mask, filled })
    }

    /// Returns the number of row groups.
    pub fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Returns the number of rows that the metadata of a row group claims.
    pub fn rows(&self, group: usize) -> u64 {
        u64::try_from(self.metadata.metadata().row_group(group).num_rows()).unwrap_or(0)
    }

    /// Returns the value range of an integer column in a row group, if the part has statistics.
    pub fn bounds(&self, group: usize, column: &str) -> Option<(i64, i64)> {
        let mut chunks = self.metadata.metadata().row_groups().get(group)?.columns().iter();
        match chunks.find(|chunk| chunk.column_path().string() == column)?.statistics()? {
            Statistics::Int64(values) => values.min_opt().copied().zip(values.max_opt().copied()),
            _ => None,
        }
    }

    /// Returns the batches of some row groups, in this order.
    pub fn read(&mut self, groups: &[usize]) -> Result<PartReader> {
        let OpenPart { path, file, metadata, looked, .. } = self;
        let look = |group: &usize| looked.look(file, metadata.metadata(), *group);
        groups.iter().try_for_each(look).map_err(|e| Error::parquet(path, e))?;
        let file = self.file.try_clone().map_err(|e| Error::io(&self.path, "open", e))?;
        let (path, filled) = (self.path.clone(), self.filled.clone());
        if self.looked.are_recorders() && small::are_small(self.looked.bytes(), self.groups()) {
            let (metadata, mask) = (self.metadata.clone(), self.mask.clone());
            let columns = self.looked.columns().to_vec();
            let small = Small { file, metadata, columns, mask, groups: groups.to_vec(), taken: 0 };
            return Ok(PartReader { path, batches: None, small: Some(small), filled });
        }
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let builder = builder.with_projection(self.mask.clone()).with_batch_size(READ_BATCH_ROWS);
        let batches = builder.with_row_groups(groups.to_vec()).build().map_err(|e| Error::parquet(&self.path, e))?;
        Ok(PartReader { path, batches: Some(batches), small: None, filled })
    }
}

/// Small row groups, read some at a time.
struct Small {
    file: File,
    metadata: ArrowReaderMetadata,
    columns: Vec<limits::Column>,
    mask: ProjectionMask,
    groups: Vec<usize>,
    taken: usize,
}

impl Small {
    /// Returns the batches of the next ones; `None` after the last.
    fn next(&mut self) -> std::result::Result<Option<ParquetRecordBatchReader>, ParquetError> {
        let end = self.groups.len().min(self.taken + small::AT_A_TIME);
        let groups = &self.groups[self.taken..end];
        if groups.is_empty() {
            return Ok(None);
        }
        let (bytes, metadata) = small::unpacked(&self.file, self.metadata.metadata(), groups, &self.columns)?;
        let options =
            ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(self.metadata.schema().clone());
        let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), options)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
        let builder = builder.with_projection(self.mask.clone()).with_batch_size(READ_BATCH_ROWS);
        self.taken = end;
        builder.build().map(Some)
    }
}

/// Batches of one part, each with the schema of its table.
pub struct PartReader {
    path: PathBuf,
    batches: Option<ParquetRecordBatchReader>,
    small: Option<Small>,
    filled: Option<SchemaRef>,
}

impl PartReader {
    /// Opens a part of table `T`.
    pub fn open<T: Table>(part: &PartFile) -> Result<PartReader> {
        let columns: Vec<&str> = T::columns().iter().map(|column| column.name).collect();
        PartReader::open_columns::<T>(part, &columns)
    }

    /// Opens a part of table `T` to read these columns only, as [`OpenPart::new`].
    pub fn open_columns<T: Table>(part: &PartFile, columns: &[&str]) -> Result<PartReader> {
        let mut part = OpenPart::new::<T>(part, columns)?;
        part.read(&(0..part.groups()).collect::<Vec<_>>())
    }
}

impl PartReader {
    /// Passes each remaining batch to `take`, which may return an error text.
    pub fn each(self, take: impl FnMut(&RecordBatch) -> std::result::Result<(), String>) -> Result<()> {
        self.each_unless(|| None, take)
    }

    /// Does the same until `refuses` returns a reason to stop; it is called before each batch.
    pub fn each_unless(
        self,
        mut refuses: impl FnMut() -> Option<String>,
        mut take: impl FnMut(&RecordBatch) -> std::result::Result<(), String>,
    ) -> Result<()> {
        let path = self.path.clone();
        for batch in self {
            if let Some(what) = refuses() {
                return Err(Error::Refused { what });
            }
            take(&batch?).map_err(|what| Error::Schema { path: path.clone(), what })?;
        }
        Ok(())
    }
}

impl PartFile {
    /// Passes each batch of a part of table `T` to `take`, as [`PartReader::each`], within [`reading`].
    pub fn read<T: Table>(&self, take: impl FnMut(&RecordBatch) -> std::result::Result<(), String>) -> Result<()> {
        self.read_unless::<T>(|| None, take)
    }

    /// Does the same until `refuses` returns a reason to stop, as [`PartReader::each_unless`].
    pub fn read_unless<T: Table>(
        &self,
        refuses: impl FnMut() -> Option<String>,
        take: impl FnMut(&RecordBatch) -> std::result::Result<(), String>,
    ) -> Result<()> {
        reading(self.path(), || PartReader::open::<T>(self)?.each_unless(refuses, take))
    }
}

impl Iterator for PartReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.batches.as_mut().and_then(Iterator::next) {
                let batch = batch.and_then(|batch| match &self.filled {
                    Some(schema) => fill(&batch, schema),
                    None => Ok(batch),
                });
                return Some(batch.map_err(|e| Error::parquet(&self.path, e.into())));
            }
            match self.small.as_mut()?.next() {
                Ok(Some(batches)) => self.batches = Some(batches),
                Ok(None) => return None,
                Err(error) => {
                    self.small = None;
                    self.batches = None;
                    return Some(Err(Error::parquet(&self.path, error)));
                }
            }
        }
    }
}

/// Returns a batch with the columns that its part lacks, filled with nulls.
fn fill(batch: &RecordBatch, schema: &SchemaRef) -> std::result::Result<RecordBatch, ArrowError> {
    let absent = |field: &FieldRef| new_null_array(field.data_type(), batch.num_rows());
    let column = |field: &FieldRef| batch.column_by_name(field.name()).cloned().unwrap_or_else(|| absent(field));
    RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect())
}

/// Returns the schema to read the columns `found` in a part, so that those of its table are as `expected`. Columns in `added`
/// may be missing.
fn check_schema(part: &PartFile, found: &Schema, expected: &Schema, added: &[&str]) -> Result<Arc<Schema>> {
    let wrong = |what| Error::Schema { path: part.path().to_owned(), what };
    for field in expected.fields() {
        let name = field.name();
        let mut columns = found.fields().iter().filter(|column| column.name() == name);
        let Some(column) = columns.next() else {
            if added.contains(&name.as_str()) {
                continue;
            }
            return Err(wrong(format!("column {name} is missing")));
        };
        if column.data_type() != stored(field.data_type()) {
            let stored = stored(field.data_type());
            return Err(wrong(format!("column {name} is {}, expected {stored}", column.data_type())));
        }
        if columns.next().is_some() {
            return Err(wrong(format!("column {name} is duplicated, expected one")));
        }
    }
    let read_as = |column: &Arc<Field>| match expected.field_with_name(column.name()) {
        Ok(field) => column.as_ref().clone().with_data_type(field.data_type().clone()),
        Err(_) => column.as_ref().clone(),
    };
    Ok(Arc::new(Schema::new(found.fields().iter().map(read_as).collect::<Vec<_>>())))
}

/// Returns the kind of values of a column of this type.
fn values(data_type: &DataType) -> limits::Values {
    match data_type {
        DataType::Dictionary(..) => limits::Values::Words,
        DataType::Utf8 => limits::Values::Texts,
        other => {
            other.primitive_width().map_or(limits::Values::Booleans, |bytes| limits::Values::Numbers(bytes as i64))
        }
    }
}

/// Returns the type as stored in Parquet: dictionaries are an encoding of texts only.
fn stored(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, of) => of,
        other => other,
    }
}
