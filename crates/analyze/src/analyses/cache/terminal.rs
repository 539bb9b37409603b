//! Table of `cache`.

use polars::prelude::*;

use crate::terminal::{Shown, first_of_each, listing};

/// Headers, and columns of `cache.csv`.
const COLUMNS: [(&str, &str); 12] = [
    ("SCOPE", "scope"),
    ("NAME", "name"),
    ("READS", "read_ops"),
    ("READ", "read_bytes"),
    ("HIT CALLS", "hit_ops_share"),
    ("HIT PAGES", "hit_pages_share"),
    ("FILLED", "filled_bytes"),
    ("AHEAD", "readahead_bytes"),
    ("UNUSED", "unused_bytes"),
    ("WRITTEN", "write_bytes"),
    ("DIRTIED", "dirtied_bytes"),
    ("ABSORBED", "write_absorbed_bytes"),
];

/// Maximum number of rows of each scope.
const SHOWN: usize = 6;

/// Builds the table of the first rows of each scope.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &first_of_each(frame, &["scope"], SHOWN)?, &COLUMNS, 2)
}
