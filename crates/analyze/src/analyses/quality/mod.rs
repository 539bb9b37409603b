//! Data quality checks.

mod table;
mod terminal;

use super::{Analysis, Results};
use table::TABLE;
pub use table::{Verdict, rows, worst};

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "quality",
    about: "Print data quality checks: loss, layers, attribution, clocks; with --out also write quality.csv",
    tables: &[&TABLE],
    has_entities: false,
    show: |results| {
        let Results { captures, known, finished, trust, .. } = results;
        Ok(terminal::table(&TABLE.frame(results)?, worst(&rows(captures, known, finished, trust)))?)
    },
    ..Analysis::BASE
};
