//! Table of `footprint`.

use polars::prelude::*;

use crate::terminal::{Shown, listing};

/// Headers, and columns of `footprint.csv`.
const COLUMNS: [(&str, &str); 9] = [
    ("SCOPE", "scope"),
    ("LAYER", "layer"),
    ("NAME", "name"),
    ("READ 4K", "read_blocks"),
    ("WRITTEN 4K", "write_blocks"),
    ("UNIQUE", "unique_blocks"),
    ("FOOTPRINT", "footprint_bytes"),
    ("REREAD", "reread_share"),
    ("OVERWRITTEN", "overwrite_share"),
];

/// Builds the table of all rows of `footprint`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &(0..frame.height()).collect::<Vec<_>>(), &COLUMNS, 3)
}
