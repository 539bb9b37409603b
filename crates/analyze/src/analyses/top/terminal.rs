//! Table of `top`: the most active entities.

use polars::prelude::*;

use crate::terminal::{Shown, first_of_each, listing};

/// Headers, and columns of `top.csv`.
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

/// Maximum number of rows of each scope and layer.
const SHOWN: usize = 5;

/// Builds the table of the first rows of each scope and layer.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &first_of_each(frame, &["scope", "layer"], SHOWN)?, &COLUMNS, 5)
}
