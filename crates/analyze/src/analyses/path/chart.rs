//! Chart of the latency breakdown of calls.

use anyhow::Result;
use polars::prelude::DataFrame;

use super::table::TABLE;
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Cell, Marks, colour};
use crate::page::figures::{Figure, Words, legend};
use crate::page::read::Rows;

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
        table: &TABLE,
    };
    let rows = Rows::of(frame).with("scope", "all")?.greatest("total_ns", MOST_CALLS)?;
    if rows.is_empty() {
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
