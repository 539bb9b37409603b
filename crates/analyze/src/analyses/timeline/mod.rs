//! Operations, bytes, latency, queue depth, amplification and loss by time window.

pub mod aggregate;
mod chart;
mod table;
mod terminal;

use std::time::Duration;

use clap::{Args, FromArgMatches};

use anyhow::{Result, bail};

use super::Analysis;
use crate::aggregate::any_order;
use crate::options::Analyze;
use crate::partial::Partial;
use crate::time::window;
use aggregate::{MOST_WINDOWS, Timeline};
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
    aggregates: &[any_order::Registered::of::<Timeline>()],
    request: |options, settings| settings.any_order.request::<Timeline>(options.windows()),
    check,
    arguments: Own::augment_args,
    parse: |given, options| {
        options.window = Own::from_arg_matches(given)?.window;
        Ok(())
    },
    ..Analysis::BASE
};

/// Checks that the windows are as long as requested.
fn check(options: &Analyze, partial: &Partial) -> Result<()> {
    if let (Some(window), Some(timeline)) = (options.window, partial.aggregates.get::<Timeline>())
        && timeline.width_ns() > options.windows().width_ns
    {
        let (window, most) = (humantime::format_duration(window), MOST_WINDOWS);
        let enough = humantime::format_duration(Duration::from_nanos(timeline.width_ns().unsigned_abs()));
        bail!(
            "--window {window}: more than {most} windows, expected a window of at least {enough} or a shorter time (--since, --until)"
        );
    }
    Ok(())
}
