//! Command line, and its conversion to [`crate::options`].

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};
use iostrata_capture::message;
use iostrata_capture::op::Layer;

use crate::aggregate::Precision;
use crate::analyses::{ALL, Analysis, COMPARE, REPORT};
use crate::format::Format;
use crate::import::Trace;
use crate::import::lines::Format as Lines;
use crate::memory::Budget;
use crate::options;
use crate::select::{Moment, Pattern, Selection};
use crate::stacking::Wanted;
use crate::store::{Partials, STANDARD};
use crate::time::window;
use crate::trace;
use crate::trust::PartialRows;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  input or output error; one line on standard error names it
  2  usage error
  3  done, but the capture is incomplete: the recording was interrupted, events were lost, the event accounting is inconsistent,
     or written rows are missing";

/// Turns captures of `iostrata record` into amplification, latency and per-system tables.
#[derive(Debug, Parser)]
#[command(name = "iostrata-analyze", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Analysis(Typed<WHOLE>),
    /// Compare two captures, or repeats (--before, --after); report significant differences with confidence intervals; with --out also write
    /// compare.csv.
    #[command(after_help = EXIT_CODES)]
    Compare(Compare),
    /// Import a block trace as a capture with only a block layer: a published trace, or the files of blktrace.
    #[command(after_help = EXIT_CODES)]
    Import(Import),
    /// Analyze a share of the events and write the partial results to a file. Shares may be read on several machines and merged.
    #[command(after_help = EXIT_CODES)]
    Partial(Partial),
    /// Run an analysis with files of `partial`, of one capture or several, also of different machines. The captures are not needed.
    #[command(after_help = EXIT_CODES)]
    Merge(Merge),
    /// Repair captures of a killed or crashed recorder: unfinished parts become ordinary Parquet files, up to the last flush.
    #[command(after_help = EXIT_CODES)]
    Recover(Recover),
    /// Rewrite the command lines of processes in captures: only the program name is kept, or --words words.
    #[command(after_help = EXIT_CODES)]
    Redact(Redact),
    /// Print the documentation of all tables and CSV columns as Markdown.
    Schema,
}

/// An analysis with its options, for one of these uses.
#[derive(Debug)]
struct Typed<const USE: u8>(options::Analyze);

/// Analysis of captures.
const WHOLE: u8 = 0;

/// Share of an analysis that can be merged.
const SHARE: u8 = 1;

/// Merge of shares, for which the captures need not be there.
const MERGE: u8 = 2;

impl<const USE: u8> Typed<USE> {
    fn all() -> impl Iterator<Item = &'static Analysis> {
        let all = ALL.iter().copied().chain([&REPORT, &trace::ANALYSIS]);
        all.filter(|analysis| analysis.is_mergeable || USE == WHOLE)
    }
}

impl<const USE: u8> Subcommand for Typed<USE> {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        Self::all().fold(command, |command, analysis| {
            let own = (analysis.arguments)(clap::Command::new(analysis.name));
            // Structs of arguments set the help to their own documentation.
            let own = Analyze::augment_args(own).about(analysis.about).long_about(None).after_help(EXIT_CODES);
            command.subcommand(if USE == MERGE { own.mut_arg("captures", without_captures) } else { own })
        })
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        Self::all().any(|analysis| analysis.name == name)
    }
}

impl<const USE: u8> FromArgMatches for Typed<USE> {
    fn from_arg_matches(given: &ArgMatches) -> Result<Self, clap::Error> {
        let found = given.subcommand().and_then(|(name, own)| Some((Self::all().find(|of| of.name == name)?, own)));
        let (analysis, own) = found.ok_or_else(|| clap::Error::new(ErrorKind::MissingSubcommand))?;
        let Analyze { captures, how } = Analyze::from_arg_matches(own)?;
        let mut options = how.into_options(analysis, captures);
        (analysis.parse)(own, &mut options)?;
        Ok(Typed(options))
    }

    fn update_from_arg_matches(&mut self, given: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(given)?;
        Ok(())
    }
}

