//! Chart of operation sizes.

use anyhow::Result;
use polars::prelude::DataFrame;

use super::table::TABLE;
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Cell, Marks, colour};
use crate::page::figures::{Figure, Words, legend};
use crate::page::read::Rows;

/// Distribution of I/O sizes.
pub fn sizes(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "I/O sizes",
        caption: "Share of the operations of a layer and direction by size class. A class covers the sizes up to its label, a power of \
                  two, and above half of it.",
        table: &TABLE,
    };
    let ways = [("syscall", "read"), ("syscall", "write"), ("block", "read"), ("block", "write")];
    let mut classes: Vec<f64> = Vec::new();
    let mut series = Vec::new();
    for (of, (layer, direction)) in ways.into_iter().enumerate() {
        let rows = Rows::of(frame).with("layer", layer)?.with("direction", direction)?;
        let classed: Vec<(f64, f64)> = rows.sums("to_bytes")?.into_iter().zip(rows.sums("ops_share")?).collect();
        classes.extend(classed.iter().map(|(to, _)| *to));
        series.extend((!classed.is_empty()).then_some((of, format!("{layer} {direction}"), classed)));
    }
    classes.sort_by(f64::total_cmp);
    classes.dedup();
    if series.is_empty() {
        return Ok(words.nothing("No operation transferred bytes."));
    }
    let labels: Vec<String> = classes.iter().map(|to| Unit::Bytes.write(*to)).collect();
    let most = series.iter().flat_map(|(_, _, classed)| classed).map(|(_, share)| *share).fold(0.0, f64::max);
    let (x, y) = (Axis::things("I/O size (≤)", &labels, false), Axis::linear("Share of operations", most, Unit::Share));
    let width = 0.8 / series.len() as f64;
    let mut cells = Vec::new();
    for (number, (of, _, classed)) in series.iter().enumerate() {
        for (to, share) in classed {
            let class = classes.iter().position(|class| class == to).unwrap_or(0);
            let left = class as f64 + 0.1 + width * number as f64;
            cells.push(Cell { x: (left, left + width), y: (0.0, *share), fill: colour(*of) });
        }
    }
    words.drawn(
        (&x, &y),
        &Marks::Cells(cells, Vec::new()),
        legend(series.iter().map(|(of, label, _)| (*of, label.as_str()))),
    )
}
