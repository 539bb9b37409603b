//! Where operations are, one after the other.

use polars::prelude::*;

use super::{Shown, first_of_each, listing};

/// Headers and the columns of `pattern.csv` that they show.
const COLUMNS: [(&str, &str); 11] = [
    ("SCOPE", "scope"),
    ("LAYER", "layer"),
    ("WAY", "direction"),
    ("NAME", "name"),
    ("ID", "id"),
    ("OPS", "ops"),
    ("BYTES", "bytes"),
    ("SEQUENTIAL", "sequential_share"),
    ("JUMPS", "jump_share"),
    ("STRIDED", "strided_share"),
    ("STRIDE", "stride_bytes"),
];

/// How many of each scope, layer and direction are shown.
const SHOWN: usize = 3;

/// The first rows of each scope, layer and direction in `pattern`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &first_of_each(frame, &["scope", "layer", "direction"], SHOWN)?, &COLUMNS, 5)
}
