//! Distinct blocks of files and disks that operations touch, the working set over time, and reuse distances.

pub mod aggregate;
mod chart;
pub mod distances;
mod reuse;
mod table;
mod terminal;

use super::{Again, Analysis};
use crate::aggregate::{any_order, in_order};
use aggregate::Footprint;
use distances::Reuse;
use table::{TABLE, WINDOWS};

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "footprint",
    about: "Print distinct blocks of files and disks that are read and written, rereads and overwrites; with --out also write footprint.csv, \
            and footprint_windows.csv of the working set over time",
    tables: &[&TABLE, &WINDOWS, &reuse::TABLE],
    aggregates: &[any_order::Registered::of::<Footprint>()],
    ordered_aggregates: &[in_order::Registered::of::<Reuse>()],
    request: |_, settings| settings.any_order.request::<Footprint>(()),
    again: Some(&DISTANCES),
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    charts: |results| Ok(vec![chart::reuse(&reuse::TABLE.frame(results)?)?]),
    ..Analysis::BASE
};

/// Reuse distances are computed only for the sampled blocks that fit into memory. Their number is known after the first scan.
static DISTANCES: Again = Again {
    what: "reading again: reuse distances",
    request: |partial, in_order| {
        let halved = partial.aggregates.get::<Footprint>().map(Footprint::halved);
        in_order.request::<Reuse>(halved.unwrap_or_default());
    },
};
