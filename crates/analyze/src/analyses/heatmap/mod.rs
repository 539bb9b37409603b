//! Operations by time and latency, and requests by time and device offset.

mod chart;
mod table;
mod terminal;

use super::Analysis;
use table::{LATENCY, OFFSET};

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "heatmap",
    about: "Draw latency over time; with --out also write heatmap_latency.csv, and heatmap_offset.csv of the device offsets of requests over time",
    tables: &[&LATENCY, &OFFSET],
    has_entities: false,
    request: |_, settings| settings.heatmap = true,
    show: |results| Ok(terminal::table(&results.finished.heatmap, results.captures, &results.trust)),
    charts: |results| {
        let mut charts = chart::heat(&LATENCY.frame(results)?, results)?;
        charts.push(chart::places(&OFFSET.frame(results)?)?);
        Ok(charts)
    },
    ..Analysis::BASE
};
