//! Table of `arrivals`.

use polars::prelude::*;

use crate::terminal::{Shown, listing};

/// Headers, and columns of `arrivals.csv`.
const COLUMNS: [(&str, &str); 13] = [
    ("SCOPE", "scope"),
    ("LAYER", "layer"),
    ("NAME", "name"),
    ("DIR", "direction"),
    ("OPS", "ops"),
    ("IOPS", "ops_per_s"),
    ("INTERARRIVAL", "interarrival_avg_ns"),
    ("P50", "interarrival_p50_ns"),
    ("P99", "interarrival_p99_ns"),
    ("MAX", "interarrival_max_ns"),
    ("IDC 1ms", "dispersion_1ms"),
    ("IDC 100ms", "dispersion_100ms"),
    ("IDC 1s", "dispersion_1s"),
];

/// Builds the table of all rows of `arrivals`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &(0..frame.height()).collect::<Vec<_>>(), &COLUMNS, 4)
}
