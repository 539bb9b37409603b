//! Processes, cgroups, files and disks with the most I/O.

mod table;
mod terminal;

use clap::{Args, FromArgMatches, ValueEnum};

use super::Analysis;
use crate::page::listing::Listing;
use table::TABLE;

/// Sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Bytes read and written.
    Bytes,
    /// Operations.
    Ops,
    /// Sum of operation durations.
    Time,
}

/// Rows per scope and layer, unless the user requests another number.
pub const MOST: usize = 100;

/// Own options.
#[derive(Debug, Args)]
struct Own {
    /// Sort key.
    #[arg(long, value_enum, default_value = "bytes")]
    by: By,
    /// Rows per scope and layer; the rest is summed as (others).
    #[arg(long, value_name = "N", default_value_t = MOST)]
    most: usize,
}

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "top",
    about: "Print the most active processes, cgroups, files and disks; with --out also write top.csv",
    tables: &[&TABLE],
    request: |_, settings| settings.activity = true,
    show: |results| Ok(terminal::table(&TABLE.frame(results)?)?),
    listings: &[
        Listing {
            title: "Processes",
            table: &TABLE,
            only: Some(("scope", "process")),
            by: None,
            most: 10,
            columns: PROCESS_COLUMNS,
            texts: 4,
        },
        Listing {
            title: "Files",
            table: &TABLE,
            only: Some(("scope", "file")),
            by: None,
            most: 10,
            columns: FILE_COLUMNS,
            texts: 3,
        },
    ],
    arguments: Own::augment_args,
    parse: |given, options| {
        let Own { by, most } = Own::from_arg_matches(given)?;
        options.top = (by, most);
        Ok(())
    },
    ..Analysis::BASE
};

const PROCESS_COLUMNS: &[(&str, &str)] = &[
    ("layer", "layer"),
    ("name", "name"),
    ("id", "id"),
    ("command", "cmdline"),
    ("operations", "ops"),
    ("read", "read_bytes"),
    ("written", "write_bytes"),
    ("total time", "time_ns"),
];

const FILE_COLUMNS: &[(&str, &str)] = &[
    ("layer", "layer"),
    ("name", "name"),
    ("id", "id"),
    ("operations", "ops"),
    ("read", "read_bytes"),
    ("written", "write_bytes"),
    ("total time", "time_ns"),
];
