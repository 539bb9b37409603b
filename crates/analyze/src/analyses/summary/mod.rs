//! Operations, bytes and amplification by system.

mod table;
mod terminal;

use anyhow::Result;

use super::{Analysis, Results, amplification, latency};
use crate::frame::frame;
use crate::page::listing::Listing;
use crate::terminal::{Shown, busiest};
pub use table::{OF_OPERATIONS, TABLE, columns, of_systems, rows, word};
pub use terminal::bounds;

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "summary",
    about: "Print operations and amplification by system; with --out also write these, and amplification, latency and loss",
    tables: &[&TABLE, &amplification::TABLE, &latency::TABLE],
    is_compared: true,
    show,
    listings: &[Listing {
        title: "Systems",
        table: &TABLE,
        only: None,
        by: Some("total_ops"),
        most: 20,
        columns: &[
            ("system", "system"),
            ("application reads", "syscall_read_bytes"),
            ("application writes", "syscall_write_bytes"),
            ("device reads", "block_read_bytes"),
            ("device writes", "block_write_bytes"),
            ("read amp.", "read_amp_bytes"),
            ("write amp.", "write_amp_bytes"),
            ("operations", "total_ops"),
        ],
        texts: 1,
    }],
    ..Analysis::BASE
};

/// Builds the table of the systems with the most operations.
pub fn show(results: &Results) -> Result<Shown> {
    Ok(busiest(results, |places| {
        let rows: Vec<_> = of_systems(&results.finished, &results.trust, places).collect();
        terminal::table(&frame(&columns(results.trust.lost_io), &rows)?)
    })?)
}
