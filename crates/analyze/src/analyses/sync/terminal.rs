//! Table of `sync`: latency of syncs and the I/O that they force.

use polars::prelude::*;

use crate::terminal::{Shown, first_of_each, listing};

/// Headers, and columns of `sync.csv`.
const COLUMNS: [(&str, &str); 13] = [
    ("SCOPE", "scope"),
    ("NAME", "name"),
    ("OP", "op"),
    ("OPS", "ops"),
    ("AVG", "avg_ns"),
    ("P50", "p50_ns"),
    ("P99", "p99_ns"),
    ("MAX", "max_ns"),
    ("REQUESTS", "requests"),
    ("DATA", "data_bytes"),
    ("JOURNAL", "journal_bytes"),
    ("COMMITS", "commits"),
    ("BLOCKS", "journal_blocks"),
];

/// Maximum number of rows of each scope.
const SHOWN: usize = 8;

/// Builds the table of the first rows of each scope.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &first_of_each(frame, &["scope"], SHOWN)?, &COLUMNS, 3)
}
