//! Chart of queue depth.

use anyhow::Result;
use polars::prelude::DataFrame;

use super::table::DEPTH;
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Cell, Marks, colour};
use crate::page::figures::{Figure, Words};
use crate::page::read::Rows;

/// Depth of the last column, which includes greater depths.
const MOST_DEPTHS: usize = 64;

/// Share of time by queue depth.
pub fn depth(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Queue depth",
        caption: "Share of time at each queue depth (requests in flight), over all devices together. The last column includes greater \
                  depths.",
        table: &DEPTH,
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
