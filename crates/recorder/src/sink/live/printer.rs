//! Lines of rows, in the selected form.

use arrow_array::RecordBatch;
use iostrata_capture::TableId;

use super::requests::{Requests, Shape};
use super::row::Row;
use super::{Form, Format};

/// State of the lines.
pub enum Printer {
    Operations(Format),
    Requests(Box<Requests>),
}

impl Printer {
    /// Starts without any row.
    pub fn new(form: Form) -> Printer {
        match form {
            Form::Operations(format) => Printer::Operations(format),
            Form::Requests(shape) => Printer::Requests(Box::new(Requests::new(shape))),
        }
    }

    /// Whether the output is a table for a person, and not for a program.
    pub fn is_text(&self) -> bool {
        match self {
            Printer::Operations(format) => *format == Format::Text,
            Printer::Requests(requests) => requests.shape == Shape::Text,
        }
    }

    /// Appends the header before the first row.
    pub fn header(&self, out: &mut Vec<u8>) {
        match self {
            Printer::Operations(format) => format.header(out),
            Printer::Requests(requests) => requests.header(out),
        }
    }

    /// Appends a row as a line.
    pub fn row(&mut self, row: &Row, out: &mut Vec<u8>) {
        match self {
            Printer::Operations(format) => format.row(row, out),
            Printer::Requests(requests) => requests.row(row, out),
        }
    }

    /// Adds the names in rows of `table`, if the lines have any of these.
    pub fn learn(&mut self, table: TableId, rows: &RecordBatch) {
        if let (Printer::Requests(requests), TableId::File) = (self, table) {
            requests.files.learn(rows);
        }
    }

    /// Returns the lines after the last row.
    pub fn summary(&self) -> String {
        match self {
            Printer::Operations(_) => String::new(),
            Printer::Requests(requests) => requests.summary(),
        }
    }
}
