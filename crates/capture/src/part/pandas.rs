//! What a part says to pandas. Without a word it makes floats of integers that may be missing, which have no room for nanoseconds since 1970; with
//! this it reads them as its nullable integers, whatever is asked for. Others leave it alone. The form is that of pandas' developer documentation,
//! "Storing pandas DataFrame objects in Apache Parquet format"; columns that are not in it are read as they were.
//!
//! It is in the metadata of the Arrow schema that a footer has: where there is such a schema, pyarrow 26 does not look at the words beside it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use serde_json::{Value, json};

use crate::table::{Column, Table};

/// The word that pandas looks for.
const KEY: &str = "pandas";

/// The schema of a table, with what is said of it.
pub(super) fn schema<T: Table>() -> SchemaRef {
    let columns = T::columns();
    let integers: Vec<Value> = columns.iter().filter(|column| column.nullable).filter_map(integer).collect();
    let said = json!({ "index_columns": [], "column_indexes": [], "columns": integers });
    Arc::new(T::schema().as_ref().clone().with_metadata(HashMap::from([(KEY.to_owned(), said.to_string())])))
}

/// What is said of a column of integers; none of any other.
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
        // Its texts may be missing, and no number.
        assert_eq!(named::<ProcessTable>(), Vec::<String>::new());
        let share = named::<ShareTable>();
        assert!(share.contains(&r#""start_ns" "Int64""#.to_owned()) && share.contains(&r#""pid" "Int32""#.to_owned()));
    }
}
