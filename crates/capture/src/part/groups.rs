//! Writer of row groups that keeps none of them in memory once they are in the file.
//!
//! The writer of the library keeps the footer data of each row group, 12.5 KB for `syscall` (measured), until the file is closed. A
//! recorder with frequent flushes makes ten row groups per second and table.

use std::io::Write;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::SchemaDescPtr;

/// First bytes of a file.
const MAGIC: &[u8] = b"PAR1";

/// File, and the row group that is being encoded.
pub(super) struct GroupWriter<W: Write + Send> {
    out: TrackedWrite<W>,
    fields: SchemaRef,
    columns: ArrowRowGroupWriterFactory,
    schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    encoded: Option<Encoded>,
    ended: i32,
}

/// Row group that is being encoded.
struct Encoded {
    columns: Vec<ArrowColumnWriter>,
    rows: usize,
}

impl<W: Write + Send> GroupWriter<W> {
    /// Begins a file. Returns it, and the footer data of a file without rows.
    pub(super) fn begin(
        out: W,
        fields: SchemaRef,
        properties: WriterProperties,
    ) -> Result<(GroupWriter<W>, ParquetMetaData)> {
        let empty = ArrowWriter::try_new(Vec::new(), Arc::clone(&fields), Some(properties))?;
        let (empty, columns) = empty.into_serialized_writer()?;
        let (schema, properties) = (Arc::new(empty.schema_descr().clone()), Arc::clone(empty.properties()));
        let mut out = TrackedWrite::new(out);
        out.write_all(MAGIC)?;
        let writer = GroupWriter { out, fields, columns, schema, properties, encoded: None, ended: 0 };
        Ok((writer, empty.close()?))
    }

    /// Encodes a batch.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let encoded = match &mut self.encoded {
            Some(encoded) => encoded,
            none => none.insert(Encoded { columns: self.columns.create_column_writers(self.ended as usize)?, rows: 0 }),
        };
        encoded.rows += batch.num_rows();
        let mut columns = encoded.columns.iter_mut();
        for (field, column) in self.fields.fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, column)? {
                let column =
                    columns.next().ok_or_else(|| ParquetError::General("more columns than expected".into()))?;
                column.write(&leaf)?;
            }
        }
        Ok(())
    }

    /// Ends the row group that is being encoded, if there is one, and writes all of it to the file. Returns its footer data.
    pub(super) fn end(&mut self) -> Result<Option<RowGroupMetaData>> {
        let Some(Encoded { columns, .. }) = self.encoded.take() else { return Ok(None) };
        let (schema, properties) = (Arc::clone(&self.schema), Arc::clone(&self.properties));
        let mut group = SerializedRowGroupWriter::new(schema, properties, &mut self.out, self.ended, None);
        for column in columns {
            column.close()?.append_to_row_group(&mut group)?;
        }
        let metadata = group.close()?;
        self.ended += 1;
        self.out.flush()?;
        Ok(Some(Arc::unwrap_or_clone(metadata)))
    }

    /// Returns the number of rows in the row group that is being encoded.
    pub(super) fn rows(&self) -> usize {
        self.encoded.as_ref().map_or(0, |encoded| encoded.rows)
    }

    /// Returns its size in memory, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.sum(ArrowColumnWriter::memory_size)
    }

    /// Returns its estimated size in the file, in bytes.
    pub(super) fn encoded_bytes(&self) -> usize {
        self.sum(ArrowColumnWriter::get_estimated_total_bytes)
    }

    fn sum(&self, of: fn(&ArrowColumnWriter) -> usize) -> usize {
        self.encoded.iter().flat_map(|encoded| &encoded.columns).map(of).sum()
    }

    /// Returns the number of bytes in the file.
    pub(super) fn written_bytes(&self) -> usize {
        self.out.bytes_written()
    }

    /// Returns the file.
    pub(super) fn out(&mut self) -> &mut TrackedWrite<W> {
        &mut self.out
    }
}
