//! Result tables: each column is declared once, with its header, values and documentation.

use std::fmt::Write as _;
use std::io;

use polars::prelude::*;

/// Column of a result with rows of type `R`.
pub struct ResultColumn<R> {
    /// Header, with the unit.
    pub name: String,
    /// Meaning of the column.
    pub doc: String,
    /// Source of its values.
    pub value: Value<R>,
}

impl<R> ResultColumn<R> {
    /// Creates a column of texts.
    pub fn text(name: impl Into<String>, doc: impl Into<String>, value: impl Fn(&R) -> &str + 'static) -> Self {
        ResultColumn { name: name.into(), doc: doc.into(), value: Value::Text(Box::new(value)) }
    }

    /// Creates a column of unsigned integers.
    pub fn integer(
        name: impl Into<String>,
        doc: impl Into<String>,
        value: impl Fn(&R) -> Option<u64> + 'static,
    ) -> Self {
        ResultColumn { name: name.into(), doc: doc.into(), value: Value::Integer(Box::new(value)) }
    }

    /// Creates a column of signed integers.
    pub fn signed(
        name: impl Into<String>,
        doc: impl Into<String>,
        value: impl Fn(&R) -> Option<i64> + 'static,
    ) -> Self {
        ResultColumn { name: name.into(), doc: doc.into(), value: Value::Signed(Box::new(value)) }
    }

    /// Creates a column of floating-point numbers.
    pub fn number(
        name: impl Into<String>,
        doc: impl Into<String>,
        value: impl Fn(&R) -> Option<f64> + 'static,
    ) -> Self {
        ResultColumn { name: name.into(), doc: doc.into(), value: Value::Number(Box::new(value)) }
    }
}

/// Source of the values of a column.
pub enum Value<R> {
    /// Text of the row; an empty text is an empty cell.
    Text(TextOf<R>),
    /// Text made for the row; an empty text is an empty cell.
    Words(WordsOf<R>),
    /// Unsigned integer of the row; `None` is an empty cell.
    Integer(IntegerOf<R>),
    /// Signed integer of the row; `None` is an empty cell.
    Signed(SignedOf<R>),
    /// Number of the row; `None` is an empty cell.
    Number(NumberOf<R>),
    /// Number made from the columns declared before this one.
    Derived(FromColumns),
}

type TextOf<R> = Box<dyn Fn(&R) -> &str>;
type WordsOf<R> = Box<dyn Fn(&R) -> String>;
type IntegerOf<R> = Box<dyn Fn(&R) -> Option<u64>>;
type SignedOf<R> = Box<dyn Fn(&R) -> Option<i64>>;
type NumberOf<R> = Box<dyn Fn(&R) -> Option<f64>>;
type FromColumns = Box<dyn Fn(&DataFrame) -> PolarsResult<Column>>;

impl<R> Value<R> {
    /// Returns the type of value for the documentation.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) | Value::Words(_) => "text",
            Value::Integer(_) | Value::Signed(_) => "integer",
            Value::Number(_) | Value::Derived(_) => "number",
        }
    }
}

/// Builds the table of `rows`.
pub fn frame<R>(columns: &[ResultColumn<R>], rows: &[R]) -> PolarsResult<DataFrame> {
    let mut frame = DataFrame::new(rows.len(), Vec::new())?;
    for column in columns {
        let name = PlSmallStr::from_str(&column.name);
        let values = match &column.value {
            Value::Text(text) => Column::new(
                name,
                rows.iter().map(|row| Some(text(row)).filter(|text| !text.is_empty())).collect::<Vec<_>>(),
            ),
            Value::Words(words) => Column::new(
                name,
                rows.iter().map(|row| Some(words(row)).filter(|text| !text.is_empty())).collect::<Vec<_>>(),
            ),
            Value::Integer(integer) => Column::new(name, rows.iter().map(integer).collect::<Vec<Option<u64>>>()),
            Value::Signed(signed) => Column::new(name, rows.iter().map(signed).collect::<Vec<Option<i64>>>()),
            Value::Number(number) => Column::new(name, rows.iter().map(number).collect::<Vec<Option<f64>>>()),
            Value::Derived(derived) => derived(&frame)?.with_name(name),
        };
        frame.with_column(values)?;
    }
    Ok(frame)
}

