//! Charts of the page, each from one table.

mod time;
mod volume;
mod waiting;

use anyhow::Result;
use iostrata_capture::op::Layer;
use plotters::style::RGBColor;
use serde::Serialize;

use super::axis::Axis;
use super::chart::{self, Marks, colour};
use crate::format::Format;
use crate::tables::{Results, Table};

/// A chart with title, caption and legend.
#[derive(Debug, Serialize)]
pub struct Figure {
    title: String,
    /// Explanation of the chart.
    caption: String,
    #[serde(skip)]
    table: Table,
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
struct Words<'a> {
    title: &'a str,
    caption: &'a str,
    table: Table,
}

impl Words<'_> {
    fn figure(&self, svg: Option<String>, nothing: Option<String>, legend: Vec<Entry>) -> Figure {
        let (title, caption) = (self.title.to_owned(), self.caption.to_owned());
        Figure { title, caption, table: self.table, file: String::new(), svg, nothing, legend }
    }

    /// Renders the chart.
    fn drawn(&self, axes: (&Axis, &Axis), marks: &Marks, legend: Vec<Entry>) -> Result<Figure> {
        Ok(self.figure(Some(chart::svg(axes, marks)?), None, legend))
    }

    /// Creates a figure without a chart; `why` is the reason.
    fn nothing(&self, why: &str) -> Figure {
        self.figure(None, Some(why.to_owned()), Vec::new())
    }
}

/// Creates a legend from palette indexes and labels.
fn legend<'a>(labels: impl IntoIterator<Item = (usize, &'a str)>) -> Vec<Entry> {
    let entry = |(index, label): (usize, &str)| {
        let RGBColor(red, green, blue) = colour(index);
        Entry { colour: format!("#{red:02x}{green:02x}{blue:02x}"), label: label.to_owned() }
    };
    labels.into_iter().map(entry).collect()
}

/// Returns the top and the bottom layer (system calls, block requests), if captured.
fn layers(results: &Results) -> Vec<Layer> {
    let captured = |layer: &Layer| results.trust.captured[*layer as usize];
    [Layer::Syscall, Layer::Block].into_iter().filter(captured).collect()
}

/// Creates all charts, in page order.
///
/// # Errors
/// Returns an error if a table is missing or a chart cannot be rendered.
pub fn all(tables: &[Table], results: &Results) -> Result<Vec<Figure>> {
    // Each chart builds its frame again: keeping all frames would cost more memory than it saves time.
    let of = |table: Table| {
        // A report has every table.
        let found = tables.iter().find(|other| other.file() == table.file());
        let found = found.ok_or_else(|| anyhow::anyhow!("{} is not in the report", table.file()))?;
        Ok::<_, anyhow::Error>(found.frame(results)?)
    };
    let mut figures = vec![
        volume::amplification(&of(Table::Amplification)?)?,
        volume::transfer(&of(Table::Amplification)?)?,
        volume::sizes(&of(Table::Sizes)?)?,
        waiting::tail(&of(Table::Latency)?)?,
        waiting::path(&of(Table::Path)?)?,
        waiting::depth(&of(Table::QueueDepth)?)?,
    ];
    figures.extend(time::lines(&of(Table::Timeline)?, results)?);
    figures.extend(time::heat(&of(Table::HeatmapLatency)?, results)?);
    figures.push(time::places(&of(Table::HeatmapOffset)?)?);
    figures.push(volume::reuse(&of(Table::Reuse)?)?);
    Ok(figures)
}
