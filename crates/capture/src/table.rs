//! What a table is, and the macro that declares one.
//!
//! A table is declared once, as the list of its columns. From that list come the row type, the builder that gathers
//! rows into record batches, the view that reads them back, the Arrow schema, the encodings and the documentation.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{Field, Schema, SchemaRef};

pub use arrow::array::RecordBatch;

/// How the values of a column are laid out in the file before zstd sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Differences, bit-packed: times in order, and anything that repeats in runs.
    Delta,
    /// The first bytes of all values, then the second ones, and so on: numbers that have no order. Smaller
    /// than differences, and slower to read (3 ns a value, 1 ns), so it is for those that differ from row to row.
    Split,
    /// A dictionary and keys: few distinct values.
    Dictionary,
    /// As they are: texts that seldom repeat, booleans.
    Plain,
}

/// One column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    /// The column's name, with its unit.
    pub name: &'static str,
    /// The Arrow type.
    pub data_type: arrow::datatypes::DataType,
    /// Whether values may be missing.
    pub nullable: bool,
    /// How values are laid out.
    pub layout: Layout,
    /// Whether captures that were made before there was such a column are read as if all its values were missing.
    pub added: bool,
    /// What the column means.
    pub doc: &'static str,
}

/// A table that can be written and read.
pub trait Table {
    /// The table's name.
    const ID: crate::TableId;
    /// The folder that holds the parts.
    const NAME: &'static str = Self::ID.name();
    /// What one row is.
    const DOC: &'static str;
    /// One row to be written.
    type Row;
    /// Gathers rows.
    type Builder: TableBuilder<Row = Self::Row>;

    /// The columns, in order.
    fn columns() -> Vec<Column>;

    /// The Arrow schema.
    fn schema() -> SchemaRef {
        let fields: Vec<Field> =
            Self::columns().into_iter().map(|c| Field::new(c.name, c.data_type, c.nullable)).collect();
        Arc::new(Schema::new(fields))
    }
}

/// Gathers rows of one table into record batches.
pub trait TableBuilder: Default + Send {
    /// One row to be written.
    type Row;
    /// Appends a row.
    fn push(&mut self, row: Self::Row);
    /// Rows gathered since the last [`TableBuilder::finish`].
    fn rows(&self) -> usize;
    /// Bytes of the texts in these rows.
    fn text_bytes(&self) -> usize;
    /// The rows gathered, as one batch; the builder is empty afterwards.
    fn finish(&mut self) -> Result<RecordBatch, arrow::error::ArrowError>;
}

/// A column of a table, as a type: what [`crate::view`] knows the types of its fields by.
pub trait Typed {
    /// What a row has in it.
    type Value: crate::column::Value;
    /// Its name.
    const NAME: &'static str;
}

/// The column `name` of a batch, or what is wrong with it.
pub fn column_of<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array, String> {
    batch.column_by_name(name).map(|array| array.as_ref()).ok_or_else(|| format!("column {name} is missing"))
}

/// A reader of the column `name` of a batch, or what is wrong with it.
pub fn read_column<'a, R: crate::column::Reader<'a>>(batch: &'a RecordBatch, name: &str) -> Result<R, String> {
    R::new(column_of(batch, name)?).map_err(|what| format!("column {name} {what}"))
}

/// Declares a table: its marker type, row type, builder and view. A column that was `added` is nullable, and may be missing from captures.
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $table:ident of $id:ident, columns $columns:ident, row $row:ident, builder $builder:ident, view $view:ident {
            $($(#[doc = $col_doc:literal])+ $col:ident: $ty:ty => $layout:ident $($added:ident)?,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy)]
        pub struct $table;

        #[doc = concat!("The columns of [`", stringify!($table), "`], as types.")]
        #[allow(non_camel_case_types, reason = "they are called what the columns are")]
        pub mod $columns {
            #[allow(unused_imports, reason = "some tables have none but plain types")]
            use super::*;

            $(
                $(#[doc = $col_doc])+
                #[derive(Debug, Clone, Copy)]
                pub struct $col;

                impl $crate::table::Typed for $col {
                    type Value = $ty;
                    const NAME: &'static str = stringify!($col);
                }
            )+
        }

        #[doc = concat!("One row of [`", stringify!($table), "`], to be written.")]
        #[derive(Debug, Clone, PartialEq)]
        pub struct $row { $($(#[doc = $col_doc])+ pub $col: $ty,)+ }

        #[doc = concat!("Gathers rows of [`", stringify!($table), "`].")]
        #[derive(Default)]
        pub struct $builder {
            rows: usize,
            $($col: <$ty as $crate::column::Value>::Builder,)+
        }

        $crate::view! {
            #[doc = concat!("The columns of a batch of [`", stringify!($table), "`].")]
            pub $view of $columns { $($(#[doc = $col_doc])+ $col),+ }
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

            fn finish(&mut self) -> Result<arrow::array::RecordBatch, arrow::error::ArrowError> {
                self.rows = 0;
                arrow::array::RecordBatch::try_new(
                    <$table as $crate::table::Table>::schema(),
                    vec![$($crate::column::Builder::<$ty>::finish(&mut self.$col),)+],
                )
            }
        }

    };
}
pub(crate) use table;

/// Declares a view of some columns of a table: what a reader needs, and nothing that it does not.
///
/// ```
/// use iostrata_capture::tables::block;
/// iostrata_capture::view! {
///     /// When requests were queued, and how large they were.
///     pub Sizes of block { ts_ns, bytes }
/// }
/// assert_eq!(Sizes::COLUMNS, ["ts_ns", "bytes"]);
/// ```
#[macro_export]
macro_rules! view {
    ($(#[$meta:meta])* $visible:vis $view:ident of $columns:ident { $($(#[$field:meta])* $col:ident),+ $(,)? }) => {
        $(#[$meta])*
        $visible struct $view<'a> {
            /// Rows in the batch.
            pub rows: usize,
            $(
                $(#[$field])*
                pub $col: <<$columns::$col as $crate::table::Typed>::Value as $crate::column::Value>::Reader<'a>,
            )+
        }

        impl<'a> $view<'a> {
            /// The names of its columns.
            $visible const COLUMNS: &'static [&'static str] = &[$(<$columns::$col as $crate::table::Typed>::NAME,)+];

            /// A view of `batch`, or which column is wrong and how.
            $visible fn new(batch: &'a $crate::table::RecordBatch) -> ::std::result::Result<Self, ::std::string::String> {
                Ok($view {
                    rows: batch.num_rows(),
                    $($col: $crate::table::read_column(batch, stringify!($col))?,)+
                })
            }
        }
    };
}
