//! Columns of tables, as what a page is made from.

use iostrata_capture::plain;
use polars::prelude::*;

/// A table, whose rows were chosen.
pub struct Rows<'a> {
    frame: &'a DataFrame,
    rows: Vec<usize>,
}

impl<'a> Rows<'a> {
    /// All of them.
    pub fn of(frame: &'a DataFrame) -> Rows<'a> {
        Rows { frame, rows: (0..frame.height()).collect() }
    }

    /// Those of which a column has the text.
    pub fn with(self, column: &str, wanted: &str) -> PolarsResult<Rows<'a>> {
        let texts = self.texts(column)?;
        let rows = self.rows.iter().zip(&texts).filter(|(_, text)| *text == wanted).map(|(row, _)| *row).collect();
        Ok(Rows { rows, ..self })
    }

    /// The `most` with the greatest numbers in a column, greatest first; those of equal numbers in their order.
    pub fn greatest(self, column: &str, most: usize) -> PolarsResult<Rows<'a>> {
        let numbers = self.numbers(column)?;
        let mut rows: Vec<(f64, usize)> =
            numbers.iter().map(|number| number.unwrap_or(0.0)).zip(self.rows.iter().copied()).collect();
        rows.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        Ok(Rows { rows: rows.into_iter().take(most).map(|(_, row)| row).collect(), ..self })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Their texts in a column, as they are shown; empty where there is none.
    pub fn texts(&self, column: &str) -> PolarsResult<Vec<String>> {
        let values = self.frame.column(column)?.str()?;
        Ok(self.rows.iter().map(|row| plain::visible(values.get(*row).unwrap_or_default()).into_owned()).collect())
    }

    /// Their numbers in a column.
    pub fn numbers(&self, column: &str) -> PolarsResult<Vec<Option<f64>>> {
        let values = self.frame.column(column)?.cast(&DataType::Float64)?;
        let values = values.f64()?;
        Ok(self.rows.iter().map(|row| values.get(*row)).collect())
    }

    /// As [`Rows::numbers`], 0 where there is none.
    pub fn sums(&self, column: &str) -> PolarsResult<Vec<f64>> {
        Ok(self.numbers(column)?.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// What a column has in each of them.
    pub fn values(&self, column: &str) -> PolarsResult<Vec<AnyValue<'a>>> {
        let values = self.frame.column(column)?;
        self.rows.iter().map(|row| values.get(*row)).collect()
    }
}
