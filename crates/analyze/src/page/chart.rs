//! Charts as self-contained SVG.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;

use super::axis::Axis;

/// Chart size in pixels. The width keeps text readable on a phone.
const SIZE: (u32, u32) = (480, 290);

/// Color-blind-safe palette (Okabe and Ito).
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
];

/// Font size. The rendered text is a fifth smaller.
const LETTERS: i32 = 16;

const INK: RGBColor = RGBColor(60, 60, 60);
const LINES: RGBColor = RGBColor(225, 225, 225);

/// Returns color `index` of the palette, modulo its length.
pub fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

/// A polyline with gaps where values are missing.
pub struct Line {
    /// Index of its color.
    pub colour: usize,
    /// Values on both axes; `None` is a gap.
    pub points: Vec<Option<(f64, f64)>>,
}

/// A filled rectangle in axis values.
pub struct Cell {
    /// Minimum and maximum.
    pub x: (f64, f64),
    /// Minimum and maximum.
    pub y: (f64, f64),
    /// Fill color.
    pub fill: RGBColor,
}

/// Content of a chart.
pub enum Marks {
    /// Polylines.
    Lines(Vec<Line>),
    /// Rectangles, with lines on top.
    Cells(Vec<Cell>, Vec<Line>),
}

type Plane = Cartesian2d<Places, Places>;

/// Axis positions, with grid lines and labels at its ticks only.
struct Places {
    ends: (f64, f64),
    ticks: Vec<f64>,
}

impl Places {
    fn of(axis: &Axis) -> Places {
        Places { ends: axis.ends, ticks: axis.ticks.iter().map(|(place, _)| *place).collect() }
    }
}

impl Ranged for Places {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        let share = (place - self.ends.0) / (self.ends.1 - self.ends.0);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.ends.0..self.ends.1
    }
}

/// Renders a chart as SVG. Marks are in axis values.
///
/// # Errors
/// Returns an error if plotters fails.
pub fn svg((x, y): (&Axis, &Axis), marks: &Marks) -> Result<String> {
    let mut text = String::new();
    draw((x, y), marks, SVGBackend::with_string(&mut text, SIZE).into_drawing_area())
        .map_err(|error| anyhow!("cannot render the chart of {} and {}: {error}", x.name, y.name))?;
    Ok(text)
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn draw((x, y): (&Axis, &Axis), marks: &Marks, area: DrawingArea<SVGBackend, Shift>) -> Drawn {
    let letters = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let longest = y.ticks.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0);
    let mut chart = ChartBuilder::on(&area)
        .margin_top(8)
        .margin_right(22)
        .margin_bottom(4)
        .margin_left(if y.name.is_empty() { 4 } else { 18 })
        .x_label_area_size(if x.name.is_empty() { 26 } else { 46 })
        .y_label_area_size(14 + 8 * u32::try_from(longest).unwrap_or(0))
        .build_cartesian_2d(Places::of(x), Places::of(y))?;
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(LINES)
        .light_line_style(TRANSPARENT)
        .label_style(letters(LETTERS))
        .x_label_formatter(&|place| x.label(*place))
        .y_label_formatter(&|place| y.label(*place))
        .x_desc(&x.name)
        .axis_desc_style(letters(LETTERS))
        .draw()?;
    if !y.name.is_empty() {
        // Left of the tick labels: plotters would draw its own description over them.
        let style = letters(LETTERS).transform(FontTransform::Rotate270);
        let middle = i32::try_from(SIZE.1 / 2).unwrap_or(0) + 4 * i32::try_from(y.name.chars().count()).unwrap_or(0);
        area.draw_text(&y.name, &style, (2, middle))?;
    }
    let (cells, lines): (&[Cell], &[Line]) = match marks {
        Marks::Lines(lines) => (&[], lines),
        Marks::Cells(cells, lines) => (cells, lines),
    };
    let corner = |at: (f64, f64)| (x.place(at.0), y.place(at.1));
    let rectangle =
        |cell: &Cell| Rectangle::new([corner((cell.x.0, cell.y.0)), corner((cell.x.1, cell.y.1))], cell.fill.filled());
    chart.draw_series(cells.iter().map(rectangle))?;
    lines.iter().try_for_each(|line| draw_line(&mut chart, line, &corner))?;
    area.present()?;
    Ok(())
}

fn draw_line(
    chart: &mut ChartContext<SVGBackend, Plane>,
    line: &Line,
    corner: &dyn Fn((f64, f64)) -> (f64, f64),
) -> Drawn {
    let style = colour(line.colour);
    for piece in line.points.split(Option::is_none) {
        let points: Vec<(f64, f64)> = piece.iter().flatten().map(|point| corner(*point)).collect();
        match points.as_slice() {
            [] => {}
            // A polyline of one point is invisible.
            [alone] => drop(chart.draw_series([Circle::new(*alone, 2, style.filled())])?),
            _ => drop(chart.draw_series(LineSeries::new(points, style.stroke_width(2)))?),
        }
    }
    Ok(())
}
