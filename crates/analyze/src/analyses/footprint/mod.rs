//! Distinct blocks of files and disks that operations touch, the working set over time, and reuse distances.

mod chart;
mod reuse;
mod table;
mod terminal;

use super::Analysis;
use table::{TABLE, WINDOWS};

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "footprint",
    about: "Print distinct blocks of files and disks that are read and written, rereads and overwrites; with --out also write footprint.csv, \
            and footprint_windows.csv of the working set over time",
    tables: &[&TABLE, &WINDOWS, &reuse::TABLE],
    request: |_, settings| settings.footprint = true,
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    charts: |results| Ok(vec![chart::reuse(&reuse::TABLE.frame(results)?)?]),
    ..Analysis::BASE
};
