//! Operations by time and latency, and requests by time and device offset.

pub mod aggregate;
mod chart;
mod table;
mod terminal;

use super::Analysis;
use crate::aggregate::any_order;
use aggregate::Heatmap;
use table::{LATENCY, OFFSET};

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "heatmap",
    about: "Draw latency over time; with --out also write heatmap_latency.csv, and heatmap_offset.csv of the device offsets of requests over time",
    tables: &[&LATENCY, &OFFSET],
    has_entities: false,
    aggregates: &[any_order::Registered::of::<Heatmap>()],
    request: |_, settings| settings.any_order.request::<Heatmap>(()),
    show: |results| Ok(terminal::table(results.finished.of::<Heatmap>()?, results.captures, &results.trust)),
    charts: |results| {
        let mut charts = chart::heat(&LATENCY.frame(results)?, results)?;
        charts.push(chart::places(&OFFSET.frame(results)?)?);
        Ok(charts)
    },
    ..Analysis::BASE
};