/// Returns the column `name` as floating-point numbers.
pub fn number(frame: &DataFrame, name: &str) -> PolarsResult<Column> {
    frame.column(name)?.cast(&DataType::Float64)
}

/// Returns `numerator / denominator`; empty if either is empty or the denominator is zero.
pub fn ratio(numerator: &Column, denominator: &Column) -> PolarsResult<Column> {
    let quotient = (numerator / denominator)?;
    Ok(quotient.f64()?.apply(|value| value.filter(|v| v.is_finite())).into_column())
}

/// Returns `column + amount`; all cells are empty if the amount is unknown.
pub fn plus(column: &Column, amount: Option<u64>) -> Column {
    match amount {
        Some(amount) => column + (amount as f64),
        None => Column::full_null(column.name().clone(), column.len(), &DataType::Float64),
    }
}

/// Writes the table as CSV with this quoting.
pub fn csv(frame: &mut DataFrame, to: &mut (impl io::Write + Send), quoted: QuoteStyle) -> PolarsResult<()> {
    // The library would build a table of nulls for the header alone, which takes longer than the rows of most tables. No column name contains a
    // character that RFC 4180 requires to be quoted.
    let names: Vec<&str> = frame.columns().iter().map(|column| column.name().as_str()).collect();
    writeln!(to, "{}", names.join(","))?;
    csv_rows(frame, to, quoted)
}

/// Writes the rows of the table as CSV, without a header.
pub fn csv_rows(frame: &mut DataFrame, to: &mut (impl io::Write + Send), quoted: QuoteStyle) -> PolarsResult<()> {
    CsvWriter::new(to).include_header(false).with_quote_style(quoted).finish(frame)
}

/// Returns the documentation of `columns` as a Markdown table.
pub fn markdown<R>(columns: &[ResultColumn<R>]) -> String {
    let mut text = String::from("| column | type | meaning |\n| --- | --- | --- |\n");
    for column in columns {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{}` | {} | {} |", column.name, column.value.kind(), column.doc);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_empty_where_they_are_not_defined() {
        let column = |values: Vec<Option<f64>>| Column::new("x".into(), values);
        let numerator = column(vec![Some(3.0), Some(1.0), Some(0.0), None, Some(1.0)]);
        let denominator = column(vec![Some(2.0), Some(0.0), Some(0.0), Some(1.0), None]);
        let ratio = ratio(&numerator, &denominator).expect("numbers");
        let values: Vec<Option<f64>> = ratio.f64().expect("numbers").iter().collect();
        assert_eq!(values, [Some(1.5), None, None, None, None]);
    }

    #[test]
    fn a_table_as_csv_has_a_header_also_where_it_has_no_rows() {
        let column = |values: Vec<Option<&str>>| Column::new("y_bytes".into(), values);
        let written = |values: Vec<Option<&str>>| {
            let numbers = Column::new("x".into(), vec![1u64; values.len()]);
            let mut frame = DataFrame::new(values.len(), vec![numbers, column(values)]).expect("of one height");
            let mut bytes = Vec::new();
            csv(&mut frame, &mut bytes, QuoteStyle::Necessary).expect("room");
            String::from_utf8(bytes).expect("a text")
        };
        assert_eq!(written(Vec::new()), "x,y_bytes\n");
        assert_eq!(written(vec![None, Some("a,\"b\"")]), "x,y_bytes\n1,\n1,\"a,\"\"b\"\"\"\n");
    }

    #[test]
    fn a_sum_with_an_unknown_amount_is_unknown() {
        let column = Column::new("x".into(), vec![Some(1.0), None]);
        let values = |c: Column| c.f64().expect("numbers").iter().collect::<Vec<_>>();
        assert_eq!(values(plus(&column, Some(2))), [Some(3.0), None]);
        assert_eq!(values(plus(&column, None)), [None, None]);
    }
}
