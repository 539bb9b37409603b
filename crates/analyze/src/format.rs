//! Output files of tables: CSV, Parquet or JSON.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use polars::prelude::{AnyValue, Column, DataFrame, DataType, PolarsResult, QuoteStyle};

use crate::frame::{csv, csv_rows};

/// Format of tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a header.
    #[default]
    Csv,
    /// CSV for spreadsheets, which read some texts as formulas: an apostrophe precedes these.
    SafeCsv,
    /// Parquet. Integers are 64-bit signed, so that all readers can read them; larger values become the maximum.
    Parquet,
    /// Array of objects, one per row, with the columns in order.
    Json,
}

impl Format {
    /// Returns the file extension without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Format::Csv | Format::SafeCsv => "csv",
            Format::Parquet => "parquet",
            Format::Json => "json",
        }
    }

    /// Writes `frame` as a file.
    ///
    /// # Errors
    /// If a column has an unsupported type, or on a write error.
    pub fn write(self, frame: &mut DataFrame, to: &mut (impl Write + Send)) -> Result<()> {
        let mut file = File::new(self, to);
        file.add(frame)?;
        file.finish()
    }
}

/// Output file of a table. Rows are added in batches: all of them may exceed memory.
pub struct File<'a, W: Write + Send> {
    format: Format,
    /// Output; a started Parquet writer owns it.
    to: Option<&'a mut W>,
    parquet: Option<ArrowWriter<&'a mut W>>,
    /// Whether rows were added.
    is_begun: bool,
    has_rows: bool,
}

impl<'a, W: Write + Send> File<'a, W> {
    /// Creates a file without rows.
    pub fn new(format: Format, to: &'a mut W) -> File<'a, W> {
        File { format, to: Some(to), parquet: None, is_begun: false, has_rows: false }
    }

    /// Adds rows with the same columns as the previous ones.
    ///
    /// # Errors
    /// If a column has an unsupported type, or on a write error.
    pub fn add(&mut self, frame: &mut DataFrame) -> Result<()> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        match (self.format, &mut self.to) {
            (Format::Csv, Some(to)) => some_csv(is_first, frame, to, QuoteStyle::Necessary)?,
            // If the separator is not the comma, the text after a separator would be a cell of its own.
            (Format::SafeCsv, Some(to)) => some_csv(is_first, &mut harmless(frame)?, to, QuoteStyle::NonNumeric)?,
            (Format::Json, Some(to)) => {
                if is_first {
                    to.write_all(b"[")?;
                }
                json(frame, to, self.has_rows)?;
            }
            (Format::Parquet, to) => {
                let batch = batch(frame)?;
                if let Some(to) = to.take() {
                    self.parquet = Some(ArrowWriter::try_new(to, batch.schema(), None)?);
                }
                self.parquet.as_mut().map_or(Ok(()), |writer| writer.write(&batch))?;
            }
            (_, None) => {}
        }
        self.has_rows |= frame.height() > 0;
        Ok(())
    }

    /// Completes the file. A table without rows must have been added if there are none.
    ///
    /// # Errors
    /// If the end cannot be written.
    pub fn finish(self) -> Result<()> {
        if let (Format::Json, Some(to)) = (self.format, self.to) {
            to.write_all(b"\n]\n")?;
        }
        if let Some(writer) = self.parquet {
            writer.close()?;
        }
        Ok(())
    }
}

fn some_csv(
    is_first: bool,
    frame: &mut DataFrame,
    to: &mut (impl Write + Send),
    quoted: QuoteStyle,
) -> PolarsResult<()> {
    if is_first { csv(frame, to, quoted) } else { csv_rows(frame, to, quoted) }
}

/// First characters that a spreadsheet reads as a formula, or skips before one (OWASP, CSV Injection). The last four are the first four in full
/// width.
const OF_FORMULAS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// Returns the table with an apostrophe before each such text. Numbers are unchanged.
fn harmless(frame: &DataFrame) -> PolarsResult<DataFrame> {
    let mut harmless = frame.clone();
    for column in frame.columns().iter().filter(|column| *column.dtype() == DataType::String) {
        let of = |text: &str| if text.starts_with(OF_FORMULAS) { format!("'{text}") } else { text.to_owned() };
        let texts = column.str()?.iter().map(|text| text.map(of)).collect::<Vec<_>>();
        harmless.with_column(Column::new(column.name().clone(), texts))?;
    }
    Ok(harmless)
}

fn batch(frame: &DataFrame) -> Result<RecordBatch> {
    let columns = frame.columns().iter().map(|column| Ok((column.name().as_str(), array(column)?)));
    let columns = columns.collect::<Result<Vec<(&str, ArrayRef)>>>()?;
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?)
}

fn array(column: &Column) -> Result<ArrayRef> {
    Ok(match column.dtype() {
        DataType::String => Arc::new(StringArray::from_iter(column.str()?.iter())),
        DataType::UInt64 => {
            let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            Arc::new(Int64Array::from_iter(column.u64()?.iter().map(|number| number.map(whole))))
        }
        DataType::Int64 => Arc::new(Int64Array::from_iter(column.i64()?.iter())),
        DataType::Float64 => Arc::new(Float64Array::from_iter(column.f64()?.iter())),
        other => bail!("column {} is of type {other}, which no table has", column.name()),
    })
}

