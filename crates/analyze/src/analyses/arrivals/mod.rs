//! Interarrival times and burstiness.

mod table;
mod terminal;

use super::Analysis;
use table::TABLE;

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "arrivals",
    about: "Print interarrival times of operations and their burstiness; with --out also write arrivals.csv",
    tables: &[&TABLE],
    request: |_, settings| settings.ordered.arrivals = true,
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    ..Analysis::BASE
};
