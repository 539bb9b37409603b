//! Analyses. Each is a folder with its tables, its view on the terminal, its charts and its options, and a line in [`ALL`]: command line, files,
//! page and the documentation of columns follow from it. [`loss`] is a table of all of them, [`subject`] has columns that several share.

pub mod amplification;
pub mod arrivals;
pub mod cache;
pub mod footprint;
pub mod heatmap;
pub mod iostat;
pub mod latency;
pub mod loss;
pub mod path;
pub mod pattern;
pub mod quality;
pub mod queue;
pub mod sizes;
pub mod stat;
mod subject;
pub mod summary;
pub mod sync;
mod table;
pub mod timeline;
pub mod top;

use std::fmt;

use anyhow::Result;
use clap::{ArgMatches, Command};
use iostrata_capture::Capture;

use crate::aggregate::in_order::{self, InTimeOrder};
use crate::aggregate::{Settings, any_order};
use crate::load::Known;
use crate::names::Names;
use crate::options::Analyze;
use crate::page::figures::Figure;
use crate::page::listing::Listing;
use crate::partial::{Finished, Partial};
use crate::terminal::Shown;
use crate::trace;
use crate::trust::Trust;
pub use table::Table;

/// Version of all tables: of the columns and their meaning.
pub const VERSION: u32 = 2;

/// Column that had another name in version 1.
#[derive(Debug, Clone, Copy)]
pub struct Renamed {
    /// File name of the table.
    pub table: &'static str,
    /// Name in version 1.
    pub before: &'static str,
    /// Name since then.
    pub now: &'static str,
}

const fn renamed(table: &'static str, before: &'static str, now: &'static str) -> Renamed {
    Renamed { table, before, now }
}

/// Columns renamed in version 2.
pub const RENAMED: &[Renamed] = &[
    renamed("arrivals.csv", "rate_per_s", "ops_per_s"),
    renamed("arrivals.csv", "gap_avg_ns", "interarrival_avg_ns"),
    renamed("arrivals.csv", "gap_min_ns", "interarrival_min_ns"),
    renamed("arrivals.csv", "gap_p50_ns", "interarrival_p50_ns"),
    renamed("arrivals.csv", "gap_p90_ns", "interarrival_p90_ns"),
    renamed("arrivals.csv", "gap_p95_ns", "interarrival_p95_ns"),
    renamed("arrivals.csv", "gap_p99_ns", "interarrival_p99_ns"),
    renamed("arrivals.csv", "gap_p999_ns", "interarrival_p999_ns"),
    renamed("arrivals.csv", "gap_p9999_ns", "interarrival_p9999_ns"),
    renamed("arrivals.csv", "gap_max_ns", "interarrival_max_ns"),
    renamed("arrivals.csv", "gap_scv", "interarrival_scv"),
    renamed("queue.csv", "rate_per_s", "ops_per_s"),
    renamed("queue.csv", "busy_share", "utilization"),
    renamed("footprint.csv", "one_in", "sampling_factor"),
    renamed("footprint_windows.csv", "one_in", "sampling_factor"),
    renamed("reuse.csv", "one_in", "sampling_factor"),
    renamed("path.csv", "runnable_under_way_ns", "runnable_in_flight_ns"),
    renamed("sync.csv", "untold", "unknown_ops"),
];

/// Analyses of which a report consists, in the order of help, documentation and page.
pub static ALL: &[&Analysis] = &[
    &stat::ANALYSIS,
    &summary::ANALYSIS,
    &amplification::ANALYSIS,
    &latency::ANALYSIS,
    &timeline::ANALYSIS,
    &sizes::ANALYSIS,
    &heatmap::ANALYSIS,
    &footprint::ANALYSIS,
    &pattern::ANALYSIS,
    &arrivals::ANALYSIS,
    &queue::ANALYSIS,
    &iostat::ANALYSIS,
    &path::ANALYSIS,
    &sync::ANALYSIS,
    &cache::ANALYSIS,
    &quality::ANALYSIS,
    &top::ANALYSIS,
];

/// All analyses at once.
pub static REPORT: Analysis = Analysis {
    name: "report",
    about: "Run all of these analyses: print the summary, write every table, and report.html, a self-contained page with charts",
    parts: || ALL.to_vec(),
    needs_directory: true,
    show: summary::show,
    ..Analysis::BASE
};

/// Metrics for a comparison with other captures; `compare` has its own command and table.
pub static COMPARE: Analysis = Analysis { name: "compare", parts: compared, is_mergeable: false, ..Analysis::BASE };

fn compared() -> Vec<&'static Analysis> {
    ALL.iter().copied().filter(|analysis| analysis.is_compared).collect()
}

/// Returns the registered aggregates of rows in any order.
pub fn aggregates() -> impl Iterator<Item = &'static any_order::Registered> {
    ALL.iter().copied().chain([&trace::ANALYSIS]).flat_map(|analysis| analysis.aggregates)
}

/// Returns the registered aggregates of operations in time order.
pub fn ordered_aggregates() -> impl Iterator<Item = &'static in_order::Registered> {
    ALL.iter().flat_map(|analysis| analysis.ordered_aggregates)
}

/// Another scan of the rows, which needs results of the first one.
pub struct Again {
    /// Label of the progress line.
    pub what: &'static str,
    /// Requests its aggregates.
    pub request: fn(&Partial, &mut InTimeOrder),
}

