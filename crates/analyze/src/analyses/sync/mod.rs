//! Latency of syncs, and the I/O that they force.

mod table;
mod terminal;

use super::Analysis;
use crate::page::listing::Listing;
pub use table::TABLE;

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "sync",
    about: "Print the latency of syncs and the I/O that they force; with --out also write sync.csv",
    tables: &[&TABLE],
    is_compared: true,
    request: |_, settings| settings.crossing = true,
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    listings: &[Listing {
        title: "Sync calls",
        table: &TABLE,
        only: None,
        by: Some("total_ns"),
        most: 10,
        columns: &[
            ("scope", "scope"),
            ("name", "name"),
            ("call", "op"),
            ("count", "ops"),
            ("p50", "p50_ns"),
            ("p99", "p99_ns"),
            ("data", "data_bytes"),
            ("journal", "journal_bytes"),
            ("journal commits", "commits"),
            ("device flushes", "device_flushes"),
        ],
        texts: 3,
    }],
    ..Analysis::BASE
};
