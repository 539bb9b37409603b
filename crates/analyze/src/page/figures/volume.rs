//! Charts of volume: amplification, bytes by stage, I/O sizes and the hit-ratio curve.

use anyhow::Result;
use polars::prelude::DataFrame;

use super::{Figure, Words, legend};
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Cell, Line, Marks, colour};
use crate::page::read::Rows;
use crate::tables::Table;

/// Maximum number of systems with bars.
const MOST_SYSTEMS: usize = 6;

/// Creates a horizontal bar at position `index` of `count`, from the top.
fn bar((index, count): (usize, usize), (from, to): (f64, f64), of: usize) -> Cell {
    let bottom = (count - 1 - index) as f64;
    Cell { x: (from, to), y: (bottom + 0.18, bottom + 0.82), fill: colour(of) }
}

/// Amplification: device bytes per application byte.
pub fn amplification(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Amplification",
        caption: "Device bytes divided by application bytes, in total and for the systems with the most application bytes. The thin \
                  line spans the bounds from lost events and unattributed bytes. At 1, devices transferred as many bytes as the \
                  application.",
        table: Table::Amplification,
    };
    let mut bars = Vec::new();
    for (scope, most) in [("total", 1), ("system", MOST_SYSTEMS)] {
        for (direction, of) in [("read", 0), ("write", 1)] {
            let rows = Rows::of(frame).with("scope", scope)?.with("direction", direction)?;
            let rows = rows.greatest("application_bytes", most)?;
            let names = rows.texts("name")?;
            let [ratios, lows, highs] =
                ["amplification", "amplification_low", "amplification_high"].map(|column| rows.numbers(column));
            let values = ratios?.into_iter().zip(lows?).zip(highs?);
            for (name, ((ratio, low), high)) in names.into_iter().zip(values) {
                let name = if scope == "total" { "all" } else { name.as_str() };
                bars.extend(ratio.map(|ratio| (format!("{name} {direction}"), of, ratio, low.zip(high))));
            }
        }
    }
    if bars.is_empty() {
        return Ok(words.nothing("No application bytes with known device bytes."));
    }
    let most =
        bars.iter().map(|(_, _, ratio, ends)| ends.map_or(*ratio, |(_, high)| high).max(*ratio)).fold(1.0, f64::max);
    let labels: Vec<String> = bars.iter().map(|(label, ..)| label.clone()).collect();
    let (x, y) = (Axis::linear("Device bytes ÷ application bytes", most, Unit::Ratio), Axis::things("", &labels, true));
    let count = bars.len();
    let cells =
        bars.iter().enumerate().map(|(index, (_, of, ratio, _))| bar((index, count), (0.0, *ratio), *of)).collect();
    let middle = |index: usize| (count - 1 - index) as f64 + 0.5;
    let bounds = bars.iter().enumerate().filter_map(|(index, (_, _, _, ends))| {
        let (low, high) = ends.filter(|(low, high)| high > low)?;
        Some(Line { colour: 6, points: vec![Some((low, middle(index))), Some((high, middle(index)))] })
    });
    words.drawn((&x, &y), &Marks::Cells(cells, bounds.collect()), legend([(0, "read"), (1, "write")]))
}

/// A segment of a stacked bar: the summed columns and their label.
struct Share {
    columns: &'static [&'static str],
    word: &'static str,
}

/// Stages and their segments, for the bars of one direction.
const STAGES: [(&str, &[Share]); 2] = [
    (
        "application",
        &[
            Share { columns: &["call_bytes", "aio_bytes", "io_uring_bytes"], word: "calls" },
            Share { columns: &["mapping_bytes"], word: "memory mappings" },
        ],
    ),
    (
        "device",
        &[
            Share { columns: &["device_data_bytes"], word: "data" },
            Share { columns: &["device_metadata_bytes"], word: "metadata" },
            Share { columns: &["device_journal_bytes"], word: "journal" },
            Share { columns: &["device_readahead_bytes"], word: "readahead" },
            Share { columns: &["device_swap_bytes"], word: "swap" },
        ],
    ),
];

/// Bytes at the application and at the devices.
pub fn transfer(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Bytes transferred by stage",
        caption: "Bytes transferred by the application, by interface, and by devices, by class.",
        table: Table::Amplification,
    };
    let (mut labels, mut bars, mut most) = (Vec::new(), Vec::new(), 0.0f64);
    for direction in ["read", "write"] {
        let rows = Rows::of(frame).with("scope", "total")?.with("direction", direction)?;
        let mut of = 0;
        for (stage, parts) in STAGES {
            labels.push(format!("{direction}: {stage}"));
            let mut from = 0.0;
            for share in parts {
                let mut bytes = 0.0;
                for column in share.columns {
                    bytes += rows.sums(column)?.iter().sum::<f64>();
                }
                bars.push((labels.len() - 1, (from, from + bytes), of));
                from += bytes;
                of += 1;
            }
            most = most.max(from);
        }
    }
    if most == 0.0 {
        return Ok(words.nothing("No bytes were transferred."));
    }
    let (x, y) = (Axis::linear("Bytes transferred", most, Unit::Bytes), Axis::things("", &labels, true));
    let shown = bars.into_iter().filter(|(_, (from, to), _)| to > from);
    let cells = shown.map(|(index, ends, of)| bar((index, labels.len()), ends, of)).collect();
    let parts = STAGES.iter().flat_map(|(_, parts)| parts.iter().map(|share| share.word)).enumerate();
    words.drawn((&x, &y), &Marks::Cells(cells, Vec::new()), legend(parts))
}

/// Distribution of I/O sizes.
pub fn sizes(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "I/O sizes",
        caption: "Share of the operations of a layer and direction by size class. A class covers the sizes up to its label, a power of \
                  two, and above half of it.",
        table: Table::Sizes,
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

/// Hit ratio of an LRU cache by cache size.
pub fn reuse(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Hit-ratio curve (LRU)",
        caption: "Hit ratio of an LRU cache by its size, over accesses to 4 KiB blocks: accesses of applications, and the accesses that \
                  reach devices.",
        table: Table::Reuse,
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
