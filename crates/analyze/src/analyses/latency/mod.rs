//! Latency averages, percentiles and maximums.

mod chart;
mod table;
mod terminal;

use super::Analysis;
use crate::frame;
use crate::page::listing::Listing;
use crate::terminal::busiest;
pub use table::{TABLE, columns, note, of_systems, rows};

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "latency",
    about: "Print latency averages, percentiles and maximums; with --out also write latency.csv",
    tables: &[&TABLE],
    has_entities: false,
    is_compared: true,
    show: |results| {
        Ok(busiest(results, |places| {
            let rows: Vec<_> = of_systems(&results.finished, &results.trust, places).collect();
            terminal::table(&frame::frame(&columns(), &rows)?)
        })?)
    },
    charts: |results| Ok(vec![chart::tail(&TABLE.frame(results)?)?]),
    listings: &[Listing {
        title: "Latency",
        table: &TABLE,
        only: Some(("phase", "total")),
        by: Some("count"),
        most: 20,
        columns: &[
            ("system", "system"),
            ("layer", "layer"),
            ("operation", "op"),
            ("count", "count"),
            ("avg", "avg_ns"),
            ("p50", "p50_ns"),
            ("p99", "p99_ns"),
            ("p99.9", "p999_ns"),
            ("max", "max_ns"),
            ("marks", "marks"),
        ],
        texts: 3,
    }],
    ..Analysis::BASE
};
