//! Options of a run, without a command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::aggregate::{Precision, Settings};
use crate::analyses::Analysis;
use crate::analyses::timeline::aggregate::{MOST_UNASKED, MOST_WINDOWS, Windows};
use crate::analyses::top::{self, By};
use crate::format::Format;
use crate::import::Import;
use crate::memory::{Budget, Need};
use crate::select::Selection;
use crate::stacking::Wanted;
use crate::store::Partials;
use crate::trace;
use crate::trust::PartialRows;

/// Options of an analysis.
#[derive(Debug, Clone)]
pub struct Analyze {
    /// Analysis to run.
    pub analysis: &'static Analysis,
    /// Captures, merged into one result.
    pub captures: Vec<PathBuf>,
    /// Filters on the captures.
    pub selection: Selection,
    /// Output directory; without it no tables are written.
    pub out: Option<PathBuf>,
    /// Whether the first table goes to the standard output, in place of the view.
    pub is_printed: bool,
    /// Whether there are no notes.
    pub is_quiet: bool,
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
    /// `top`: sort key, and rows per scope and layer.
    pub top: (By, usize),
    /// `trace`: maximum number of operations.
    pub most_spans: usize,
    /// Length of the windows of a timeline; without it one second, or more if there would be too many windows.
    pub window: Option<Duration>,
}

/// Minimum length of the windows of a timeline, unless the user requests another.
const WINDOW: Duration = Duration::from_secs(1);

impl Analyze {
    /// Analysis of all events of captures, without a limit of memory, by one thread; its result is shown and not written.
    pub fn new(analysis: &'static Analysis, captures: Vec<PathBuf>) -> Analyze {
        Analyze {
            analysis,
            captures,
            selection: Selection::default(),
            out: None,
            is_printed: false,
            is_quiet: false,
            format: Format::default(),
            partial_rows: PartialRows::default(),
            rules: None,
            level: Wanted::Lowest,
            threads: NonZeroUsize::MIN,
            memory: Budget::ANY,
            partials: Partials::default(),
            precision: Precision::DEFAULT,
            stretch_rows: None,
            top: (By::Bytes, top::MOST),
            most_spans: trace::MOST,
            window: None,
        }
    }

    /// Whether the result depends on the cgroups, files and disks of operations.
    pub fn needs_entities(&self) -> bool {
        self.analysis.has_entities || self.selection.entities.iter().any(|patterns| !patterns.is_empty())
    }

    /// Returns the windows of a timeline.
    pub fn windows(&self) -> Windows {
        let width_ns = i64::try_from(self.window.unwrap_or(WINDOW).as_nanos()).unwrap_or(i64::MAX);
        Windows { width_ns, most: if self.window.is_some() { MOST_WINDOWS } else { MOST_UNASKED } }
    }

    /// Returns the scan settings of the analysis.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings { entities: self.needs_entities(), ..Settings::new(self.precision) };
        self.analysis.request_all(self, &mut settings);
        let most = self.stretch_rows.unwrap_or(settings.stretch_rows);
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
    /// Confidence level of the intervals in percent, such as 95.
    pub confidence_percent: f64,
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
