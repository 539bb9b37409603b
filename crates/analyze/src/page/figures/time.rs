//! Charts over time: rates, latency and queue depth, and heat maps of latency and device offset.

use std::collections::BTreeMap;

use anyhow::Result;
use iostrata_capture::op::Layer;
use plotters::style::RGBColor;
use polars::prelude::{DataFrame, PolarsResult};

use super::{Figure, Words, layers, legend};
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Cell, Line, Marks};
use crate::page::read::Rows;
use crate::tables::{Results, Table};

/// Maximum number of points of a line: twice as many as a screen shows.
const MOST_POINTS: usize = 600;

/// Aggregation of several windows into one point.
#[derive(Clone, Copy)]
enum Together {
    /// Average divided by this number of seconds.
    Rate(f64),
    /// Maximum.
    Greatest,
}

/// A chart over time, with one column for each layer and direction.
struct Over {
    title: &'static str,
    caption: &'static str,
    axis: &'static str,
    column: &'static str,
    /// Whether reads and writes have a line each.
    directions: bool,
    unit: Unit,
    together: Together,
}

const NS_PER_S: f64 = 1e9;

/// Charts of the timeline.
pub fn lines(frame: &DataFrame, results: &Results) -> Result<Vec<Figure>> {
    let window_ns = results.finished.window_ns as f64;
    let rate = Together::Rate(window_ns / NS_PER_S);
    let charts = [
        Over {
            title: "IOPS over time",
            caption: "Operations per second, by begin.",
            axis: "IOPS",
            column: "ops",
            directions: true,
            unit: Unit::Count,
            together: rate,
        },
        Over {
            title: "Throughput over time",
            caption: "Bytes per second, by begin of the operations.",
            axis: "Throughput (bytes/s)",
            column: "bytes",
            directions: true,
            unit: Unit::Bytes,
            together: rate,
        },
        Over {
            title: "Latency over time",
            caption: "p99 latency of each window; the maximum where a point covers several windows. A gap where fewer than 100 \
                      operations began.",
            axis: "p99 latency",
            column: "p99_ns",
            directions: true,
            unit: Unit::Duration,
            together: Together::Greatest,
        },
        Over {
            title: "Queue depth over time",
            caption: "Average number of operations in flight.",
            axis: "Queue depth (in flight)",
            column: "in_flight",
            directions: false,
            unit: Unit::Ratio,
            together: Together::Rate(1.0),
        },
    ];
    charts.iter().map(|over| over.figure(frame, results, window_ns)).collect()
}

impl Over {
    fn figure(&self, frame: &DataFrame, results: &Results, window_ns: f64) -> Result<Figure> {
        let words = Words { title: self.title, caption: self.caption, table: Table::Timeline };
        let rows = Rows::of(frame);
        let since = rows.sums("since_ns")?;
        let first = since.first().copied().unwrap_or(0.0);
        let together = since.len().div_ceil(MOST_POINTS).max(1);
        let times: Vec<f64> = since.chunks(together).map(|group| group[0] - first).collect();
        let (mut lines, mut labels, mut most) = (Vec::new(), Vec::new(), 0.0f64);
        for layer in layers(results) {
            let ways: &[&str] = if self.directions { &["_read", "_write"] } else { &[""] };
            for (number, way) in ways.iter().enumerate() {
                let values = self.joined(&rows.numbers(&format!("{layer}{way}_{}", self.column))?, together);
                most = values.iter().flatten().copied().fold(most, f64::max);
                let colour = if layer == Layer::Block { 2 } else { 0 } + number;
                labels.push((colour, format!("{layer}{}", way.replace('_', " "))));
                let points = times.iter().zip(values).map(|(time, value)| Some((*time, value?))).collect();
                lines.push(Line { colour, points });
            }
        }
        if most == 0.0 {
            return Ok(words.nothing("No data for this chart."));
        }
        let end = since.last().copied().unwrap_or(0.0) - first + window_ns;
        let (x, y) = (Axis::linear("Time since start", end, Unit::Duration), Axis::linear(self.axis, most, self.unit));
        words.drawn(
            (&x, &y),
            &Marks::Lines(lines),
            legend(labels.iter().map(|(colour, label)| (*colour, label.as_str()))),
        )
    }

    /// Aggregates each `together` consecutive windows into one value.
    fn joined(&self, values: &[Option<f64>], together: usize) -> Vec<Option<f64>> {
        let join = |group: &[Option<f64>]| {
            let known = || group.iter().flatten().copied();
            let count = known().count();
            match self.together {
                _ if count == 0 => None,
                Together::Rate(seconds) => Some(known().sum::<f64>() / count as f64 / seconds),
                Together::Greatest => known().reduce(f64::max),
            }
        };
        values.chunks(together).map(join).collect()
    }
}

/// Maximum number of cells of a heat map, horizontally and vertically.
const MOST_CELLS: (f64, f64) = (120.0, 40.0);

/// Number of operations by cell of a heat map.
type Heat = BTreeMap<(u64, u64), f64>;

/// Returns the color of a number of operations: darker is more, on a logarithmic scale.
fn shade(ops: f64, most: f64) -> RGBColor {
    const FEW: [f64; 3] = [222.0, 235.0, 247.0];
    const MANY: [f64; 3] = [8.0, 48.0, 107.0];
    let share = if most > 1.0 { ops.ln() / most.ln() } else { 1.0 };
    let [red, green, blue] =
        std::array::from_fn(|part| (FEW[part] + (MANY[part] - FEW[part]) * share.clamp(0.0, 1.0)) as u8);
    RGBColor(red, green, blue)
}

