//! Page cache statistics.

mod table;
mod terminal;

use super::Analysis;
use crate::page::listing::Listing;
pub use table::TABLE;

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "cache",
    about: "Print page cache statistics: hits, readahead, absorbed writes; with --out also write cache.csv",
    tables: &[&TABLE],
    is_compared: true,
    request: |_, settings| settings.crossing = true,
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    listings: &[Listing {
        title: "Page cache",
        table: &TABLE,
        only: Some(("scope", "system")),
        by: Some("read_bytes"),
        most: 10,
        columns: &[
            ("system", "name"),
            ("read", "read_bytes"),
            ("hit ratio", "hit_bytes_share"),
            ("readahead", "readahead_bytes"),
            ("unused readahead", "unused_bytes"),
            ("reads absorbed", "read_absorbed_bytes"),
            ("writes absorbed", "write_absorbed_bytes"),
        ],
        texts: 1,
    }],
    ..Analysis::BASE
};
