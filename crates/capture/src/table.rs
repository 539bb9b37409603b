//! Table trait and the macro that declares a table.
//!
//! A table is declared once, as the list of its columns. The row type, the builder that collects rows into record batches,
//! the view that reads them back, the Arrow schema, the encodings and the documentation are generated from that list.

use std::sync::Arc;

use arrow_array::Array;
use arrow_schema::{Field, Schema, SchemaRef};

pub use arrow_array::RecordBatch;

/// Encoding of a column's values in the file before zstd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Bit-packed differences, for ordered times and for values that repeat in runs.
    Delta,
    /// Byte-stream split: first bytes of all values, then second bytes, and so on. For unordered numbers that differ from
    /// row to row: smaller than differences, and slower to read (3 ns a value, 1 ns).
    Split,
    /// Dictionary and keys, for few distinct values.
    Dictionary,
    /// Plain values, for texts that seldom repeat and for booleans.
    Plain,
}

/// One column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name of the column, with its unit.
    pub name: &'static str,
    /// Arrow type.
    pub data_type: arrow_schema::DataType,
    /// Whether values can be null.
    pub nullable: bool,
    /// Encoding of the values.
    pub layout: Layout,
    /// Whether the column may be missing from captures older than the column; all its values are then read as null.
    pub added: bool,
    /// Documentation of the column.
    pub doc: &'static str,
}

/// Table that can be written and read.
pub trait Table {
    /// ID of the table.
    const ID: crate::TableId;
    /// Name of the folder with the parts.
    const NAME: &'static str = Self::ID.name();
    /// Description of one row.
    const DOC: &'static str;
    /// One row to write.
    type Row;
    /// Builder of record batches.
    type Builder: TableBuilder<Row = Self::Row>;

    /// Returns the columns, in order.
    fn columns() -> Vec<Column>;

    /// Returns the Arrow schema.
    fn schema() -> SchemaRef {
        let fields: Vec<Field> =
            Self::columns().into_iter().map(|c| Field::new(c.name, c.data_type, c.nullable)).collect();
        Arc::new(Schema::new(fields))
    }
}

/// Collects rows of one table into record batches.
pub trait TableBuilder: Default + Send {
    /// One row to write.
    type Row;
    /// Appends a row.
    fn push(&mut self, row: Self::Row);
    /// Number of rows collected since the last [`TableBuilder::finish`].
    fn rows(&self) -> usize;
    /// Bytes of the texts in these rows.
    fn text_bytes(&self) -> usize;
    /// Returns the collected rows as one batch and leaves the builder empty.
    fn finish(&mut self) -> Result<RecordBatch, arrow_schema::ArrowError>;
}

/// Column of a table as a type, from which [`crate::view`] derives the types of its fields.
pub trait Typed {
    /// Type of one value.
    type Value: crate::column::Value;
    /// Name of the column.
    const NAME: &'static str;
}

/// Returns the column `name` of a batch, or an error text.
pub fn column_of<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array, String> {
    batch.column_by_name(name).map(|array| array.as_ref()).ok_or_else(|| format!("column {name} is missing"))
}

/// Returns a reader of the column `name` of a batch, or an error text.
pub fn read_column<'a, R: crate::column::Reader<'a>>(batch: &'a RecordBatch, name: &str) -> Result<R, String> {
    R::new(column_of(batch, name)?).map_err(|what| format!("column {name} {what}"))
}

