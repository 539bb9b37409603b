//! Latency breakdown of calls by layer.

mod chart;
mod table;
mod terminal;

use super::Analysis;
use table::TABLE;
pub use table::{about, all, average_ns, lost, total_ns, whole};

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "path",
    about: "Print the latency breakdown of calls: no request (page cache, CPU), queue, device, and the rest (file system, CPU); \
            with --out also write path.csv",
    tables: &[&TABLE],
    is_compared: true,
    request: |_, settings| settings.crossing = true,
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    charts: |results| Ok(vec![chart::path(&TABLE.frame(results)?)?]),
    ..Analysis::BASE
};
