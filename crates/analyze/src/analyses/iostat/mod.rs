//! Disks by time window, with the columns of `iostat -x`.

pub mod aggregate;
pub mod busy;
mod table;
mod terminal;

use clap::{Args, FromArgMatches};

use super::Analysis;
use super::timeline::aggregate::MOST_WINDOWS;
use super::timeline::{Own, check_width};
use crate::aggregate::{any_order, in_order};
use aggregate::{Iostat, MOST_CELLS};
use busy::Busy;
use table::TABLE;

/// The analysis.
pub static ANALYSIS: Analysis = Analysis {
    name: "iostat",
    about: "Print rates, sizes, latency, queue depth and utilization of disks by time window, as iostat -x does; with --out also write iostat.csv",
    tables: &[&TABLE],
    aggregates: &[any_order::Registered::of::<Iostat>()],
    ordered_aggregates: &[in_order::Registered::of::<Busy>()],
    request: |options, settings| {
        settings.any_order.request::<Iostat>(options.windows());
        settings.in_order.request::<Busy>(options.windows());
    },
    check: |options, partial| {
        let width_ns = partial.aggregates.get::<Iostat>().map(Iostat::width_ns);
        let limit =
            format!("more than {MOST_WINDOWS} windows, or more than {MOST_CELLS} windows of all disks together");
        check_width(options, width_ns, &limit)
    },
    show: |results| terminal::table(&TABLE.frame(results)?, results.captures),
    arguments: Own::augment_args,
    parse: |given, options| {
        options.window = Own::from_arg_matches(given)?.window;
        Ok(())
    },
    ..Analysis::BASE
};
