//! Where the time of calls goes.

use polars::prelude::*;

use super::{Shown, first_of_each, listing};

/// Headers and the columns of `path.csv` that they show.
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

/// How many of each scope are shown.
const SHOWN: usize = 8;

/// The first rows of each scope in `path`.
pub fn table(frame: &DataFrame) -> PolarsResult<Shown> {
    listing(frame, &first_of_each(frame, &["scope"], SHOWN)?, &COLUMNS, 4)
}
