use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;

use super::*;
use crate::TableId;
use crate::column::MOST_WORD_BYTES;
use crate::dir::Dir;
use crate::part::limits::MOST_FOOTER_BYTES;
use crate::part::pandas;
use crate::part::writer::properties;
use crate::part::{IncompletePart, Origin, PartFile, PartName, PartReader, PartWriter, Place};
use crate::table::{Column, Table};
use crate::tables::{ClockTable, ProcessTable, SyscallTable};

/// Same length as a capture ID.
const ID: &str = "0123456789abcdef";

/// A row with values of maximum length.
fn longest_row(schema: Arc<Schema>) -> RecordBatch {
    let word = "w".repeat(MOST_WORD_BYTES);
    let longest = |data_type: &DataType| -> ArrayRef {
        match data_type {
            DataType::Int64 => Arc::new(Int64Array::from(vec![i64::MIN])),
            DataType::Int32 => Arc::new(Int32Array::from(vec![i32::MIN])),
            DataType::Boolean => Arc::new(BooleanArray::from(vec![true])),
            DataType::Utf8 => Arc::new(StringArray::from(vec!["\u{fffd}".repeat(5_000)])),
            DataType::Dictionary(..) => Arc::new(DictionaryArray::<Int32Type>::from_iter([word.as_str()])),
            other => panic!("a column of {other}"),
        }
    };
    let columns = schema.fields().iter().map(|field| longest(field.data_type())).collect();
    RecordBatch::try_new(schema, columns).expect("a row")
}

fn begun<T: Table>(directory: &Path) -> PartWriter {
    fs::create_dir_all(directory.join(T::NAME)).expect("a writable directory");
    PartWriter::create::<T>(&Dir::open(directory).expect("there"), 1, Some(ID)).expect("room")
}

fn add_groups<T: Table>(part: &mut PartWriter, count: u64) {
    let batch = longest_row(pandas::schema::<T>());
    for _ in 0..count {
        part.write(&batch).expect("room");
        part.end_group().expect("room");
    }
}

/// The same rows as written by the library's own writer.
fn by_the_library<T: Table>(count: u64) -> Vec<u8> {
    let origin = Origin::new(ID, PartName { table: T::ID, number: 1 });
    let properties = properties(&T::columns(), Some(&origin));
    let mut writer = ArrowWriter::try_new(Vec::new(), pandas::schema::<T>(), Some(properties)).expect("a schema");
    let batch = longest_row(pandas::schema::<T>());
    for _ in 0..count {
        writer.write(&batch).expect("room");
        writer.flush().expect("room");
    }
    writer.into_inner().expect("room")
}

#[test]
fn a_part_is_what_the_library_writes_of_the_same_row_groups() {
    fn check<T: Table>(count: u64) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut part = begun::<T>(directory.path());
        add_groups::<T>(&mut part, count);
        let bytes = part.bytes();
        let finished = part.finish().expect("room");
        let whole = fs::read(finished.name.path(directory.path())).expect("there");
        assert!(whole == by_the_library::<T>(count), "{} {count}", T::NAME);
        assert_eq!((bytes, finished.bytes, finished.rows), (whole.len() as u64, whole.len() as u64, count));
        let least = (count > 0).then_some(i64::MIN);
        assert_eq!((finished.first_ts_ns, finished.last_ts_ns), (least, least));
    }
    for count in [0, 1, 14, 15, 16, 127, 128, 200] {
        check::<ProcessTable>(count);
    }
    check::<SyscallTable>(3);
}

#[test]
fn a_part_is_full_before_a_reader_refuses_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut part = begun::<ClockTable>(directory.path());
    add_groups::<ClockTable>(&mut part, MOST_GROUPS - 1);
    assert!(!part.is_full());
    add_groups::<ClockTable>(&mut part, 1);
    assert!(part.is_full());
    part.flush().expect("room");

    // Left as by a killed recorder, and finished.
    let rows = |part: &PartFile| {
        PartReader::open::<ClockTable>(part)
            .expect("readable")
            .map(|batch| batch.expect("readable").num_rows() as u64)
            .sum()
    };
    let torn =
        IncompletePart::read(&Dir::open(directory.path()).expect("there").sub(ClockTable::NAME), 1).expect("readable");
    let of_torn: u64 = rows(&PartFile::Incomplete(Box::new(torn.expect("flushed"))));
    let finished = part.finish().expect("room");
    let place = Place::named(&finished.name.path(directory.path())).expect("there");
    assert_eq!((of_torn, rows(&PartFile::Whole(place)), finished.rows), (MOST_GROUPS, MOST_GROUPS, MOST_GROUPS));
}

#[test]
fn a_full_part_of_any_table_has_a_footer_that_a_reader_takes() {
    for table in TableId::ALL {
        let columns = (table.declared().columns)();
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join(table.name())).expect("a writable directory");
        let capture = Dir::open(directory.path()).expect("there");
        let mut part = (table.declared().create_part)(&capture, 1, Some(ID)).expect("room");
        let field = |column: &Column| Field::new(column.name, column.data_type.clone(), column.nullable);
        let fields: Vec<Field> = columns.iter().map(field).collect();
        part.write(&longest_row(Arc::new(Schema::new(fields)))).expect("room");
        part.end_group().expect("room");
        let Groups { count, bytes, .. } = part.log.extent().groups;
        // Positions in a long file take more digits: a column has three such numbers, and the row group one.
        let longer = 10 * (3 * columns.len() as u64 + 1);
        assert!(count == 1 && bytes > 20 * columns.len() as u64, "{}: {bytes}", table.name());
        assert!((bytes + longer) * MOST_GROUPS < MOST_FOOTER_BYTES / 2, "{}: {bytes}", table.name());
    }
}
