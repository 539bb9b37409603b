//! The command line, and how it becomes [`crate::options`].

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use iostrata_capture::message;
use iostrata_capture::op::Layer;

use crate::aggregate::Precision;
use crate::format::Format;
use crate::import::Trace;
use crate::import::lines::Format as Lines;
use crate::levels::Wanted;
use crate::memory::Budget;
use crate::options::{self, Analysis};
use crate::select::{Moment, Pattern, Selection};
use crate::store::Partials;
use crate::tables::top::By;
use crate::trust::PartialRows;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  an input or output is wrong; one line on standard error says which
  2  the command line is wrong
  3  done, but the capture is incomplete: it was cut off, events were lost, its books do not balance,
     or rows that were written are not there";

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
    Analysis(Typed),
    /// Write operations one by one as trace.json, which Perfetto (ui.perfetto.dev) and Chrome's trace viewer (chrome://tracing) open: needs --out.
    #[command(after_help = EXIT_CODES)]
    Trace(OneByOne),
    /// Hold a capture, or repeats (--before, --after), against others: what differs by more than chance, with confidence intervals; with --out also
    /// write compare.csv.
    #[command(after_help = EXIT_CODES)]
    Compare(Compare),
    /// Make a capture, with only a block layer, of a block trace: a published one, or blktrace's own files.
    #[command(after_help = EXIT_CODES)]
    Import(Import),
    /// Read a share of the events for an analysis, and write what that comes to into a file: shares may be read on several machines, and merged.
    #[command(after_help = EXIT_CODES)]
    Partial(Partial),
    /// Do an analysis with what `partial` wrote for it. What is in none of the files is read.
    #[command(after_help = EXIT_CODES)]
    Merge(Merge),
    /// Make captures whole whose recorder was killed or cut off: unfinished parts become ordinary Parquet files, up to what
    /// had been flushed.
    #[command(after_help = EXIT_CODES)]
    Recover(Recover),
    /// Rewrite the command lines of processes in captures: of each only the name of the program is left, unless --words says otherwise.
    #[command(after_help = EXIT_CODES)]
    Redact(Redact),
    /// Print the documentation of all tables and CSV columns as Markdown.
    Schema,
}

/// Analyses whose partials can be merged.
#[derive(Debug, Subcommand)]
enum Typed {
    /// Print operations and amplification by system; with --out also write these, and amplification, latency and loss.
    #[command(after_help = EXIT_CODES)]
    Summary(Analyze),
    /// Print bytes on their way from the application to the device, and what they were amplified by; with --out also write
    /// amplification.csv.
    #[command(after_help = EXIT_CODES)]
    Amplification(Analyze),
    /// Print how long operations took; with --out also write latency.csv.
    #[command(after_help = EXIT_CODES)]
    Latency(Analyze),
    /// Print what happened when: operations, bytes, durations, how many were under way, amplification and loss by window of time;
    /// with --out also write timeline.csv.
    #[command(after_help = EXIT_CODES)]
    Timeline(Timeline),
    /// Print how large operations are, how long each size takes, and how many bios make a request; with --out also write
    /// sizes.csv.
    #[command(after_help = EXIT_CODES)]
    Sizes(Analyze),
    /// Draw how long operations took when; with --out also write heatmap_latency.csv, and heatmap_offset.csv of where on the disk requests
    /// were when.
    #[command(after_help = EXIT_CODES)]
    Heatmap(Analyze),
    /// Print how many different blocks of files and disks are read and written, and how many again; with --out also write footprint.csv,
    /// and footprint_windows.csv of the working set over time.
    #[command(after_help = EXIT_CODES)]
    Footprint(Analyze),
    /// Print where operations are, one after the other: how many are sequential, jump or keep a stride, by disk, file and process; with
    /// --out also write pattern.csv.
    #[command(after_help = EXIT_CODES)]
    Pattern(Analyze),
    /// Print when operations begin, one after the other: the times between them, and how bursty they are; with --out also write
    /// arrivals.csv.
    #[command(after_help = EXIT_CODES)]
    Arrivals(Analyze),
    /// Print how many operations are under way, held against Little's law; with --out also write queue.csv and queue_depth.csv.
    #[command(after_help = EXIT_CODES)]
    Queue(Analyze),
    /// Print where the time of calls went: no request (page cache, CPU), queue, device, and the rest (file system, CPU); with --out also write path.csv.
    #[command(after_help = EXIT_CODES)]
    Path(Analyze),
    /// Print how long syncs took and what they forced out; with --out also write sync.csv.
    #[command(after_help = EXIT_CODES)]
    Sync(Analyze),
    /// Print what the page cache did: hits, what was read ahead, what it absorbed; with --out also write cache.csv.
    #[command(after_help = EXIT_CODES)]
    Cache(Analyze),
    /// Do all of these at once: print the summary, write every table, and report.html, a page with charts that needs nothing else.
    #[command(after_help = EXIT_CODES)]
    Report(Analyze),
    /// Print whether captures can be trusted: loss, layers, attribution, clocks; with --out also write quality.csv.
    #[command(after_help = EXIT_CODES)]
    Quality(Analyze),
    /// Print which processes, cgroups, files and disks did most; with --out also write top.csv.
    #[command(after_help = EXIT_CODES)]
    Top(Top),
}