fn most(heat: &Heat) -> f64 {
    heat.values().copied().fold(0.0, f64::max)
}

/// Time windows, merged until they fit the heat map.
struct Windows {
    first: f64,
    /// Width of one cell.
    width: f64,
    /// Time from the begin of the first to the end of the last window.
    span: f64,
}

impl Windows {
    fn of(rows: &Rows) -> PolarsResult<Windows> {
        let since = rows.sums("since_ns")?;
        let window = rows.sums("window_ns")?.first().copied().unwrap_or(1.0).max(1.0);
        let first = since.iter().copied().fold(f64::MAX, f64::min);
        let span = since.iter().copied().fold(f64::MIN, f64::max) - first + window;
        Ok(Windows { first, width: window * (span / window / MOST_CELLS.0).ceil().max(1.0), span })
    }

    fn number(&self, since: f64) -> u64 {
        ((since - self.first) / self.width) as u64
    }

    fn ends(&self, number: u64) -> (f64, f64) {
        (number as f64 * self.width, (number + 1) as f64 * self.width)
    }

    fn axis(&self) -> Axis {
        Axis::linear("Time since first window", self.span, Unit::Duration)
    }
}

/// Number of latency classes of a heat map in each power of two.
const PARTS_OF_A_DOUBLING: f64 = 2.0;

/// Latency heat maps of the top and the bottom layer.
pub fn heat(frame: &DataFrame, results: &Results) -> Result<Vec<Figure>> {
    layers(results).into_iter().map(|layer| heat_of(frame, layer)).collect()
}

fn heat_of(frame: &DataFrame, layer: Layer) -> Result<Figure> {
    let title = format!("Latency heat map, {layer}");
    let words = Words {
        title: &title,
        caption: "Number of operations by begin and latency: darker is more, on a logarithmic scale.",
        table: Table::HeatmapLatency,
    };
    let rows = Rows::of(frame).with("layer", layer.name())?;
    if rows.len() == 0 {
        return Ok(words.nothing("No operation of this layer has a known latency."));
    }
    let windows = Windows::of(&rows)?;
    let mut heat = Heat::new();
    for ((since, from), ops) in rows.sums("since_ns")?.into_iter().zip(rows.sums("from_ns")?).zip(rows.sums("ops")?) {
        let class = (from.max(1.0).log2() * PARTS_OF_A_DOUBLING + 1e-9) as u64;
        *heat.entry((windows.number(since), class)).or_default() += ops;
    }
    let duration = |class: u64| (class as f64 / PARTS_OF_A_DOUBLING).exp2();
    let classes = || heat.keys().map(|(_, class)| *class);
    let ends = (duration(classes().min().unwrap_or(0)), duration(classes().max().unwrap_or(0) + 1));
    let (x, y) = (windows.axis(), Axis::log("Latency", ends, Unit::Duration));
    let most = most(&heat);
    let cell = |(&(window, class), ops): (&(u64, u64), &f64)| {
        let y = (duration(class), duration(class + 1));
        Cell { x: windows.ends(window), y, fill: shade(*ops, most) }
    };
    words.drawn((&x, &y), &Marks::Cells(heat.iter().map(cell).collect(), Vec::new()), Vec::new())
}

/// Device offset of requests over time, for the disk with the most requests.
pub fn places(frame: &DataFrame) -> Result<Figure> {
    let all = Rows::of(frame);
    let (names, ops) = (all.texts("name")?, all.sums("ops")?);
    let mut by_name: BTreeMap<&str, f64> = BTreeMap::new();
    names.iter().zip(&ops).for_each(|(name, ops)| *by_name.entry(name).or_default() += ops);
    let busiest = by_name.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, _)| name.to_owned());
    let name = busiest.unwrap_or_default();
    let title =
        if name.is_empty() { "Device offset over time".to_owned() } else { format!("Device offset over time, {name}") };
    let words = Words {
        title: &title,
        caption: "Number of requests by begin and offset, on the disk with the most requests: darker is more, on a logarithmic scale.",
        table: Table::HeatmapOffset,
    };
    let rows = all.with("name", &name)?;
    if rows.len() == 0 {
        return Ok(words.nothing("No request has a known offset."));
    }
    let windows = Windows::of(&rows)?;
    let (from, stretch) = (rows.sums("from_bytes")?, rows.sums("stretch_bytes")?);
    let ends = from.iter().zip(&stretch).map(|(from, stretch)| from + stretch);
    let end = ends.fold(0.0, f64::max);
    let high = stretch.iter().copied().fold(1.0, f64::max);
    let high = high * (end / high / MOST_CELLS.1).ceil().max(1.0);
    let mut heat = Heat::new();
    for ((since, from), ops) in rows.sums("since_ns")?.into_iter().zip(from).zip(rows.sums("ops")?) {
        *heat.entry((windows.number(since), (from / high) as u64)).or_default() += ops;
    }
    let (x, y) = (windows.axis(), Axis::linear("Device offset", end, Unit::Bytes));
    let most = most(&heat);
    let cell = |(&(window, place), ops): (&(u64, u64), &f64)| {
        let y = (place as f64 * high, (place + 1) as f64 * high);
        Cell { x: windows.ends(window), y, fill: shade(*ops, most) }
    };
    words.drawn((&x, &y), &Marks::Cells(heat.iter().map(cell).collect(), Vec::new()), Vec::new())
}
