//! Queue depth.

pub mod aggregate;
mod chart;
mod table;
mod terminal;

use super::Analysis;
use crate::aggregate::in_order;
use aggregate::Queue;
use table::{DEPTH, TABLE};

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "queue",
    about: "Print queue depth (operations in flight) and check it against Little's law; with --out also write queue.csv and queue_depth.csv",
    tables: &[&TABLE, &DEPTH],
    ordered_aggregates: &[in_order::Registered::of::<Queue>()],
    request: |_, settings| settings.in_order.request::<Queue>(()),
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    charts: |results| Ok(vec![chart::depth(&DEPTH.frame(results)?)?]),
    ..Analysis::BASE
};