#[derive(Debug, Args)]
struct Import {
    /// What the trace is.
    #[arg(long, value_enum)]
    format: TypedTrace,
    /// Its files, CSV in order of time, as they are or compressed by gzip, zstd or xz; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the capture goes: a new directory, or an empty one.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TypedTrace {
    /// MSR Cambridge: CSV with response times.
    Msr,
    /// Alibaba block traces: CSV without.
    Alibaba,
    /// Tencent CBS: CSV without, and with times in seconds.
    Tencent,
    /// What blktrace(8) writes: all DEVICE.blktrace.CPU of one or of several devices, or a stream of `blkparse -d` or `blktrace -o -`.
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
    /// Which share, and of how many: 2/5 is the second of five.
    #[arg(long, value_name = "N/M", default_value = "1/1", value_parser = share)]
    share: (u64, u64),
    /// The file.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// A file that is there already, whose partials are not made again; may be given several times. A report of many blocks takes two rounds: the second
    /// with the files of all shares of the first.
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// The analysis, with its options.
    #[command(subcommand)]
    analysis: Box<Typed>,
}

#[derive(Debug, Args)]
struct Merge {
    /// A file that `partial` wrote. May be given several times.
    #[arg(long, value_name = "FILE", required = true)]
    from: Vec<PathBuf>,
    /// The analysis, with the options that `partial` was given.
    #[command(subcommand)]
    analysis: Box<Typed>,
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
    /// How many words of each command line to leave: 1 is the name of the program, 0 leaves no command line at all.
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
    /// Capture directories; several are merged into one result.
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// How captures are analyzed, and where results go.
#[derive(Debug, Args)]
struct How {
    #[command(flatten)]
    selection: Selecting,
    /// Write tables into this directory, which is created if needed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What these files are: csv, parquet or json.
    #[arg(long, value_enum, default_value = "csv")]
    format: TypedFormat,
    /// Write CSV for spreadsheets: an apostrophe stands before each name that begins with `=`, `+`, `-`, `@`, a tab or an end of a line, so that it is not
    /// taken for a formula, and names are in quotes. Names are not exact then.
    #[arg(long, conflicts_with = "format")]
    safe_csv: bool,
    /// Analyze what is there of a capture of which not all rows are there that were written, or too many. Without it the layers
    /// that are concerned are left out. Each output says how many of how many, and no total of the machine is given.
    #[arg(long)]
    partial_rows: bool,
    /// Rules (TOML) that say which system a process belongs to, asked before the built-in ones.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Which level of stacked devices (loop, dm, md) requests and ratios are taken at: `lowest` of those recorded, or a
    /// number; 0 are disks that stand on no other.
    #[arg(long, value_name = "N", default_value = "lowest", value_parser = level)]
    level: Wanted,
    /// Threads that scan [default: one for each CPU].
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// What it may take of memory: less is done at once where that is little, and what would take more is refused.
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = memory)]
    memory: Budget,
    /// Keep every duration for exact percentiles, in memory that grows with the capture: 16 bytes for each.
    #[arg(long)]
    exact: bool,
    /// Keep what has been counted in CAPTURE.partials beside each capture, and use what is there: of a capture that has grown only what is new is
    /// read.
    #[arg(long)]
    cache: bool,
}

