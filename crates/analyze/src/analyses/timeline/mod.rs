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

/// Option of analyses by time window.
#[derive(Debug, Args)]
pub struct Own {
    /// Window length, such as 100ms [default: 1s, doubled until there are at most 5000 windows].
    #[arg(long, value_name = "TIME", value_parser = window)]
    pub window: Option<Duration>,
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
    let width_ns = partial.aggregates.get::<Timeline>().map(Timeline::width_ns);
    check_width(options, width_ns, &format!("more than {MOST_WINDOWS} windows"))
}

/// Checks that windows are as long as requested; `limit` is the reason if they are not.
pub fn check_width(options: &Analyze, width_ns: Option<i64>, limit: &str) -> Result<()> {
    if let (Some(window), Some(width_ns)) = (options.window, width_ns)
        && width_ns > options.windows().width_ns
    {
        let window = humantime::format_duration(window);
        let enough = humantime::format_duration(Duration::from_nanos(width_ns.unsigned_abs()));
        bail!(
            "--window {window}: {limit}, expected a window of at least {enough} or a shorter time (--since, --until)"
        );
    }
    Ok(())
}
