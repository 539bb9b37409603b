//! The charts of a page, each from one table.

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

/// A chart, and what to know of it.
#[derive(Debug, Serialize)]
pub struct Figure {
    title: String,
    /// What is shown, in a sentence.
    caption: String,
    #[serde(skip)]
    table: Table,
    /// The file of the table that it is of.
    file: String,
    /// The chart, or why there is none.
    svg: Option<String>,
    nothing: Option<String>,
    legend: Vec<Entry>,
}

impl Figure {
    /// With the name of its table's file in that format.
    pub fn of_file_in(self, format: Format) -> Figure {
        Figure { file: self.table.file_in(format), ..self }
    }
}

/// What a colour stands for.
#[derive(Debug, Serialize)]
pub struct Entry {
    colour: String,
    label: String,
}

/// What is said of a chart beside what is drawn.
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

    /// With a chart.
    fn drawn(&self, axes: (&Axis, &Axis), marks: &Marks, legend: Vec<Entry>) -> Result<Figure> {
        Ok(self.figure(Some(chart::svg(axes, marks)?), None, legend))
    }

    /// Without, because there is nothing to draw.
    fn nothing(&self, why: &str) -> Figure {
        self.figure(None, Some(why.to_owned()), Vec::new())
    }
}

/// Legend of colours by their numbers.
fn legend<'a>(labels: impl IntoIterator<Item = (usize, &'a str)>) -> Vec<Entry> {
    let entry = |(index, label): (usize, &str)| {
        let RGBColor(red, green, blue) = colour(index);
        Entry { colour: format!("#{red:02x}{green:02x}{blue:02x}"), label: label.to_owned() }
    };
    labels.into_iter().map(entry).collect()
}

/// The lowest of the layers whose operations wait for something, and the application's: those of them that were captured.
fn layers(results: &Results) -> Vec<Layer> {
    let captured = |layer: &Layer| results.trust.captured[*layer as usize];
    [Layer::Syscall, Layer::Block].into_iter().filter(captured).collect()
}

/// All of them, in the order of a page.
///
/// # Errors
/// Where one cannot be drawn.
pub fn all(tables: &[Table], results: &Results) -> Result<Vec<Figure>> {
    // Each is made anew for its chart: to keep them would take more memory than time.
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
