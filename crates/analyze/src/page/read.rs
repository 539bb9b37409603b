//! Column access for the page: selected rows of a table.

use iostrata_capture::plain;
use polars::prelude::*;

/// Selected rows of a table.
pub struct Rows<'a> {
    frame: &'a DataFrame,
    rows: Vec<usize>,
}

impl<'a> Rows<'a> {
    /// Selects all rows.
    pub fn of(frame: &'a DataFrame) -> Rows<'a> {
        Rows { frame, rows: (0..frame.height()).collect() }
    }

    /// Keeps the rows with the text `wanted` in a column.
    pub fn with(self, column: &str, wanted: &str) -> PolarsResult<Rows<'a>> {
        let texts = self.texts(column)?;
        let rows = self.rows.iter().zip(&texts).filter(|(_, text)| *text == wanted).map(|(row, _)| *row).collect();
        Ok(Rows { rows, ..self })
    }

    /// Keeps the `most` rows with the largest numbers in a column, in descending order. The sort is stable.
    pub fn greatest(self, column: &str, most: usize) -> PolarsResult<Rows<'a>> {
        let numbers = self.numbers(column)?;
        let mut rows: Vec<(f64, usize)> =
            numbers.iter().map(|number| number.unwrap_or(0.0)).zip(self.rows.iter().copied()).collect();
        rows.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        Ok(Rows { rows: rows.into_iter().take(most).map(|(_, row)| row).collect(), ..self })
    }

    /// Whether no row is selected.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of selected rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the displayable texts of a column; empty for null.
    pub fn texts(&self, column: &str) -> PolarsResult<Vec<String>> {
        let values = self.frame.column(column)?.str()?;
        Ok(self.rows.iter().map(|row| plain::visible(values.get(*row).unwrap_or_default()).into_owned()).collect())
    }

    /// Returns the numbers of a column.
    pub fn numbers(&self, column: &str) -> PolarsResult<Vec<Option<f64>>> {
        let values = self.frame.column(column)?.cast(&DataType::Float64)?;
        let values = values.f64()?;
        Ok(self.rows.iter().map(|row| values.get(*row)).collect())
    }

    /// Returns the numbers of a column, 0 for null.
    pub fn sums(&self, column: &str) -> PolarsResult<Vec<f64>> {
        Ok(self.numbers(column)?.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Returns the raw values of a column.
    pub fn values(&self, column: &str) -> PolarsResult<Vec<AnyValue<'a>>> {
        let values = self.frame.column(column)?;
        self.rows.iter().map(|row| values.get(*row)).collect()
    }
}
