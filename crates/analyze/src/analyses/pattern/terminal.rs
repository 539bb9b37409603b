//! Table of `pattern`.

use polars::prelude::*;

use crate::terminal::{Shown, first_of_each, listing};

/// Headers, and columns of `pattern.csv`.
const COLUMNS: [(&str, &str); 11] = [
    ("SCOPE", "scope"),
    ("LAYER", "layer"),
    ("DIR", "direction"),
    ("NAME", "name"),
    ("ID", "id"),
    ("OPS", "ops"),
    ("BYTES", "bytes"),
    ("SEQUENTIAL", "sequential_share"),
    ("JUMPS", "jump_share"),
    ("STRIDED", "strided_share"),
    ("STRIDE", "stride_bytes"),
];

/// Maximum number of rows of each scope, layer and direction.
const SHOWN: usize = 3;

/// Builds the table of the first rows of each scope, layer and direction.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &first_of_each(frame, &["scope", "layer", "direction"], SHOWN)?, &COLUMNS, 5)
}
