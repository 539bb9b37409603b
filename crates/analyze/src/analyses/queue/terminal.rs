//! Table of `queue`: operations in flight.

use polars::prelude::*;

use crate::terminal::{Shown, listing};

/// Headers, and columns of `queue.csv`.
const COLUMNS: [(&str, &str); 12] = [
    ("SCOPE", "scope"),
    ("LAYER", "layer"),
    ("NAME", "name"),
    ("OPS", "ops"),
    ("%UTIL", "utilization"),
    ("IN FLIGHT", "avg_in_flight"),
    ("P50", "p50_in_flight"),
    ("P99", "p99_in_flight"),
    ("MAX", "max_in_flight"),
    ("IOPS", "ops_per_s"),
    ("AVG", "avg_ns"),
    ("LITTLE", "littles_law_in_flight"),
];

/// Builds the table of all rows of `queue`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &(0..frame.height()).collect::<Vec<_>>(), &COLUMNS, 3)
}
