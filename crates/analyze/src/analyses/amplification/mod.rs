//! Bytes from the application to the device.

mod chart;
mod table;
mod terminal;

use super::Analysis;
pub use table::{TABLE, absorbed, device_classes, total};

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "amplification",
    about: "Print bytes from the application to the device, and their amplification; with --out also write amplification.csv",
    tables: &[&TABLE],
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    charts: |results| {
        let frame = TABLE.frame(results)?;
        Ok(vec![chart::amplification(&frame)?, chart::transfer(&frame)?])
    },
    ..Analysis::BASE
};
