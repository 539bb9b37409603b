//! Operation sizes.

pub mod aggregate;
mod chart;
mod table;
mod terminal;

use super::Analysis;
use crate::aggregate::any_order;
use aggregate::Sizes;
use table::TABLE;

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "sizes",
    about: "Print operation sizes, the latency of each size, and the bios per request; with --out also write sizes.csv",
    tables: &[&TABLE],
    has_entities: false,
    has_bounds: false,
    aggregates: &[any_order::Registered::of::<Sizes>()],
    request: |_, settings| settings.any_order.request::<Sizes>(()),
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    charts: |results| Ok(vec![chart::sizes(&TABLE.frame(results)?)?]),
    ..Analysis::BASE
};
