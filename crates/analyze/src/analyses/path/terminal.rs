//! Table of `path`: latency breakdown of calls by layer.

use polars::prelude::*;

use crate::terminal::{Shown, first_of_each, listing};

/// Headers, and columns of `path.csv`.
const COLUMNS: [(&str, &str); 13] = [
    ("SCOPE", "scope"),
    ("NAME", "name"),
    ("KIND", "kind"),
    ("OP", "op"),
    ("OPS", "ops"),
    ("TIME", "total_ns"),
    ("AVG", "avg_ns"),
    ("NO REQUEST", "no_request_share"),
    ("REST", "rest_share"),
    ("RUNNABLE", "runnable_share"),
    ("QUEUE", "queue_share"),
    ("DEVICE", "device_share"),
    ("UNKNOWN", "unknown_share"),
];

/// Maximum number of rows of each scope.
const SHOWN: usize = 8;

/// Builds the table of the first rows of each scope.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &first_of_each(frame, &["scope"], SHOWN)?, &COLUMNS, 4)
}