#[derive(Debug, Args)]
struct Compare {
    /// Two capture directories: the one that is known, and the one that is held against it.
    #[arg(value_names = ["BEFORE", "AFTER"], num_args = 2, required_unless_present = "before", conflicts_with = "before")]
    captures: Vec<PathBuf>,
    /// Repeats of what is known: captures of the same workload.
    #[arg(long, value_name = "CAPTURE", num_args = 1.., requires = "after")]
    before: Vec<PathBuf>,
    /// Repeats of what is held against it.
    #[arg(long, value_name = "CAPTURE", num_args = 1.., requires = "before")]
    after: Vec<PathBuf>,
    /// How often an interval is to have the true value, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "95", value_parser = confidence)]
    confidence: f64,
    /// How long the windows are that are resampled where there is one capture on each side.
    #[arg(long, value_name = "TIME", value_parser = window)]
    window: Option<Duration>,
    #[command(flatten)]
    how: How,
}

fn confidence(typed: &str) -> Result<f64, String> {
    let percent = typed.trim_end_matches('%').trim().parse().ok().filter(|percent| (50.0..100.0).contains(percent));
    percent.map(|percent: f64| percent / 100.0).ok_or_else(|| "expected a percentage from 50 to below 100".to_owned())
}

#[derive(Debug, Args)]
struct Timeline {
    /// How long a window is, such as 100ms [default: 1s, doubled until there are at most 5000].
    #[arg(long, value_name = "TIME", value_parser = window)]
    window: Option<Duration>,
    #[command(flatten)]
    analyze: Analyze,
}

#[derive(Debug, Args)]
struct OneByOne {
    /// How many operations there may be at most; viewers take no more than some millions.
    #[arg(long, value_name = "N", default_value_t = crate::trace::MOST)]
    most: usize,
    #[command(flatten)]
    analyze: Analyze,
}

