//! Chart of reuse: hit ratio by cache size.

use anyhow::Result;
use polars::prelude::DataFrame;

use super::reuse;
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Line, Marks};
use crate::page::figures::{Figure, Words, legend};
use crate::page::read::Rows;

/// Hit ratio of an LRU cache by cache size.
pub fn reuse(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Hit-ratio curve (LRU)",
        caption: "Hit ratio of an LRU cache by its size, over accesses to 4 KiB blocks: accesses of applications, and the accesses that \
                  reach devices.",
        table: &reuse::TABLE,
    };
    let mut lines = Vec::new();
    let (mut least, mut most) = (f64::MAX, 0.0f64);
    let mut labels = Vec::new();
    for (of, (layer, label)) in [("syscall", "applications"), ("block", "devices")].into_iter().enumerate() {
        let rows = Rows::of(frame).with("scope", "all")?.with("layer", layer)?;
        let (sizes, shares) = (rows.sums("cache_bytes")?, rows.numbers("hit_share")?);
        least = sizes.iter().copied().fold(least, f64::min);
        most = sizes.iter().copied().fold(most, f64::max);
        let points: Vec<_> = sizes.into_iter().zip(shares).map(|(size, share)| Some((size, share?))).collect();
        if !points.is_empty() {
            labels.push((of, label));
            lines.push(Line { colour: of, points });
        }
    }
    if lines.is_empty() {
        return Ok(words.nothing("No block access with a known offset."));
    }
    let (x, y) =
        (Axis::powers_of_two("Cache size", (least, most), Unit::Bytes), Axis::linear("Hit ratio", 1.0, Unit::Share));
    words.drawn((&x, &y), &Marks::Lines(lines), legend(labels))
}
