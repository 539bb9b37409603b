//! Metadata of a part for pandas. Without it, pandas converts nullable integers to floats, which cannot represent nanoseconds since
//! 1970; with it, pandas uses its nullable integer types, for any query. Other readers ignore it. The format is that of pandas'
//! developer documentation, "Storing pandas DataFrame objects in Apache Parquet format"; columns without an entry are read as
//! before.
//!
//! It is in the metadata of the Arrow schema of a footer: if there is such a schema, pyarrow 26 ignores the key-value metadata
//! beside it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};
use serde_json::{Value, json};

use crate::table::{Column, Table};

/// Metadata key of pandas.
const KEY: &str = "pandas";

/// Returns the schema of a table, with this metadata.
pub(super) fn schema<T: Table>() -> SchemaRef {
    let columns = T::columns();
    let integers: Vec<Value> = columns.iter().filter(|column| column.nullable).filter_map(integer).collect();
    let said = json!({ "index_columns": [], "column_indexes": [], "columns": integers });
    Arc::new(T::schema().as_ref().clone().with_metadata(HashMap::from([(KEY.to_owned(), said.to_string())])))
}

/// Returns the metadata of an integer column; `None` for any other.
fn integer(column: &Column) -> Option<Value> {
    let (stored, read) = match column.data_type {
        DataType::Int64 => ("int64", "Int64"),
        DataType::Int32 => ("int32", "Int32"),
        _ => return None,
    };
    let name = column.name;
    Some(json!({ "name": name, "field_name": name, "pandas_type": stored, "numpy_type": read, "metadata": null }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{ClockTable, ProcessTable, ShareTable};

    fn named<T: Table>() -> Vec<String> {
        let said: Value = serde_json::from_str(&schema::<T>().metadata[KEY]).expect("JSON");
        let columns = said["columns"].as_array().expect("a list").clone();
        columns.iter().map(|column| format!("{} {}", column["name"], column["numpy_type"])).collect()
    }

    #[test]
    fn integers_that_may_be_missing_are_named() {
        assert_eq!(named::<ClockTable>(), Vec::<String>::new());
        // Only its texts are nullable, none of its numbers.
        assert_eq!(named::<ProcessTable>(), Vec::<String>::new());
        let share = named::<ShareTable>();
        assert!(share.contains(&r#""start_ns" "Int64""#.to_owned()) && share.contains(&r#""pid" "Int32""#.to_owned()));
    }
}