/// Analysis: what it needs of the events, and what it makes of the results.
pub struct Analysis {
    /// Name of the command.
    pub name: &'static str,
    /// Help of the command.
    pub about: &'static str,
    /// Tables that it writes. Every analysis with an output directory also writes `loss`.
    pub tables: &'static [&'static Table],
    /// Analyses that it consists of.
    pub parts: fn() -> Vec<&'static Analysis>,
    /// Whether its results depend on the cgroups, files and disks of operations.
    pub has_entities: bool,
    /// Whether its first table has bounds of the numbers on the terminal.
    pub has_bounds: bool,
    /// Whether `compare` compares its first table.
    pub is_compared: bool,
    /// Whether its partial results can be merged.
    pub is_mergeable: bool,
    /// Whether its result is a file, for which there must be an output directory.
    pub needs_directory: bool,
    /// Its aggregates of rows in any order.
    pub aggregates: &'static [any_order::Registered],
    /// Its aggregates of operations in time order.
    pub ordered_aggregates: &'static [in_order::Registered],
    /// Requests the aggregates that it needs.
    pub request: fn(&Analyze, &mut Settings),
    /// Another scan that it needs after the first one.
    pub again: Option<&'static Again>,
    /// Checks the sums of all rows before there are results.
    pub check: fn(&Analyze, &Partial) -> Result<()>,
    /// Builds its view on the terminal.
    pub show: fn(&Results) -> Result<Shown>,
    /// Draws its charts on the page.
    pub charts: fn(&Results) -> Result<Vec<Figure>>,
    /// Tables on the page.
    pub listings: &'static [Listing],
    /// Adds its own options to its command.
    pub arguments: fn(Command) -> Command,
    /// Takes the values of these options.
    pub parse: fn(&ArgMatches, &mut Analyze) -> std::result::Result<(), clap::Error>,
}

impl Analysis {
    /// Values that most analyses have.
    pub const BASE: Analysis = Analysis {
        name: "",
        about: "",
        tables: &[],
        parts: Vec::new,
        has_entities: true,
        has_bounds: true,
        is_compared: false,
        is_mergeable: true,
        needs_directory: false,
        aggregates: &[],
        ordered_aggregates: &[],
        request: |_, _| {},
        again: None,
        check: |_, _| Ok(()),
        show: |_| Ok(Shown { text: String::new(), is_marked: false }),
        charts: |_| Ok(Vec::new()),
        listings: &[],
        arguments: |command| command,
        parse: |_, _| Ok(()),
    };

    /// Tables that it writes, those of its parts included, each once.
    pub fn all_tables(&self) -> Vec<&'static Table> {
        let mut tables: Vec<&'static Table> = Vec::new();
        let of_parts = (self.parts)().into_iter().flat_map(|part| part.tables);
        for table in self.tables.iter().chain(of_parts).chain([&&loss::TABLE]) {
            if !tables.contains(table) {
                tables.push(table);
            }
        }
        tables
    }

    /// Itself and its parts.
    pub fn all_parts(&'static self) -> impl Iterator<Item = &'static Analysis> {
        [self].into_iter().chain((self.parts)())
    }

    /// Requests the aggregates that it and its parts need.
    pub fn request_all(&self, options: &Analyze, settings: &mut Settings) {
        (self.request)(options, settings);
        (self.parts)().into_iter().for_each(|part| (part.request)(options, settings));
    }
}

impl PartialEq for Analysis {
    fn eq(&self, other: &Analysis) -> bool {
        self.name == other.name
    }
}

impl Eq for Analysis {}

impl fmt::Debug for Analysis {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Input of all tables, views and charts.
pub struct Results<'a> {
    /// Options of the run.
    pub options: &'a Analyze,
    /// Captures.
    pub captures: &'a [Capture],
    /// Data of the captures other than events.
    pub known: &'a Known<'a>,
    /// Names of their entities.
    pub names: &'a Names<'a>,
    /// Aggregates of their events.
    pub finished: Finished,
    /// Completeness and reliability of the captures.
    pub trust: Trust,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_aggregate_has_a_name_of_its_own_and_is_requested_by_its_analysis() {
        let registered: Vec<&str> =
            aggregates().map(|of| of.name).chain(ordered_aggregates().map(|of| of.name)).collect();
        assert_eq!(registered.iter().collect::<BTreeSet<_>>().len(), registered.len(), "{registered:?}");
        for analysis in ALL.iter().copied().chain([&trace::ANALYSIS]) {
            let options = Analyze::new(analysis, Vec::new());
            let mut settings = options.settings();
            if let Some(again) = analysis.again {
                (again.request)(&Partial::default(), &mut settings.in_order);
            }
            let requested: BTreeSet<&str> = settings.any_order.iter().map(|request| request.name).collect();
            let own: BTreeSet<&str> = analysis.aggregates.iter().map(|of| of.name).collect();
            assert!(requested.is_superset(&own), "{analysis:?}");
            assert!(requested.iter().all(|name| registered.contains(name)), "{analysis:?}");
            let requested: BTreeSet<&str> = settings.in_order.iter().map(|request| request.name).collect();
            let own: BTreeSet<&str> = analysis.ordered_aggregates.iter().map(|of| of.name).collect();
            assert!(requested.is_superset(&own), "{analysis:?}");
            assert!(requested.iter().all(|name| registered.contains(name)), "{analysis:?}");
        }
    }
}