/// Declares a table: its marker type, row type, builder and view, and a type for each column. One table a module, so that the
/// module contains the types of its columns. An `added` column is nullable, and may be missing from captures.
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $table:ident of $id:ident, row $row:ident, builder $builder:ident, view $view:ident {
            $($(#[doc = $col_doc:literal])+ $col:ident: $ty:ty => $layout:ident $($added:ident)?,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy)]
        pub struct $table;

        $(
            $(#[doc = $col_doc])+
            #[allow(non_camel_case_types, reason = "column types are named after the columns")]
            #[derive(Debug, Clone, Copy)]
            pub struct $col {}

            impl $crate::table::Typed for $col {
                type Value = $ty;
                const NAME: &'static str = stringify!($col);
            }
        )+

        #[doc = concat!("One row of [`", stringify!($table), "`] to write.")]
        #[derive(Debug, Clone, PartialEq)]
        pub struct $row { $($(#[doc = $col_doc])+ pub $col: $ty,)+ }

        #[doc = concat!("Collects rows of [`", stringify!($table), "`].")]
        #[derive(Default)]
        pub struct $builder {
            rows: usize,
            $($col: <$ty as $crate::column::Value>::Builder,)+
        }

        $crate::view! {
            #[doc = concat!("Columns of a batch of [`", stringify!($table), "`].")]
            pub $view of self { $($(#[doc = $col_doc])+ $col),+ }
        }

        impl $crate::table::Table for $table {
            const ID: $crate::TableId = $crate::TableId::$id;
            const DOC: &'static str = concat!($($doc,)+).trim_ascii();
            type Row = $row;
            type Builder = $builder;

            fn columns() -> Vec<$crate::table::Column> {
                vec![$($crate::table::Column {
                    name: stringify!($col),
                    data_type: <$ty as $crate::column::Value>::data_type(),
                    nullable: <$ty as $crate::column::Value>::NULLABLE,
                    layout: $crate::table::Layout::$layout,
                    added: !concat!($(stringify!($added))?).is_empty(),
                    doc: concat!($($col_doc,)+).trim_ascii(),
                },)+]
            }
        }

        impl $crate::table::TableBuilder for $builder {
            type Row = $row;

            #[inline]
            fn push(&mut self, row: $row) {
                self.rows += 1;
                $($crate::column::Builder::<$ty>::push(&mut self.$col, row.$col);)+
            }

            fn rows(&self) -> usize {
                self.rows
            }

            fn text_bytes(&self) -> usize {
                0 $(+ $crate::column::Builder::<$ty>::text_bytes(&self.$col))+
            }

            fn finish(&mut self) -> Result<arrow_array::RecordBatch, arrow_schema::ArrowError> {
                self.rows = 0;
                arrow_array::RecordBatch::try_new(
                    <$table as $crate::table::Table>::schema(),
                    vec![$($crate::column::Builder::<$ty>::finish(&mut self.$col),)+],
                )
            }
        }

    };
}
pub(crate) use table;

/// Declares a view of the columns of a table that a reader needs.
///
/// ```
/// use iostrata_capture::tables::block;
/// iostrata_capture::view! {
///     /// Queueing times and sizes of requests.
///     pub Sizes of block { ts_ns, bytes }
/// }
/// assert_eq!(Sizes::COLUMNS, ["ts_ns", "bytes"]);
/// ```
#[macro_export]
macro_rules! view {
    ($(#[$meta:meta])* $visible:vis $view:ident of $columns:ident { $($(#[$field:meta])* $col:ident),+ $(,)? }) => {
        $(#[$meta])*
        $visible struct $view<'a> {
            /// Number of rows in the batch.
            pub rows: usize,
            $(
                $(#[$field])*
                pub $col: <<$columns::$col as $crate::table::Typed>::Value as $crate::column::Value>::Reader<'a>,
            )+
        }

        impl<'a> $view<'a> {
            /// Names of the columns.
            $visible const COLUMNS: &'static [&'static str] = &[$(<$columns::$col as $crate::table::Typed>::NAME,)+];

            /// Creates a view of `batch`, or names the wrong column and its error.
            $visible fn new(batch: &'a $crate::table::RecordBatch) -> ::std::result::Result<Self, ::std::string::String> {
                Ok($view {
                    rows: batch.num_rows(),
                    $($col: $crate::table::read_column(batch, stringify!($col))?,)+
                })
            }
        }
    };
}
