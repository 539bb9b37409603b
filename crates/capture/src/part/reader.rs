//! Reading a part.

use std::fs::File;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use super::PartFile;
use crate::error::{Error, Result};
use crate::table::Table;

/// Rows in a batch that a reader is given.
const READ_BATCH_ROWS: usize = 8_192;

/// The batches of one part, each of the schema of its table.
pub struct PartReader {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
}

impl PartReader {
    /// Opens a part of table `T`.
    pub fn open<T: Table>(part: &PartFile) -> Result<PartReader> {
        PartReader::build::<T>(part, |builder| builder)
    }

    /// Opens a part of table `T` to read these columns alone.
    pub fn open_columns<T: Table>(part: &PartFile, columns: &[&str]) -> Result<PartReader> {
        PartReader::build::<T>(part, |builder| {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder.with_projection(mask)
        })
    }

    fn build<T: Table>(
        part: &PartFile,
        choose: impl FnOnce(ParquetRecordBatchReaderBuilder<File>) -> ParquetRecordBatchReaderBuilder<File>,
    ) -> Result<PartReader> {
        let path = part.path();
        let builder = match part {
            PartFile::Whole(path) => {
                let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
                ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| Error::parquet(path, e))?
            }
            PartFile::Torn(torn) => {
                let file = torn.open()?;
                let metadata = ArrowReaderMetadata::try_new(torn.metadata.clone(), ArrowReaderOptions::default());
                let metadata = metadata.map_err(|e| Error::parquet(path, e))?;
                ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            }
        };
        check_schema(part, builder.schema(), &T::schema())?;
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

fn check_schema(part: &PartFile, found: &Schema, expected: &Schema) -> Result<()> {
    for field in expected.fields() {
        let what = match found.field_with_name(field.name()) {
            Err(_) => format!("column {} is missing", field.name()),
            Ok(f) if f.data_type() != field.data_type() => {
                format!("column {} is {}, expected {}", field.name(), f.data_type(), field.data_type())
            }
            Ok(_) => continue,
        };
        return Err(Error::Schema { path: part.path().to_owned(), what });
    }
    Ok(())
}
