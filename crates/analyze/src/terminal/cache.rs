//! What the page cache did.

use polars::prelude::*;

use super::{Shown, first_of_each, listing};

/// Headers and the columns of `cache.csv` that they show.
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

/// How many of each scope are shown.
const SHOWN: usize = 6;

/// The first rows of each scope in `cache`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &first_of_each(frame, &["scope"], SHOWN)?, &COLUMNS, 2)
}