#[derive(Debug, Args)]
struct Import {
    /// Trace format.
    #[arg(long, value_enum)]
    format: TypedTrace,
    /// Trace files, plain or compressed with gzip, zstd or xz; `-` is standard input. CSV files must be in time order.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Capture directory to create; it must be new or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TypedTrace {
    /// MSR Cambridge: CSV with response times.
    Msr,
    /// Alibaba block traces: CSV without response times.
    Alibaba,
    /// Tencent CBS: CSV without response times, and with times in seconds.
    Tencent,
    /// Output of blktrace(8): all DEVICE.blktrace.CPU of one or of several devices, or a stream of `blkparse -d` or `blktrace -o -`.
    Blktrace,
}

impl From<TypedTrace> for Trace {
    fn from(typed: TypedTrace) -> Trace {
        match typed {
            TypedTrace::Msr => Trace::Lines(Lines::Msr),
            TypedTrace::Alibaba => Trace::Lines(Lines::Alibaba),
            TypedTrace::Tencent => Trace::Lines(Lines::Tencent),
            TypedTrace::Blktrace => Trace::Blktrace,
        }
    }
}

#[derive(Debug, Args)]
struct Partial {
    /// Share of the work: 2/5 is the second of five.
    #[arg(long, value_name = "N/M", default_value = "1/1", value_parser = share)]
    share: (u64, u64),
    /// Output file; - for the standard output.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Reuse partial results from FILE (repeatable). A report on many blocks takes two rounds: the second with the files of all shares of the
    /// first.
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Analysis, with its options.
    #[command(subcommand)]
    analysis: Box<Typed<SHARE>>,
}

#[derive(Debug, Args)]
struct Merge {
    /// File written by `partial` (repeatable); - for the standard input.
    #[arg(long, value_name = "FILE", required = true)]
    from: Vec<PathBuf>,
    /// Analysis, with the same options as for `partial`.
    #[command(subcommand)]
    analysis: Box<Typed<MERGE>>,
}

fn without_captures(captures: Arg) -> Arg {
    captures.required(false).help(
        "Capture directories, to read the events of partial results that are in none of the files; without directories the captures are those of \
         the files",
    )
}

fn share(typed: &str) -> Result<(u64, u64), String> {
    let share = typed.split_once('/').and_then(|(share, shares)| Some((share.parse().ok()?, shares.parse().ok()?)));
    share
        .filter(|(share, shares)| (1..=*shares).contains(share))
        .ok_or_else(|| "expected a share such as 2/5".to_owned())
}

#[derive(Debug, Args)]
struct Redact {
    /// Capture directories.
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    /// Words to keep of each command line: 1 is the program name, 0 removes the command line.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    words: usize,
}

#[derive(Debug, Args)]
struct Recover {
    /// Capture directories.
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Analyze {
    /// Capture directories; several are merged into one result. A directory with folders such as host=NAME stands for the captures in them.
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// Options of all analyses: filters, resources and output.
#[derive(Debug, Args)]
struct How {
    #[command(flatten)]
    selection: Selecting,
    /// Write tables to this directory, which is created if needed. With - the first table is printed to standard output in place of the view.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print no notes but warnings that change the exit code.
    #[arg(short, long)]
    quiet: bool,
    /// Format of these tables.
    #[arg(long, value_enum, default_value = "csv")]
    format: TypedFormat,
    /// Write CSV for spreadsheets: an apostrophe precedes each name that begins with `=`, `+`, `-`, `@`, a tab or an end of line, so that it is not
    /// read as a formula, and names are quoted. Names are then not exact.
    #[arg(long, conflicts_with = "format")]
    safe_csv: bool,
    /// Analyze captures with missing or surplus rows. Without it the affected layers are excluded. Each output states the rows present and the rows
    /// written, and gives no machine total.
    #[arg(long)]
    partial_rows: bool,
    /// Rules (TOML) that assign processes to systems; they precede the built-in rules.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Level of stacked devices (loop, dm, md) for requests and ratios: `lowest` of those recorded, or a number; level 0 is a disk on no other
    /// device.
    #[arg(long, value_name = "N", default_value = "lowest", value_parser = level)]
    level: Wanted,
    /// Scan threads [default: one per CPU].
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Memory limit. A low limit reduces parallelism; work that needs more is refused.
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = memory)]
    memory: Budget,
    /// Keep every duration for exact percentiles; memory grows with the capture, by 16 bytes per duration.
    #[arg(long)]
    exact: bool,
    /// Cache partial results in CAPTURE.partials beside each capture, and reuse them: of a capture that has grown only the new events are read.
    #[arg(long)]
    cache: bool,
}

