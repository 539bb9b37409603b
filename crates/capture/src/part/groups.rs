//! Row groups on their way into a file, of which nothing stays in memory once they are there.
//!
//! The library's own writer keeps what a footer will say of each row group, 12.5 KB of it for `syscall` (measured), until the file is closed. A recorder that is to be
//! quick about durability makes ten of them a second and table.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::SchemaDescPtr;

/// What a file begins with.
const MAGIC: &[u8] = b"PAR1";

/// The file, and the row group that is being encoded.
pub(super) struct GroupWriter<W: Write + Send> {
    out: TrackedWrite<W>,
    fields: SchemaRef,
    columns: ArrowRowGroupWriterFactory,
    schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    encoded: Option<Encoded>,
    ended: i32,
}

/// A row group that is being encoded.
struct Encoded {
    columns: Vec<ArrowColumnWriter>,
    rows: usize,
}

impl<W: Write + Send> GroupWriter<W> {
    /// Begins a file. It, and what the footer of one without rows says.
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

    /// Ends the row group that is being encoded, if there is one, and gives all of it to the file. What a footer says of it.
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

    /// Rows of the row group that is being encoded.
    pub(super) fn rows(&self) -> usize {
        self.encoded.as_ref().map_or(0, |encoded| encoded.rows)
    }

    /// What it takes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.sum(ArrowColumnWriter::memory_size)
    }

    /// What it will take in the file, about.
    pub(super) fn encoded_bytes(&self) -> usize {
        self.sum(ArrowColumnWriter::get_estimated_total_bytes)
    }

    fn sum(&self, of: fn(&ArrowColumnWriter) -> usize) -> usize {
        self.encoded.iter().flat_map(|encoded| &encoded.columns).map(of).sum()
    }

    /// What the file has.
    pub(super) fn written_bytes(&self) -> usize {
        self.out.bytes_written()
    }

    /// The file.
    pub(super) fn out(&mut self) -> &mut TrackedWrite<W> {
        &mut self.out
    }
}
