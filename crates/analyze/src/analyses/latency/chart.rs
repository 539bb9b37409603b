//! Chart of latency percentiles.

use anyhow::Result;
use polars::prelude::DataFrame;

use super::table::TABLE;
use crate::aggregate::sample::PERCENTILES;
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Line, Marks};
use crate::page::figures::{Figure, Words, legend};
use crate::page::read::Rows;

/// Maximum number of distributions.
const MOST_LINES: usize = 6;

/// Latency distribution with its tail.
pub fn tail(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Latency distribution",
        caption: "Cumulative share of operations by latency, for the most frequent operations. Each step up leaves a tenth of the \
                  operations. The curves join percentiles; values between them are unknown.",
        table: &TABLE,
    };
    let rows = Rows::of(frame).with("phase", "total")?.greatest("count", MOST_LINES)?;
    let (systems, layers, ops) = (rows.texts("system")?, rows.texts("layer")?, rows.texts("op")?);
    let mut lines: Vec<Line> = (0..rows.len()).map(|colour| Line { colour, points: Vec::new() }).collect();
    let (mut least, mut most, mut nines) = (f64::MAX, 0.0f64, 1u8);
    for percentile in &PERCENTILES {
        for (line, ns) in lines.iter_mut().zip(rows.numbers(percentile.column)?) {
            let Some(ns) = ns else { continue };
            let share = percentile.of_10_000 as f64 / 10_000.0;
            (least, most) = (least.min(ns), most.max(ns));
            nines = nines.max((-(1.0 - share).log10()).round() as u8);
            line.points.push(Some((ns, share)));
        }
    }
    if most == 0.0 {
        return Ok(words.nothing("Too few operations for a percentile."));
    }
    let (x, y) = (Axis::log("Latency", (least, most), Unit::Duration), Axis::tail("Cumulative share", nines));
    let names = systems.iter().zip(layers).zip(ops).map(|((system, layer), op)| format!("{system} {layer} {op}"));
    let names: Vec<String> = names.collect();
    words.drawn((&x, &y), &Marks::Lines(lines), legend(names.iter().map(String::as_str).enumerate()))
}
