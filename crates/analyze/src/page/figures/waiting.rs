//! Charts of latency: distribution, breakdown by layer, and queue depth.

use anyhow::Result;
use polars::prelude::DataFrame;

use super::{Figure, Words, legend};
use crate::aggregate::sample::PERCENTILES;
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Cell, Line, Marks, colour};
use crate::page::read::Rows;
use crate::tables::Table;

/// Maximum number of distributions.
const MOST_LINES: usize = 6;

/// Latency distribution with its tail.
pub fn tail(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Latency distribution",
        caption: "Cumulative share of operations by latency, for the most frequent operations. Each step up leaves a tenth of the \
                  operations. The curves join percentiles; values between them are unknown.",
        table: Table::Latency,
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

/// Columns of `path.csv`, their labels and color indexes; gray is unknown.
const WAITS: [(&str, &str, usize); 6] = [
    ("no_request_share", "no block request (page cache, CPU)", 4),
    ("rest_share", "rest (file system, CPU)", 2),
    ("runnable_share", "run queue (runnable)", 3),
    ("queue_share", "block queue", 0),
    ("device_share", "device", 1),
    ("unknown_share", "unknown", 6),
];

/// Maximum number of kinds of calls with bars.
const MOST_CALLS: usize = 9;

/// Latency breakdown of calls by layer.
pub fn path(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Latency breakdown by layer",
        caption: "Share of the latency of calls by where it was spent, for the kinds of calls with the most total latency, in \
                  descending order.",
        table: Table::Path,
    };
    let rows = Rows::of(frame).with("scope", "all")?.greatest("total_ns", MOST_CALLS)?;
    if rows.len() == 0 {
        return Ok(words.nothing("No call with a known latency breakdown."));
    }
    let (kinds, ops) = (rows.texts("kind")?, rows.texts("op")?);
    let label = |(kind, op): (&String, &String)| {
        if kind == op { op.clone() } else { format!("{op} ({})", kind.replace('_', " ")) }
    };
    let labels: Vec<String> = kinds.iter().zip(&ops).map(label).collect();
    let mut from = vec![0.0; rows.len()];
    let mut cells = Vec::new();
    let mut entries = Vec::new();
    for (column, word, of) in WAITS {
        let shares = rows.numbers(column)?;
        // A column without measurements has no legend entry.
        if shares.iter().any(Option::is_some) {
            entries.push((of, word));
        }
        for (row, share) in shares.into_iter().map(Option::unwrap_or_default).enumerate() {
            let bottom = (rows.len() - 1 - row) as f64;
            if share > 0.0 {
                let x = (from[row], from[row] + share);
                cells.push(Cell { x, y: (bottom + 0.18, bottom + 0.82), fill: colour(of) });
            }
            from[row] += share;
        }
    }
    let (x, y) = (Axis::linear("Share of total latency", 1.0, Unit::Share), Axis::things("", &labels, true));
    words.drawn((&x, &y), &Marks::Cells(cells, Vec::new()), legend(entries))
}

/// Depth of the last column, which includes greater depths.
const MOST_DEPTHS: usize = 64;

/// Share of time by queue depth.
pub fn depth(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Queue depth",
        caption: "Share of time at each queue depth (requests in flight), over all devices together. The last column includes greater \
                  depths.",
        table: Table::QueueDepth,
    };
    let rows = Rows::of(frame).with("scope", "all")?.with("layer", "block")?;
    let mut shares: Vec<f64> = Vec::new();
    for (depth, share) in rows.sums("in_flight")?.into_iter().zip(rows.sums("time_share")?) {
        let depth = (depth as usize).min(MOST_DEPTHS);
        shares.resize(shares.len().max(depth + 1), 0.0);
        shares[depth] += share;
    }
    if shares.is_empty() {
        return Ok(words.nothing("No request was captured from begin to end."));
    }
    let labels: Vec<String> = (0..shares.len()).map(|depth| depth.to_string()).collect();
    let most = shares.iter().copied().fold(0.0, f64::max);
    let (x, y) = (
        Axis::things("Queue depth (requests in flight)", &labels, false),
        Axis::linear("Share of time", most, Unit::Share),
    );
    let column = |(depth, share): (usize, &f64)| {
        let left = depth as f64;
        Cell { x: (left + 0.1, left + 0.9), y: (0.0, *share), fill: colour(0) }
    };
    words.drawn((&x, &y), &Marks::Cells(shares.iter().enumerate().map(column).collect(), Vec::new()), Vec::new())
}
