//! How long, and for what: latency, what calls wait for, and how many are under way.

use anyhow::Result;
use polars::prelude::DataFrame;

use super::{Figure, Words, legend};
use crate::aggregate::sample::PERCENTILES;
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Cell, Line, Marks, colour};
use crate::page::read::Rows;
use crate::tables::Table;

/// How many distributions are drawn.
const MOST_LINES: usize = 6;

/// Latency up to its tail.
pub fn tail(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Latency",
        caption: "How large a share of operations took no longer: each step up leaves a tenth of the operations. Of the operations that \
                  were most; from percentiles, so what is between two points is not known.",
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
        return Ok(words.nothing("There are too few operations for a percentile."));
    }
    let (x, y) = (Axis::log("latency", (least, most), Unit::Duration), Axis::tail("operations", nines));
    let names = systems.iter().zip(layers).zip(ops).map(|((system, layer), op)| format!("{system} {layer} {op}"));
    let names: Vec<String> = names.collect();
    words.drawn((&x, &y), &Marks::Lines(lines), legend(names.iter().map(String::as_str).enumerate()))
}

/// Columns of `path.csv`, what they are, and their colours: grey is what is not known.
const WAITS: [(&str, &str, usize); 6] = [
    ("no_request_share", "no request (page cache, CPU)", 4),
    ("rest_share", "rest (file system, CPU)", 2),
    ("runnable_share", "runnable (waiting for a CPU)", 3),
    ("queue_share", "queue", 0),
    ("device_share", "device", 1),
    ("unknown_share", "not known", 6),
];

/// How many kinds of calls have bars.
const MOST_CALLS: usize = 9;

/// What the time of calls went to.
pub fn path(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "What calls wait for",
        caption: "Where the time of calls went, of the kinds of calls that took most of it, the most first.",
        table: Table::Path,
    };
    let rows = Rows::of(frame).with("scope", "all")?.greatest("total_ns", MOST_CALLS)?;
    if rows.len() == 0 {
        return Ok(words.nothing("No call was captured whose time could be told apart."));
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
        // Not of what was not measured.
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
    let (x, y) = (Axis::linear("share of their time", 1.0, Unit::Share), Axis::things("", &labels, true));
    words.drawn((&x, &y), &Marks::Cells(cells, Vec::new()), legend(entries))
}

/// How many columns of depths there are; what is deeper is in the last one.
const MOST_DEPTHS: usize = 64;

/// For how much of the time how many requests were under way.
pub fn depth(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Queue depth",
        caption: "For which share of the time so many requests were under way at devices, of all devices together. What is deeper than the \
                  last column is in it.",
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
        return Ok(words.nothing("No request was captured from its begin to its end."));
    }
    let labels: Vec<String> = (0..shares.len()).map(|depth| depth.to_string()).collect();
    let most = shares.iter().copied().fold(0.0, f64::max);
    let (x, y) = (Axis::things("requests under way", &labels, false), Axis::linear("time", most, Unit::Share));
    let column = |(depth, share): (usize, &f64)| {
        let left = depth as f64;
        Cell { x: (left + 0.1, left + 0.9), y: (0.0, *share), fill: colour(0) }
    };
    words.drawn((&x, &y), &Marks::Cells(shares.iter().enumerate().map(column).collect(), Vec::new()), Vec::new())
}
