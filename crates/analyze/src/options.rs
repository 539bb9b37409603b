//! What a run is asked to do, whoever asks: no command line, no defaults.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::aggregate::Precision;
use crate::levels::Wanted;

/// What `summary` is asked to do.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Captures, merged into one result.
    pub captures: Vec<PathBuf>,
    /// Where CSV files go; without it none are written.
    pub out: Option<PathBuf>,
    /// Rules that are asked before the built-in ones.
    pub rules: Option<PathBuf>,
    /// The level of stacked devices that totals are of.
    pub level: Wanted,
    /// Threads that scan.
    pub threads: NonZeroUsize,
    /// How percentiles are kept.
    pub precision: Precision,
}

/// What the program is asked to do.
#[derive(Debug, Clone)]
pub enum Command {
    /// Amplification and latency of captures.
    Summary(Summary),
    /// Captures that were cut off are made whole.
    Recover(Vec<PathBuf>),
    /// The documentation of tables and columns.
    Schema,
}
