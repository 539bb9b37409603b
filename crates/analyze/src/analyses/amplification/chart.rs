//! Charts of bytes: amplification, and bytes by stage.

use anyhow::Result;
use polars::prelude::DataFrame;

use super::table::TABLE;
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Line, Marks};
use crate::page::figures::{Figure, Words, bar, legend};
use crate::page::read::Rows;

/// Maximum number of systems with bars.
const MOST_SYSTEMS: usize = 6;

/// Amplification: device bytes per application byte.
pub fn amplification(frame: &DataFrame) -> Result<Figure> {
    let words = Words {
        title: "Amplification",
        caption: "Device bytes divided by application bytes, in total and for the systems with the most application bytes. The thin \
                  line spans the bounds from lost events and unattributed bytes. At 1, devices transferred as many bytes as the \
                  application.",
        table: &TABLE,
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
        table: &TABLE,
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
