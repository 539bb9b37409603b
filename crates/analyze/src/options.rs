//! Options of a run, without a command line and without defaults.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::aggregate::timeline::{MOST_UNASKED, MOST_WINDOWS, Windows};
use crate::aggregate::{Ordered, Precision, Settings};
use crate::format::Format;
use crate::import::Import;
use crate::levels::Wanted;
use crate::memory::{Budget, Need};
use crate::select::Selection;
use crate::store::Partials;
use crate::tables::top::By;
use crate::trust::PartialRows;

/// Analysis to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Analysis {
    /// Operations, bytes and amplification by system, with latency and loss.
    Summary,
    /// Bytes from the application to the device, by system, process, cgroup, file and device.
    Amplification,
    /// Latency distributions.
    Latency,
    /// Operations, bytes, latency, queue depth and loss by time window.
    Timeline,
    /// Operation sizes.
    Sizes,
    /// Distributions of operations over time and latency, and of requests over time and device offset.
    Heatmap,
    /// Distinct blocks of files and disks that operations touch.
    Footprint,
    /// Access pattern: offsets of consecutive operations.
    Pattern,
    /// Interarrival times.
    Arrivals,
    /// Queue depth.
    Queue,
    /// Latency breakdown of calls by layer.
    Path,
    /// Latency of syncs and the I/O that they force.
    Sync,
    /// Page cache statistics of reads and writes.
    Cache,
    /// All analyses.
    Report,
    /// Metrics that are compared with those of other captures.
    Compare,
    /// Individual operations, at most this many.
    Trace(usize),
    /// Data quality checks.
    Quality,
    /// Most active entities: sort key, and rows per scope and layer.
    Top(By, usize),
}

impl Analysis {
    /// Returns the name of its command.
    pub const fn name(self) -> &'static str {
        match self {
            Analysis::Summary => "summary",
            Analysis::Amplification => "amplification",
            Analysis::Latency => "latency",
            Analysis::Timeline => "timeline",
            Analysis::Sizes => "sizes",
            Analysis::Heatmap => "heatmap",
            Analysis::Footprint => "footprint",
            Analysis::Pattern => "pattern",
            Analysis::Arrivals => "arrivals",
            Analysis::Queue => "queue",
            Analysis::Path => "path",
            Analysis::Sync => "sync",
            Analysis::Cache => "cache",
            Analysis::Report => "report",
            Analysis::Compare => "compare",
            Analysis::Trace(_) => "trace",
            Analysis::Quality => "quality",
            Analysis::Top(..) => "top",
        }
    }
}

/// Options of an analysis.
#[derive(Debug, Clone)]
pub struct Analyze {
    /// Analysis to run.
    pub analysis: Analysis,
    /// Captures, merged into one result.
    pub captures: Vec<PathBuf>,
    /// Filters on the captures.
    pub selection: Selection,
    /// Output directory; without it no tables are written.
    pub out: Option<PathBuf>,
    /// Format of the tables.
    pub format: Format,
    /// Handling of tables with missing or surplus rows.
    pub partial_rows: PartialRows,
    /// File of rules that precede the built-in ones.
    pub rules: Option<PathBuf>,
    /// Stacking level of the devices that totals count.
    pub level: Wanted,
    /// Number of scan threads.
    pub threads: NonZeroUsize,
    /// Memory limit.
    pub memory: Budget,
    /// Use of files of partial results.
    pub partials: Partials,
    /// Precision of percentiles.
    pub precision: Precision,
    /// Approximate number of rows in a stretch that is processed in time order; without it as many as fit into memory.
    pub stretch_rows: Option<u64>,
    /// Length of the windows of a timeline; without it one second, or more if there would be too many windows.
    pub window: Option<Duration>,
}

/// Minimum length of the windows of a timeline, unless the user requests another.
const WINDOW: Duration = Duration::from_secs(1);

impl Analyze {
    /// Whether `analysis` runs, alone or as part of several.
    fn does(&self, analysis: Analysis) -> bool {
        let is_compared = matches!(analysis, Analysis::Timeline | Analysis::Path | Analysis::Sync | Analysis::Cache);
        [analysis, Analysis::Report].contains(&self.analysis) || self.analysis == Analysis::Compare && is_compared
    }

