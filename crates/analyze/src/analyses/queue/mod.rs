//! Queue depth.

mod chart;
mod table;
mod terminal;

use super::Analysis;
use table::{DEPTH, TABLE};

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "queue",
    about: "Print queue depth (operations in flight) and check it against Little's law; with --out also write queue.csv and queue_depth.csv",
    tables: &[&TABLE, &DEPTH],
    request: |_, settings| settings.ordered.queue = true,
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    charts: |results| Ok(vec![chart::depth(&DEPTH.frame(results)?)?]),
    ..Analysis::BASE
};
