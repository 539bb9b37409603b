//! Access pattern: offsets of consecutive operations.

pub mod aggregate;
mod table;
mod terminal;

use super::Analysis;
use crate::aggregate::in_order;
use aggregate::Pattern;
use table::TABLE;

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "pattern",
    about: "Print the access pattern by disk, file and process: shares of sequential, jumping and strided operations; \
            with --out also write pattern.csv",
    tables: &[&TABLE],
    ordered_aggregates: &[in_order::Registered::of::<Pattern>()],
    request: |_, settings| settings.in_order.request::<Pattern>(()),
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    ..Analysis::BASE
};