    /// Whether the result depends on the cgroups, files and disks of operations.
    pub fn needs_entities(&self) -> bool {
        let of_analysis = match self.analysis {
            Analysis::Latency | Analysis::Timeline | Analysis::Sizes | Analysis::Heatmap | Analysis::Quality => false,
            Analysis::Summary
            | Analysis::Amplification
            | Analysis::Footprint
            | Analysis::Pattern
            | Analysis::Arrivals
            | Analysis::Queue
            | Analysis::Path
            | Analysis::Sync
            | Analysis::Cache
            | Analysis::Trace(_)
            | Analysis::Compare
            | Analysis::Report
            | Analysis::Top(..) => true,
        };
        of_analysis || self.selection.entities.iter().any(|patterns| !patterns.is_empty())
    }

    /// Whether the waits of calls in lower layers are requested.
    fn crosses(&self) -> bool {
        [Analysis::Path, Analysis::Sync, Analysis::Cache].into_iter().any(|analysis| self.does(analysis))
    }

    /// Returns the scan settings of the analysis.
    pub fn settings(&self) -> Settings {
        let width_ns = i64::try_from(self.window.unwrap_or(WINDOW).as_nanos()).unwrap_or(i64::MAX);
        let windows = Windows { width_ns, most: if self.window.is_some() { MOST_WINDOWS } else { MOST_UNASKED } };
        let new = Settings::new(self.precision);
        let settings = Settings {
            windows: self.does(Analysis::Timeline).then_some(windows),
            entities: self.needs_entities(),
            sizes: self.does(Analysis::Sizes),
            activity: matches!(self.analysis, Analysis::Top(..) | Analysis::Report),
            heatmap: self.does(Analysis::Heatmap),
            footprint: self.does(Analysis::Footprint),
            spans: if let Analysis::Trace(most) = self.analysis { Some(most) } else { None },
            ordered: Ordered {
                pattern: self.does(Analysis::Pattern),
                arrivals: self.does(Analysis::Arrivals),
                queue: self.does(Analysis::Queue),
                reuse: None,
                crossing: self.crosses(),
            },
            ..new
        };
        let most = self.stretch_rows.unwrap_or(new.stretch_rows);
        Settings { stretch_rows: self.memory.stretch_rows(self.room(&settings, 0), most), ..settings }
    }

    /// Returns the number of threads that fit into memory, with this many processes and files.
    pub fn room(&self, settings: &Settings, names: usize) -> NonZeroUsize {
        self.memory.threads(self.threads, Need::of(settings).with_names(names))
    }
}

/// Options of a comparison.
#[derive(Debug, Clone)]
pub struct Compare {
    /// Baseline captures, each a repeat.
    pub before: Vec<PathBuf>,
    /// Captures that are compared with the baseline.
    pub after: Vec<PathBuf>,
    /// Options of the analysis of each capture, and of the output.
    pub analyze: Analyze,
    /// Confidence level of the intervals, such as 0.95.
    pub confidence: f64,
}

/// Command of the program.
#[derive(Debug, Clone)]
pub enum Command {
    /// Analysis of captures.
    Analyze(Box<Analyze>),
    /// Comparison of captures.
    Compare(Box<Compare>),
    /// Share of an analysis of captures, to be merged later.
    Partial(Box<Analyze>),
    /// Import of a trace as a capture.
    Import(Import),
    /// Repair of incomplete captures.
    Recover(Vec<PathBuf>),
    /// Removal of arguments from recorded command lines.
    Redact(crate::redact::Redact),
    /// Documentation of tables and columns.
    Schema,
}

impl Command {
    /// Returns the memory limit. Commands that create, repair or rewrite captures need little memory, whatever the size of the captures.
    pub fn memory(&self) -> Budget {
        match self {
            Command::Analyze(options) | Command::Partial(options) => options.memory,
            Command::Compare(options) => options.analyze.memory,
            Command::Import(_) | Command::Recover(_) | Command::Redact(_) | Command::Schema => Budget::ANY,
        }
    }
}
