//! Operation sizes.

mod chart;
mod table;
mod terminal;

use super::Analysis;
use table::TABLE;

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "sizes",
    about: "Print operation sizes, the latency of each size, and the bios per request; with --out also write sizes.csv",
    tables: &[&TABLE],
    has_entities: false,
    has_bounds: false,
    request: |_, settings| settings.sizes = true,
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    charts: |results| Ok(vec![chart::sizes(&TABLE.frame(results)?)?]),
    ..Analysis::BASE
};
