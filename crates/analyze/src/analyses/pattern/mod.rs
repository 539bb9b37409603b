//! Access pattern: offsets of consecutive operations.

mod table;
mod terminal;

use super::Analysis;
use table::TABLE;

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "pattern",
    about: "Print the access pattern by disk, file and process: shares of sequential, jumping and strided operations; \
            with --out also write pattern.csv",
    tables: &[&TABLE],
    request: |_, settings| settings.ordered.pattern = true,
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    ..Analysis::BASE
};
