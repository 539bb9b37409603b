//! Interarrival times and burstiness.

pub mod aggregate;
mod table;
mod terminal;

use super::Analysis;
use crate::aggregate::in_order;
use aggregate::Arrivals;
use table::TABLE;

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "arrivals",
    about: "Print interarrival times of operations and their burstiness; with --out also write arrivals.csv",
    tables: &[&TABLE],
    ordered_aggregates: &[in_order::Registered::of::<Arrivals>()],
    request: |_, settings| settings.in_order.request::<Arrivals>(()),
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    ..Analysis::BASE
};
