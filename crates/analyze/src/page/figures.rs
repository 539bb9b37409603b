//! Charts of the page, each from one table: what the charts of all analyses share.

use anyhow::Result;
use iostrata_capture::op::Layer;
use plotters::style::RGBColor;
use serde::Serialize;

use super::axis::Axis;
use super::chart::{self, Cell, Marks, colour};
use crate::analyses::{Results, Table};
use crate::format::Format;

/// A chart with title, caption and legend.
#[derive(Debug, Serialize)]
pub struct Figure {
    title: String,
    /// Explanation of the chart.
    caption: String,
    #[serde(skip)]
    table: &'static Table,
    /// File of the source table.
    file: String,
    /// The chart; without data `nothing` has the reason.
    svg: Option<String>,
    nothing: Option<String>,
    legend: Vec<Entry>,
}

impl Figure {
    /// Sets the file name of the source table in `format`.
    pub fn of_file_in(self, format: Format) -> Figure {
        Figure { file: self.table.file_in(format), ..self }
    }
}

/// A legend entry.
#[derive(Debug, Serialize)]
pub struct Entry {
    colour: String,
    label: String,
}

/// Text of a chart.
pub struct Words<'a> {
    /// Title.
    pub title: &'a str,
    /// Explanation of the chart.
    pub caption: &'a str,
    /// Source table.
    pub table: &'static Table,
}

impl Words<'_> {
    fn figure(&self, svg: Option<String>, nothing: Option<String>, legend: Vec<Entry>) -> Figure {
        let (title, caption) = (self.title.to_owned(), self.caption.to_owned());
        Figure { title, caption, table: self.table, file: String::new(), svg, nothing, legend }
    }

    /// Renders the chart.
    pub fn drawn(&self, axes: (&Axis, &Axis), marks: &Marks, legend: Vec<Entry>) -> Result<Figure> {
        Ok(self.figure(Some(chart::svg(axes, marks)?), None, legend))
    }

    /// Creates a figure without a chart; `why` is the reason.
    pub fn nothing(&self, why: &str) -> Figure {
        self.figure(None, Some(why.to_owned()), Vec::new())
    }
}

/// Creates a legend from palette indexes and labels.
pub fn legend<'a>(labels: impl IntoIterator<Item = (usize, &'a str)>) -> Vec<Entry> {
    let entry = |(index, label): (usize, &str)| {
        let RGBColor(red, green, blue) = colour(index);
        Entry { colour: format!("#{red:02x}{green:02x}{blue:02x}"), label: label.to_owned() }
    };
    labels.into_iter().map(entry).collect()
}

/// Returns the top and the bottom layer (system calls, block requests), if captured.
pub fn layers(results: &Results) -> Vec<Layer> {
    let captured = |layer: &Layer| results.trust.captured[*layer as usize];
    [Layer::Syscall, Layer::Block].into_iter().filter(captured).collect()
}

/// Creates a horizontal bar at position `index` of `count`, from the top.
pub fn bar((index, count): (usize, usize), (from, to): (f64, f64), of: usize) -> Cell {
    let bottom = (count - 1 - index) as f64;
    Cell { x: (from, to), y: (bottom + 0.18, bottom + 0.82), fill: colour(of) }
}
