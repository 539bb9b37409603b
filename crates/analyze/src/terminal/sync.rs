//! How long syncs take, and what they force out.

use polars::prelude::*;

use super::{Shown, first_of_each, listing};

/// Headers and the columns of `sync.csv` that they show.
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

/// How many of each scope are shown.
const SHOWN: usize = 8;

/// The first rows of each scope in `sync`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &first_of_each(frame, &["scope"], SHOWN)?, &COLUMNS, 3)
}