#[derive(Debug, Args)]
struct Compare {
    /// Two capture directories: the baseline, and the one to compare with it.
    #[arg(value_names = ["BEFORE", "AFTER"], num_args = 2, required_unless_present = "before", conflicts_with = "before")]
    captures: Vec<PathBuf>,
    /// Repeats of the baseline: captures of the same workload.
    #[arg(long, value_name = "CAPTURE", num_args = 1.., requires = "after")]
    before: Vec<PathBuf>,
    /// Repeats to compare with the baseline.
    #[arg(long, value_name = "CAPTURE", num_args = 1.., requires = "before")]
    after: Vec<PathBuf>,
    /// Confidence level of the intervals, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "95", value_parser = confidence)]
    confidence: f64,
    /// Length of the time windows that are resampled if there is one capture on each side.
    #[arg(long, value_name = "TIME", value_parser = window)]
    window: Option<Duration>,
    #[command(flatten)]
    how: How,
}

fn confidence(typed: &str) -> Result<f64, String> {
    let percent = typed.trim_end_matches('%').trim().parse().ok().filter(|percent| (50.0..100.0).contains(percent));
    percent.ok_or_else(|| "expected a percentage from 50 to below 100".to_owned())
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TypedFormat {
    /// RFC 4180, with a header.
    Csv,
    /// Parquet.
    Parquet,
    /// An array of objects.
    Json,
}

impl From<TypedFormat> for Format {
    fn from(typed: TypedFormat) -> Format {
        match typed {
            TypedFormat::Csv => Format::Csv,
            TypedFormat::Parquet => Format::Parquet,
            TypedFormat::Json => Format::Json,
        }
    }
}

fn memory(typed: &str) -> Result<Budget, String> {
    let least = Budget::LEAST;
    let size = typed.parse().ok().filter(|size: &ByteSize| *size >= least);
    size.map(Budget::new).ok_or_else(|| format!("expected a size such as 512MiB, at least {}", least.display().iec()))
}

/// Filters. Names are globs, and options may be repeated.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
struct Selecting {
    /// Only operations that began at this time or later: a time such as 2026-11-22T16:00:00Z or "2026-11-22 16:00" (UTC), an offset from the start
    /// such as 5m30s, or one back from the end such as -30s.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, allow_hyphen_values = true)]
    since: Option<Moment>,
    /// Only operations that began before this time.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, allow_hyphen_values = true)]
    until: Option<Moment>,
    /// Only this layer: syscall, vfs, fs or block (repeatable).
    #[arg(long = "layer", value_name = "LAYER", value_parser = layer)]
    layers: Vec<Layer>,
    /// Only systems with this name, or a glob such as `ceph*`. Repeatable, as are the filters below.
    #[arg(long = "system", value_name = "NAME", value_parser = Pattern::parse)]
    systems: Vec<Pattern>,
    /// Only processes with this id or command name.
    #[arg(long = "process", value_name = "PID|NAME", value_parser = Pattern::parse)]
    processes: Vec<Pattern>,
    /// Only cgroups with this path or id.
    #[arg(long = "cgroup", value_name = "PATH|ID", value_parser = Pattern::parse)]
    cgroups: Vec<Pattern>,
    /// Only files with this path, such as `/var/lib/*.wal`, this name in any directory, such as `*.wal`, or this id: major:minor:inode.
    #[arg(long = "file", value_name = "PATH|ID", value_parser = Pattern::parse)]
    files: Vec<Pattern>,
    /// Only operations on disks with this name, also as /dev/NAME, or this number: major:minor.
    #[arg(long = "device", value_name = "NAME|ID", value_parser = device)]
    devices: Vec<Pattern>,
}

fn device(typed: &str) -> Result<Pattern, String> {
    Pattern::parse(typed.strip_prefix("/dev/").unwrap_or(typed))
}

fn layer(typed: &str) -> Result<Layer, String> {
    let names = || Layer::ALL.iter().map(|layer| layer.name()).collect::<Vec<_>>().join(", ");
    Layer::parse(typed).ok_or_else(|| format!("expected one of {}", names()))
}

fn level(typed: &str) -> Result<Wanted, String> {
    match (typed, typed.parse()) {
        ("lowest", _) => Ok(Wanted::Lowest),
        (_, Ok(level)) if level >= 0 => Ok(Wanted::Level(level)),
        _ => Err("expected `lowest` or a number such as 0".to_owned()),
    }
}

/// Parses the command line into options. Prints help or a usage error and exits if required.
pub fn parse() -> options::Command {
    message::parsed::<Cli>().command.into()
}

impl From<Command> for options::Command {
    fn from(command: Command) -> Self {
        match command {
            Command::Analysis(Typed(options)) => options::Command::Analyze(Box::new(options)),
            Command::Compare(typed) => typed.into_command(),
            Command::Import(Import { format, files, out }) => {
                options::Command::Import(crate::import::Import { trace: format.into(), files, out })
            }
            Command::Partial(Partial { share, to, from, analysis }) => {
                let partials = Partials::To { share, file: to, from };
                options::Command::Partial(Box::new(options::Analyze { partials, ..analysis.0 }))
            }
            Command::Merge(Merge { from, analysis }) => {
                let partials = Partials::From(from);
                options::Command::Analyze(Box::new(options::Analyze { partials, ..analysis.0 }))
            }
            Command::Recover(recover) => options::Command::Recover(recover.captures),
            Command::Redact(Redact { captures, words }) => {
                options::Command::Redact(crate::redact::Redact { captures, words })
            }
            Command::Schema => options::Command::Schema,
        }
    }
}

impl Compare {
    fn into_command(self) -> options::Command {
        let Compare { mut captures, before, after, confidence, window, how } = self;
        let (before, after) = match captures.pop() {
            Some(last) => (captures, vec![last]),
            None => (before, after),
        };
        let analyze = options::Analyze { window, ..how.into_options(&COMPARE, Vec::new()) };
        options::Command::Compare(Box::new(options::Compare { before, after, analyze, confidence_percent: confidence }))
    }
}

impl How {
    fn into_options(self, analysis: &'static Analysis, captures: Vec<PathBuf>) -> options::Analyze {
        let available = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        options::Analyze {
            selection: self.selection.into(),
            is_printed: self.out.as_deref().is_some_and(|out| out.as_os_str() == STANDARD),
            out: self.out.filter(|out| out.as_os_str() != STANDARD),
            is_quiet: self.quiet,
            format: if self.safe_csv { Format::SafeCsv } else { self.format.into() },
            partial_rows: if self.partial_rows { PartialRows::Taken } else { PartialRows::LeftOut },
            rules: self.rules,
            level: self.level,
            threads: self.threads.unwrap_or_else(available),
            precision: if self.exact { Precision::Exact } else { Precision::DEFAULT },
            memory: self.memory,
            partials: if self.cache { Partials::Cached } else { Partials::None },
            ..options::Analyze::new(analysis, captures)
        }
    }
}

impl From<Selecting> for Selection {
    fn from(typed: Selecting) -> Self {
        let Selecting { since, until, layers, systems, processes, cgroups, files, devices } = typed;
        Selection { since, until, layers, systems, entities: [processes, cgroups, files, devices] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_option_has_help() {
        let command = Cli::command();
        command.clone().debug_assert();
        for analysis in Typed::<WHOLE>::all() {
            let sub = command.find_subcommand(analysis.name).expect("a command");
            assert_eq!(sub.get_about().map(|about| about.to_string()).as_deref(), Some(analysis.about));
            let own = (analysis.arguments)(clap::Command::new(analysis.name));
            for argument in own.get_arguments() {
                let argument = sub.get_arguments().find(|of| of.get_id() == argument.get_id()).expect("its option");
                assert_eq!(argument.get_help_heading(), None, "{} {}", analysis.name, argument.get_id());
            }
        }
        for name in ["partial", "merge"] {
            let sub = command.find_subcommand(name).expect("a command");
            assert!(sub.find_subcommand("report").is_some() && sub.find_subcommand("trace").is_none());
        }
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
            for argument in sub.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", sub.get_name(), argument.get_id());
            }
        }
    }
}
