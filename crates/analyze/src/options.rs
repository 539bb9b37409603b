//! What a run is asked to do, whoever asks: no command line, no defaults.

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

/// What is to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Analysis {
    /// Operations, bytes and amplification by system, and all that goes with it.
    Summary,
    /// Bytes from the application to the device, by system, process, cgroup, file and device.
    Amplification,
    /// Distributions of durations.
    Latency,
    /// What happened when.
    Timeline,
    /// How large operations are.
    Sizes,
    /// Where operations are in time and duration, and requests in time and place.
    Heatmap,
    /// Which blocks of files and disks operations touch.
    Footprint,
    /// Where operations are, one after the other.
    Pattern,
    /// When they begin, one after the other.
    Arrivals,
    /// How many are under way.
    Queue,
    /// Where the time of calls goes, across layers.
    Path,
    /// What syncs force out, and how long they take.
    Sync,
    /// What the page cache did for reads and writes.
    Cache,
    /// All there is.
    Report,
    /// What other captures are held against.
    Compare,
    /// Operations one by one, no more than so many.
    Trace(usize),
    /// Whether captures can be trusted.
    Quality,
    /// Who did most: by what, and how many in each scope and layer.
    Top(By, usize),
}

impl Analysis {
    /// Its command.
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

/// What an analysis is asked to do.
#[derive(Debug, Clone)]
pub struct Analyze {
    /// What is to be found out.
    pub analysis: Analysis,
    /// Captures, merged into one result.
    pub captures: Vec<PathBuf>,
    /// What of them.
    pub selection: Selection,
    /// Where CSV files go; without it none are written.
    pub out: Option<PathBuf>,
    /// How tables are written there.
    pub format: Format,
    /// What is done where not all rows are there that were written, or too many.
    pub partial_rows: PartialRows,
    /// Rules that are asked before the built-in ones.
    pub rules: Option<PathBuf>,
    /// The level of stacked devices that totals are of.
    pub level: Wanted,
    /// Threads that scan.
    pub threads: NonZeroUsize,
    /// What it may take of memory.
    pub memory: Budget,
    /// What is done with partials in files.
    pub partials: Partials,
    /// How percentiles are kept.
    pub precision: Precision,
    /// About how many rows are looked at together where it depends on their order; without it as many as there is room for.
    pub stretch_rows: Option<u64>,
    /// How long the windows of a timeline are; without it a second, or as much as there is room for.
    pub window: Option<Duration>,
}

/// How long the windows of a timeline are at least, unless the user wants something else.
const WINDOW: Duration = Duration::from_secs(1);

impl Analyze {
    /// Whether `analysis` is to be done, alone or among all.
    fn does(&self, analysis: Analysis) -> bool {
        let is_compared = matches!(analysis, Analysis::Timeline | Analysis::Path | Analysis::Sync | Analysis::Cache);
        [analysis, Analysis::Report].contains(&self.analysis) || self.analysis == Analysis::Compare && is_compared
    }

    /// Whether it matters to what is asked for which cgroup, file and disk something is of.
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

    /// Whether it is asked for what calls wait for.
    fn crosses(&self) -> bool {
        [Analysis::Path, Analysis::Sync, Analysis::Cache].into_iter().any(|analysis| self.does(analysis))
    }

    /// What a scan is to keep for it.
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

    /// As many threads as there is room for, to keep that of so many processes and files.
    pub fn room(&self, settings: &Settings, names: usize) -> NonZeroUsize {
        self.memory.threads(self.threads, Need::of(settings).with_names(names))
    }
}

/// What a comparison is asked to do.
#[derive(Debug, Clone)]
pub struct Compare {
    /// Captures, each a repeat.
    pub before: Vec<PathBuf>,
    /// Those that are held against them.
    pub after: Vec<PathBuf>,
    /// How each is analyzed, and where results go.
    pub analyze: Analyze,
    /// How often an interval is to have the true value, such as 0.95.
    pub confidence: f64,
}

/// What the program is asked to do.
#[derive(Debug, Clone)]
pub enum Command {
    /// An analysis of captures.
    Analyze(Box<Analyze>),
    /// A comparison of captures.
    Compare(Box<Compare>),
    /// A share of an analysis of captures, to be merged later.
    Partial(Box<Analyze>),
    /// A capture of a published trace.
    Import(Import),
    /// Captures that were cut off are made whole.
    Recover(Vec<PathBuf>),
    /// Take arguments out of command lines.
    Redact(crate::redact::Redact),
    /// The documentation of tables and columns.
    Schema,
}

impl Command {
    /// What it may take of memory. What makes, repairs or changes captures takes little, whatever their size.
    pub fn memory(&self) -> Budget {
        match self {
            Command::Analyze(options) | Command::Partial(options) => options.memory,
            Command::Compare(options) => options.analyze.memory,
            Command::Import(_) | Command::Recover(_) | Command::Redact(_) | Command::Schema => Budget::ANY,
        }
    }
}
