//! When operations begin, one after the other.

use polars::prelude::*;

use super::{Shown, listing};

/// Headers and the columns of `arrivals.csv` that they show.
const COLUMNS: [(&str, &str); 13] = [
    ("SCOPE", "scope"),
    ("LAYER", "layer"),
    ("NAME", "name"),
    ("WAY", "direction"),
    ("OPS", "ops"),
    ("PER SECOND", "rate_per_s"),
    ("GAP", "gap_avg_ns"),
    ("P50", "gap_p50_ns"),
    ("P99", "gap_p99_ns"),
    ("MAX", "gap_max_ns"),
    ("IDC 1ms", "dispersion_1ms"),
    ("IDC 100ms", "dispersion_100ms"),
    ("IDC 1s", "dispersion_1s"),
];

/// The rows of `arrivals`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &(0..frame.height()).collect::<Vec<_>>(), &COLUMNS, 4)
}