#[derive(Debug, Args)]
struct Top {
    /// By what one does more than another.
    #[arg(long, value_enum, default_value = "bytes")]
    by: TypedBy,
    /// How many have a row of their own in each scope and layer; all others have one together.
    #[arg(long, value_name = "N", default_value = "100")]
    most: usize,
    #[command(flatten)]
    analyze: Analyze,
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TypedBy {
    /// Bytes, read and written.
    Bytes,
    /// Operations.
    Ops,
    /// The sum of their durations.
    Time,
}

impl From<TypedBy> for By {
    fn from(typed: TypedBy) -> By {
        match typed {
            TypedBy::Bytes => By::Bytes,
            TypedBy::Ops => By::Ops,
            TypedBy::Time => By::Time,
        }
    }
}

fn memory(typed: &str) -> Result<Budget, String> {
    let least = Budget::LEAST;
    let size = typed.parse().ok().filter(|size: &ByteSize| *size >= least);
    size.map(Budget::new)
        .ok_or_else(|| format!("expected a size such as 512MiB, and no less than {}", least.display().iec()))
}

fn window(typed: &str) -> Result<Duration, String> {
    let window =
        humantime::parse_duration(typed).ok().filter(|window| i64::try_from(window.as_nanos()).is_ok_and(|ns| ns > 0));
    window.ok_or_else(|| "expected a time above zero, such as 1s or 100ms".to_owned())
}

/// What of the captures is asked for. Names are globs, which may be given several times.
#[derive(Debug, Args)]
#[command(next_help_heading = "What of the captures is asked for")]
struct Selecting {
    /// Only what began then or later: a time such as 2026-11-22T16:00:00Z, or how long after the start, such as 5m30s.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    since: Option<Moment>,
    /// Only what began before.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    until: Option<Moment>,
    /// Only this layer: syscall, vfs, fs or block. May be given several times.
    #[arg(long = "layer", value_name = "LAYER", value_parser = layer)]
    layers: Vec<Layer>,
    /// Only systems of this name, which may be a glob such as `ceph*`. May be given several times, as all that follow.
    #[arg(long = "system", value_name = "NAME", value_parser = Pattern::parse)]
    systems: Vec<Pattern>,
    /// Only processes of this id, or of this command name.
    #[arg(long = "process", value_name = "PID|NAME", value_parser = Pattern::parse)]
    processes: Vec<Pattern>,
    /// Only cgroups of this path or id.
    #[arg(long = "cgroup", value_name = "PATH|ID", value_parser = Pattern::parse)]
    cgroups: Vec<Pattern>,
    /// Only files of this path, such as `/var/lib/*.wal`, or of this id: major:minor:inode.
    #[arg(long = "file", value_name = "PATH|ID", value_parser = Pattern::parse)]
    files: Vec<Pattern>,
    /// Only what is done to disks of this name, or of this number: major:minor.
    #[arg(long = "device", value_name = "NAME|ID", value_parser = Pattern::parse)]
    devices: Vec<Pattern>,
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

/// What the user typed, as options. Prints help or a usage error and ends the process where that is what it takes.
pub fn parse() -> options::Command {
    message::parsed::<Cli>().command.into()
}

impl From<Command> for options::Command {
    fn from(command: Command) -> Self {
        match command {
            Command::Analysis(typed) => options::Command::Analyze(Box::new(typed.into())),
            Command::Trace(typed) => {
                options::Command::Analyze(Box::new(typed.analyze.into_options(Analysis::Trace(typed.most), None)))
            }
            Command::Compare(typed) => typed.into_command(),
            Command::Import(Import { format, files, out }) => {
                options::Command::Import(crate::import::Import { trace: format.into(), files, out })
            }
            Command::Partial(Partial { share, to, from, analysis }) => {
                let partials = Partials::To { share, file: to, from };
                options::Command::Partial(Box::new(options::Analyze { partials, ..(*analysis).into() }))
            }
            Command::Merge(Merge { from, analysis }) => {
                let partials = Partials::From(from);
                options::Command::Analyze(Box::new(options::Analyze { partials, ..(*analysis).into() }))
            }
            Command::Recover(recover) => options::Command::Recover(recover.captures),
            Command::Redact(Redact { captures, words }) => {
                options::Command::Redact(crate::redact::Redact { captures, words })
            }
            Command::Schema => options::Command::Schema,
        }
    }
}

impl From<Typed> for options::Analyze {
    fn from(typed: Typed) -> Self {
        match typed {
            Typed::Summary(typed) => typed.into_options(Analysis::Summary, None),
            Typed::Amplification(typed) => typed.into_options(Analysis::Amplification, None),
            Typed::Latency(typed) => typed.into_options(Analysis::Latency, None),
            Typed::Timeline(typed) => typed.analyze.into_options(Analysis::Timeline, typed.window),
            Typed::Sizes(typed) => typed.into_options(Analysis::Sizes, None),
            Typed::Heatmap(typed) => typed.into_options(Analysis::Heatmap, None),
            Typed::Footprint(typed) => typed.into_options(Analysis::Footprint, None),
            Typed::Pattern(typed) => typed.into_options(Analysis::Pattern, None),
            Typed::Arrivals(typed) => typed.into_options(Analysis::Arrivals, None),
            Typed::Queue(typed) => typed.into_options(Analysis::Queue, None),
            Typed::Path(typed) => typed.into_options(Analysis::Path, None),
            Typed::Sync(typed) => typed.into_options(Analysis::Sync, None),
            Typed::Cache(typed) => typed.into_options(Analysis::Cache, None),
            Typed::Report(typed) => typed.into_options(Analysis::Report, None),
            Typed::Quality(typed) => typed.into_options(Analysis::Quality, None),
            Typed::Top(typed) => typed.analyze.into_options(Analysis::Top(typed.by.into(), typed.most), None),
        }
    }
}

impl Analyze {
    fn into_options(self, analysis: Analysis, window: Option<Duration>) -> options::Analyze {
        self.how.into_options(analysis, self.captures, window)
    }
}

impl Compare {
    fn into_command(self) -> options::Command {
        let Compare { mut captures, before, after, confidence, window, how } = self;
        let (before, after) = match captures.pop() {
            Some(last) => (captures, vec![last]),
            None => (before, after),
        };
        let analyze = how.into_options(Analysis::Compare, Vec::new(), window);
        options::Command::Compare(Box::new(options::Compare { before, after, analyze, confidence }))
    }
}

impl How {
    fn into_options(self, analysis: Analysis, captures: Vec<PathBuf>, window: Option<Duration>) -> options::Analyze {
        let available = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        options::Analyze {
            analysis,
            captures,
            selection: self.selection.into(),
            out: self.out,
            format: if self.safe_csv { Format::SafeCsv } else { self.format.into() },
            partial_rows: if self.partial_rows { PartialRows::Taken } else { PartialRows::LeftOut },
            rules: self.rules,
            level: self.level,
            threads: self.threads.unwrap_or_else(available),
            precision: if self.exact { Precision::Exact } else { Precision::DEFAULT },
            window,
            memory: self.memory,
            partials: if self.cache { Partials::Cached } else { Partials::None },
            stretch_rows: None,
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
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
            for argument in sub.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", sub.get_name(), argument.get_id());
            }
        }
    }
}
