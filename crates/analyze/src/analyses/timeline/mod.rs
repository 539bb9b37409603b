//! Operations, bytes, latency, queue depth, amplification and loss by time window.

mod chart;
mod table;
mod terminal;

use std::time::Duration;

use clap::{Args, FromArgMatches};

use super::Analysis;
use crate::time::window;
pub use table::TABLE;

/// Own options.
#[derive(Debug, Args)]
struct Own {
    /// Window length, such as 100ms [default: 1s, doubled until there are at most 5000 windows].
    #[arg(long, value_name = "TIME", value_parser = window)]
    window: Option<Duration>,
}

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "timeline",
    about: "Print operations, bytes, latency, queue depth, amplification and loss by time window; with --out also write timeline.csv",
    tables: &[&TABLE],
    has_entities: false,
    is_compared: true,
    show: |results| Ok(terminal::table(&TABLE.frame(results)?, results.captures)?),
    charts: |results| chart::lines(&TABLE.frame(results)?, results),
    request: |options, settings| settings.windows = Some(options.windows()),
    arguments: Own::augment_args,
    parse: |given, options| {
        options.window = Own::from_arg_matches(given)?.window;
        Ok(())
    },
    ..Analysis::BASE
};
