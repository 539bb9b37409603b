//! When: rates, latency and depth over time, and where operations are in time, duration and place.

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

/// How many points a line has at most: twice as many as a screen shows.
const MOST_POINTS: usize = 600;

/// A line of several windows each.
#[derive(Clone, Copy)]
enum Together {
    /// What they have on average, by so many seconds.
    Rate(f64),
    /// The greatest.
    Greatest,
}

/// A chart over time: a column of each layer and direction.
struct Over {
    title: &'static str,
    caption: &'static str,
    axis: &'static str,
    column: &'static str,
    /// Whether reads and writes are told apart.
    directions: bool,
    unit: Unit,
    together: Together,
}

const NS_PER_S: f64 = 1e9;

/// The charts of the timeline.
pub fn lines(frame: &DataFrame, results: &Results) -> Result<Vec<Figure>> {
    let window_ns = results.finished.window_ns as f64;
    let rate = Together::Rate(window_ns / NS_PER_S);
    let charts = [
        Over {
            title: "Operations over time",
            caption: "Operations that began in a second.",
            axis: "operations/s",
            column: "ops",
            directions: true,
            unit: Unit::Count,
            together: rate,
        },
        Over {
            title: "Throughput over time",
            caption: "Bytes of the operations that began in a second.",
            axis: "bytes/s",
            column: "bytes",
            directions: true,
            unit: Unit::Bytes,
            together: rate,
        },
        Over {
            title: "Latency over time",
            caption: "The 99th percentile of each window; of windows that are drawn together the greatest. A gap where fewer than 100 \
                      operations began.",
            axis: "p99",
            column: "p99_ns",
            directions: true,
            unit: Unit::Duration,
            together: Together::Greatest,
        },
        Over {
            title: "Depth over time",
            caption: "How many operations were under way on average.",
            axis: "under way",
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
            return Ok(words.nothing("Nothing of this is known of any window."));
        }
        let end = since.last().copied().unwrap_or(0.0) - first + window_ns;
        let (x, y) = (Axis::linear("since the start", end, Unit::Duration), Axis::linear(self.axis, most, self.unit));
        words.drawn(
            (&x, &y),
            &Marks::Lines(lines),
            legend(labels.iter().map(|(colour, label)| (*colour, label.as_str()))),
        )
    }

    /// The values of so many windows each, joined.
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

/// How many cells a heat map has at most in each direction.
const MOST_CELLS: (f64, f64) = (120.0, 40.0);

/// Operations by their place in a heat map.
type Heat = BTreeMap<(u64, u64), f64>;

/// From few operations to many: the more, the darker, by the logarithm.
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

/// Windows of time, some of them together so that there are no more than fit.
struct Windows {
    first: f64,
    /// Of one cell.
    width: f64,
    /// From the first to the end of the last.
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
        Axis::linear("since the first of them", self.span, Unit::Duration)
    }
}

/// How many parts a heat map cuts each doubling of durations into.
const PARTS_OF_A_DOUBLING: f64 = 2.0;

/// Latency over time, of the layers that wait.
pub fn heat(frame: &DataFrame, results: &Results) -> Result<Vec<Figure>> {
    layers(results).into_iter().map(|layer| heat_of(frame, layer)).collect()
}

fn heat_of(frame: &DataFrame, layer: Layer) -> Result<Figure> {
    let title = format!("Latency of {layer} operations");
    let words = Words {
        title: &title,
        caption: "How many operations that began then took so long: the darker, the more, by the logarithm.",
        table: Table::HeatmapLatency,
    };
    let rows = Rows::of(frame).with("layer", layer.name())?;
    if rows.len() == 0 {
        return Ok(words.nothing("No operation of this layer has a duration that is known."));
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
    let (x, y) = (windows.axis(), Axis::log("took", ends, Unit::Duration));
    let most = most(&heat);
    let cell = |(&(window, class), ops): (&(u64, u64), &f64)| {
        let y = (duration(class), duration(class + 1));
        Cell { x: windows.ends(window), y, fill: shade(*ops, most) }
    };
    words.drawn((&x, &y), &Marks::Cells(heat.iter().map(cell).collect(), Vec::new()), Vec::new())
}

/// Where on the disk with most operations requests were, over time.
pub fn places(frame: &DataFrame) -> Result<Figure> {
    let all = Rows::of(frame);
    let (names, ops) = (all.texts("name")?, all.sums("ops")?);
    let mut by_name: BTreeMap<&str, f64> = BTreeMap::new();
    names.iter().zip(&ops).for_each(|(name, ops)| *by_name.entry(name).or_default() += ops);
    let busiest = by_name.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, _)| name.to_owned());
    let name = busiest.unwrap_or_default();
    let title = if name.is_empty() { "Places on disks".to_owned() } else { format!("Places on {name}") };
    let words = Words {
        title: &title,
        caption: "How many requests that were made then were for that place of the disk with most of them: the darker, the more, by the \
                  logarithm.",
        table: Table::HeatmapOffset,
    };
    let rows = all.with("name", &name)?;
    if rows.len() == 0 {
        return Ok(words.nothing("No request has a place that is known."));
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
    let (x, y) = (windows.axis(), Axis::linear("at", end, Unit::Bytes));
    let most = most(&heat);
    let cell = |(&(window, place), ops): (&(u64, u64), &f64)| {
        let y = (place as f64 * high, (place + 1) as f64 * high);
        Cell { x: windows.ends(window), y, fill: shade(*ops, most) }
    };
    words.drawn((&x, &y), &Marks::Cells(heat.iter().map(cell).collect(), Vec::new()), Vec::new())
}
