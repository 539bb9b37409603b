//! Heat maps of latency and of device offsets over time.

use std::collections::BTreeMap;

use anyhow::Result;
use iostrata_capture::op::Layer;
use plotters::style::RGBColor;
use polars::prelude::{DataFrame, PolarsResult};

use super::table::{LATENCY, OFFSET};
use crate::analyses::Results;
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Cell, Marks};
use crate::page::figures::{Figure, Words, layers};
use crate::page::read::Rows;

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
        table: &LATENCY,
    };
    let rows = Rows::of(frame).with("layer", layer.name())?;
    if rows.is_empty() {
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
        table: &OFFSET,
    };
    let rows = all.with("name", &name)?;
    if rows.is_empty() {
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
