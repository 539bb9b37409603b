//! Summary of a run: rates, latency, amplification, queue depth, utilization and page-cache hits.

mod table;
mod terminal;

use super::Analysis;
use super::queue::aggregate::Queue;
use super::sizes::aggregate::Sizes;
use table::TABLE;

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "stat",
    about: "Print a summary: rates, latency, amplification, queue depth, utilization and page-cache hits; with --out also write stat.csv",
    tables: &[&TABLE],
    has_entities: false,
    has_bounds: false,
    request: |_, settings| {
        settings.any_order.request::<Sizes>(());
        settings.in_order.request::<Queue>(());
        settings.crossing = true;
    },
    show: terminal::lines,
    ..Analysis::BASE
};
