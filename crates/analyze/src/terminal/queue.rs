//! How many operations are under way.

use polars::prelude::*;

use super::{Shown, listing};

/// Headers and the columns of `queue.csv` that they show.
const COLUMNS: [(&str, &str); 12] = [
    ("SCOPE", "scope"),
    ("LAYER", "layer"),
    ("NAME", "name"),
    ("OPS", "ops"),
    ("BUSY", "busy_share"),
    ("IN FLIGHT", "avg_in_flight"),
    ("P50", "p50_in_flight"),
    ("P99", "p99_in_flight"),
    ("MAX", "max_in_flight"),
    ("PER SECOND", "rate_per_s"),
    ("AVG", "avg_ns"),
    ("LITTLE", "littles_law_in_flight"),
];

/// The rows of `queue`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &(0..frame.height()).collect::<Vec<_>>(), &COLUMNS, 3)
}
