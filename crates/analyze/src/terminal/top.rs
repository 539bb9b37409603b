//! Who did most.

use polars::prelude::*;

use super::{Shown, first_of_each, listing};

/// Headers and the columns of `top.csv` that they show.
const COLUMNS: [(&str, &str); 10] = [
    ("SCOPE", "scope"),
    ("LAYER", "layer"),
    ("NAME", "name"),
    ("ID", "id"),
    ("COMMAND", "cmdline"),
    ("OPS", "ops"),
    ("READ", "read_bytes"),
    ("WRITTEN", "write_bytes"),
    ("TIME", "time_ns"),
    ("AVG", "avg_ns"),
];

/// How many of each scope and layer are shown.
const SHOWN: usize = 5;

/// The first rows of each scope and layer in `top`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &first_of_each(frame, &["scope", "layer"], SHOWN)?, &COLUMNS, 5)
}