fn json(frame: &DataFrame, to: &mut impl Write, has_rows: bool) -> Result<()> {
    let names = frame.columns().iter().map(|column| Ok(serde_json::to_string(column.name().as_str())?));
    let names = names.collect::<Result<Vec<String>>>()?;
    for row in 0..frame.height() {
        let mut text = String::from(if row == 0 && !has_rows { "\n{" } else { ",\n{" });
        for (place, (name, column)) in names.iter().zip(frame.columns()).enumerate() {
            let value = value(&column.get(row)?).with_context(|| format!("column {}", column.name()))?;
            text.push_str(if place == 0 { "" } else { ", " });
            text.extend([name.as_str(), ": ", &value]);
        }
        text.push('}');
        to.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn value(value: &AnyValue) -> Result<String> {
    Ok(match value {
        AnyValue::Null => "null".to_owned(),
        AnyValue::UInt64(number) => number.to_string(),
        AnyValue::Int64(number) => number.to_string(),
        AnyValue::Float64(number) => serde_json::to_string(number)?,
        AnyValue::String(text) => serde_json::to_string(text)?,
        AnyValue::StringOwned(text) => serde_json::to_string(text.as_str())?,
        other => bail!("{} is of a type that no table has", other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ResultColumn, frame};
    use arrow_array::Array;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    type Row = (&'static str, Option<u64>, Option<i64>, Option<f64>);

    fn table() -> DataFrame {
        let columns: Vec<ResultColumn<Row>> = vec![
            ResultColumn::text("name", "", |row: &Row| row.0),
            ResultColumn::integer("ops", "", |row: &Row| row.1),
            ResultColumn::signed("stride_bytes", "", |row: &Row| row.2),
            ResultColumn::number("share", "", |row: &Row| row.3),
        ];
        let rows = [("with \"quotes\",\nand more", Some(u64::MAX), Some(-1), Some(0.5)), ("", None, None, None)];
        frame(&columns, &rows).expect("declared columns")
    }

    fn written(format: Format, frame: &mut DataFrame) -> Vec<u8> {
        let mut bytes = Vec::new();
        format.write(frame, &mut bytes).expect("room");
        bytes
    }

    #[test]
    fn a_table_is_the_same_in_each_form() {
        let text = |format: Format| String::from_utf8(written(format, &mut table())).expect("UTF-8");
        assert_eq!(
            text(Format::Csv),
            "name,ops,stride_bytes,share\n\"with \"\"quotes\"\",\nand more\",18446744073709551615,-1,0.5\n,,,\n"
        );
        assert_eq!(
            text(Format::Json),
            "[\n{\"name\": \"with \\\"quotes\\\",\\nand more\", \"ops\": 18446744073709551615, \"stride_bytes\": -1, \
             \"share\": 0.5},\n{\"name\": null, \"ops\": null, \"stride_bytes\": null, \"share\": null}\n]\n"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text(Format::Json)).is_ok());
        let bytes = written(Format::Parquet, &mut table());
        let mut file = tempfile::tempfile().expect("room");
        file.write_all(&bytes).expect("room");
        let mut read = ParquetRecordBatchReaderBuilder::try_new(file).expect("a file").build().expect("rows");
        let batch = read.next().expect("one batch").expect("readable");
        let schema: Vec<String> =
            batch.schema().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
        assert_eq!(schema, ["name Utf8", "ops Int64", "stride_bytes Int64", "share Float64"]);
        assert_eq!((batch.num_rows(), batch.column(1).null_count()), (2, 1));
    }

    #[test]
    fn a_name_is_no_formula_where_that_is_asked_for() {
        let columns: Vec<ResultColumn<(&str, i64)>> = vec![
            ResultColumn::text("name", "", |row: &(&str, i64)| row.0),
            ResultColumn::signed("stride_bytes", "", |row: &(&str, i64)| Some(row.1)),
        ];
        let names = [
            "=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1", "a=1;=2", "", "'=",
            " =1", "/a",
        ];
        let rows: Vec<(&str, i64)> = names.iter().map(|name| (*name, -5)).collect();
        let mut table = frame(&columns, &rows).expect("declared columns");
        let safe = String::from_utf8(written(Format::SafeCsv, &mut table)).expect("UTF-8");
        let exact = String::from_utf8(written(Format::Csv, &mut table)).expect("UTF-8");
        let mut expected = "name,stride_bytes\n".to_owned();
        for (number, name) in names.iter().enumerate() {
            let name = if number < 11 { format!("'{name}") } else { (*name).to_owned() };
            expected.push_str(&if name.is_empty() { ",-5\n".to_owned() } else { format!("\"{name}\",-5\n") });
        }
        assert_eq!(safe.replace("\"\",", ","), expected);
        assert!(exact.contains("\n=1+2,-5\n+1,-5\n-1,-5\n"), "{exact}");
    }

    #[test]
    fn a_table_of_which_the_rows_come_one_by_one_is_the_same() {
        for format in [Format::Csv, Format::Json] {
            let mut bytes = Vec::new();
            let mut file = File::new(format, &mut bytes);
            for row in 0..2 {
                file.add(&mut table().slice(row, 1)).expect("room");
            }
            file.finish().expect("room");
            assert_eq!(bytes, written(format, &mut table()));
        }
        let mut bytes = Vec::new();
        let mut file = File::new(Format::Parquet, &mut bytes);
        (0..2).for_each(|row| file.add(&mut table().slice(row, 1)).expect("room"));
        file.finish().expect("room");
        let mut on_disk = tempfile::tempfile().expect("room");
        on_disk.write_all(&bytes).expect("room");
        let read = ParquetRecordBatchReaderBuilder::try_new(on_disk).expect("a file").build().expect("rows");
        assert_eq!(read.map(|batch| batch.expect("readable").num_rows()).sum::<usize>(), 2);
    }

    #[test]
    fn a_table_without_rows_is_one_too() {
        let mut empty = table().head(Some(0));
        for format in [Format::Csv, Format::SafeCsv, Format::Parquet, Format::Json] {
            assert!(!written(format, &mut empty).is_empty());
        }
        assert_eq!(written(Format::Json, &mut empty), b"[\n]\n");
    }
}
