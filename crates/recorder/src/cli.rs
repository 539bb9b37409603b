//! Command line, converted to plain options. Arguments are validated here, before anything is changed.

mod hist;
mod snoop;
mod stat;
mod top;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, FromArgMatches, Parser, Subcommand, ValueEnum};
use iostrata_capture::exit::Usage;
use iostrata_capture::manifest::Privacy;
use iostrata_capture::op::Layer;
use iostrata_capture::system::Systems;

use crate::groups::READING_GROUPS;
use crate::groups::readings::ReadingGroup;
use crate::host::{cgroups, devices, mounts, processes};
use crate::memory::Memory;
use crate::options::{Filter, Live, MECHANISMS, Record};
use crate::sink::MinFree;
use crate::sink::live::{Form, Format};
use crate::status::StatusFormat;

/// Records a machine's I/O at every layer into rotating Parquet.
#[derive(Debug, Parser)]
#[command(name = "iostrata", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Subcommand to run.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 success; 1 error; 2 wrong usage; 3 the capture is finished, but events were lost, the \
event accounting is inconsistent, or no rows match the filters. With -- COMMAND, the exit code of a failed command takes precedence.";

const STATUS_CODES: &str = "Exit codes: 0 recording without problems; 1 error, or no answer; 2 wrong usage; 3 recording, but \
events were lost or there is another problem; 4 not being recorded.";

const LIVE: &str = "Print completed operations on standard output as they occur, with or without --out.

SYSTEM is the attributed system, by the same rules as in `iostrata-analyze summary`; for a block request without an \
owner, the class of its data in parentheses. EVENT is layer and operation. PID, TID and COMM of a block request are its \
owner's. TIME is the start of the operation, in UTC; rows are in this order within a quarter of a second. SIZE is the \
number of bytes completed, OFFSET the position in the file or on the disk in bytes, RET the return value or a negative \
errno. Unknown or inapplicable values are `-`, in JSON null.

A slow reader does not slow the recording: rows that it cannot take are not shown, but counted. A reader that closes the \
output ends the recording, or with --out only the view. The output of -- COMMAND goes to the same place.";

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record to a new capture directory, print completed operations, or both.
    Record(Box<RecordArgs>),
    /// Show latency histograms and requests in flight of each disk, counted in the kernel.
    #[command(after_help = hist::HELP, mut_arg("device", requests_only))]
    Hist(hist::HistArgs),
    /// Show each completed block request, or only slow ones, with its process and file.
    #[command(after_help = snoop::HELP)]
    Snoop(snoop::SnoopArgs),
    /// Run a command, and print a summary of its I/O.
    #[command(after_help = stat::HELP)]
    Stat(stat::StatArgs),
    /// Show disks, systems, processes, cgroups or files by their requests, live, counted in the kernel.
    #[command(after_help = top::HELP, mut_arg("device", requests_only))]
    Top(Box<top::TopArgs>),
    /// Show the status of a recording.
    #[command(after_help = STATUS_CODES)]
    Status(StatusArgs),
    /// Show what iostrata can record on this machine, probe by probe.
    Check,
    /// Wait for the release by the recorder, then become a command.
    #[command(name = crate::command::LAUNCH, hide = true)]
    Launch {
        /// Path of the pipe with the release.
        gate: OsString,
        /// Limit of open files for the command.
        files: String,
        /// Command to run.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// Help of `--device` for commands that see only requests of disks.
fn requests_only(device: clap::Arg) -> clap::Arg {
    device.help("Only requests of this disk, such as nvme0n1 (repeatable)")
}

/// `iostrata status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Directory of the capture.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Output format. prometheus: all metrics in its text format, for example for the textfile collector of node_exporter.
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = status_format())]
    pub format: StatusFormat,
}

fn status_format() -> impl TypedValueParser<Value = StatusFormat> {
    PossibleValuesParser::new(["text", "json", "prometheus"]).map(|name| match name.as_str() {
        "json" => StatusFormat::Json,
        "prometheus" => StatusFormat::Prometheus,
        _ => StatusFormat::Text,
    })
}

/// `iostrata record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Write a capture to this directory, which must be new or empty.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the capture in DIR, if there is one, as a new segment. An interrupted recording is recovered first.
    #[arg(long, requires = "out")]
    resume: bool,
    /// Print completed operations on standard output as they occur, with or without --out.
    #[arg(long, long_help = LIVE)]
    live: bool,
    /// Output format of --live.
    #[arg(long, value_name = "FORMAT", default_value = "text", requires = "live")]
    format: FormatName,
    /// Rules (TOML) of --live that map processes to systems, applied before the built-in ones.
    #[arg(long, value_name = "FILE", requires = "live")]
    rules: Option<PathBuf>,
    /// Stop after this time, such as 60s, 5m or 2h.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    only: OnlyArgs,
    /// Record only block requests that took at least this long from queueing to completion, such as 10ms, and those of unknown latency. The others are
    /// counted in the kernel. Amplification and block percentiles are then unknown.
    #[arg(long, value_name = "TIME", value_parser = latency, conflicts_with = "cpu_limit")]
    min_latency: Option<Duration>,
    /// Layers to record, and groups that count in the kernel (with --out).
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "syscall,vfs,fs,block", value_parser = layer_names())]
    layers: Vec<String>,
    /// Time between two readings of groups that count in the kernel.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, requires = "out")]
    interval: Duration,
    /// Do not use this attach type (repeatable).
    #[arg(long, value_name = "MECHANISM", value_parser = MECHANISMS)]
    avoid: Vec<String>,
    /// Close a part at this size. A part is also closed after 1,024 row groups; each flush ends the open row group.
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = size, requires = "out")]
    rotate_size: u64,
    /// Close a part at this age.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, requires = "out")]
    rotate_interval: Duration,
    /// Write rows and make them durable after at most this time. A crash or power failure costs this interval and the time of a flush.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, requires = "out")]
    flush_interval: Duration,
    /// Free space to leave on the disk of the capture, as a size or a share of the disk. Below it, recording pauses and new events are
    /// counted as lost; it continues when there is enough space.
    #[arg(long, value_name = "SIZE|%", default_value = "5%", value_parser = min_free, requires = "out")]
    min_free: MinFree,
    /// Size limit of the capture: the oldest parts are removed for new ones.
    #[arg(long, value_name = "SIZE", value_parser = disk_size, requires = "out")]
    max_disk: Option<u64>,
    /// Memory limit of the recorder. If more is needed because the disk is slow, events are lost and counted.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    memory: u64,
    /// Total size of the ring buffers between kernel and recorder [default: an eighth of --memory].
    #[arg(long, value_name = "SIZE", value_parser = ring_size)]
    ring_size: Option<u64>,
    /// CPU limit of recorder and BPF programs together, in percent of one CPU. Above it, recording is sampled: only operations that
    /// begin in one of 2, 4, … 256 time slices are recorded. Each row has a weight, the number of events that it represents.
    #[arg(long, value_name = "PCT", value_parser = cpu_limit)]
    cpu_limit: Option<f64>,
    /// Measure the run-queue latency of system calls, the time runnable but not running: `runnable_ns` of each, and a column of
    /// `iostrata-analyze path`. Adds overhead to every context switch on the machine.
    #[arg(long, requires = "out")]
    run_queue: bool,
    /// Redaction of command lines and paths: none, hashes with a key that is not stored (hash), or removal (drop). Names of programs
    /// are always kept.
    #[arg(long, value_name = "LEVEL", default_value = "none")]
    privacy: PrivacyName,
    /// After COMMAND has ended, continue recording until its data is written back, but no longer than this.
    #[arg(long, value_name = "TIME", default_value = "40s", value_parser = humantime::parse_duration)]
    wait_writeback: Duration,
    /// Run this command, and record only it and its children. As with --pid, --cgroup and --comm, I/O not attributable to a process (journal,
    /// metadata, flushes) is included, on --device or else on the disks that the process uses.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Filters by disk and by process.
#[derive(Debug, Default, Args)]
struct OnlyArgs {
    /// Only I/O of this disk, such as nvme0n1, and calls on the file systems on it (repeatable).
    #[arg(long, value_name = "DISK")]
    device: Vec<String>,
    /// Only I/O of this process and its descendants (repeatable).
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Vec<u32>,
    /// Only I/O of this cgroup (version 2) and its descendants.
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// Only I/O of threads with this command name (at most 15 characters).
    #[arg(long, value_name = "NAME")]
    comm: Option<String>,
}

impl OnlyArgs {
    /// Looks up and validates the filters.
    fn filter(self, has_command: bool) -> Result<Filter> {
        if let Some(comm) = &self.comm
            && (comm.is_empty() || comm.len() > 15)
        {
            let why = "expected 1 to 15 bytes, the kernel's limit for command names";
            bail!(Usage(format!("--comm {comm}: {why}")));
        }
        for pid in &self.pid {
            match processes::process_of(*pid) {
                None => bail!("--pid {pid}: there is no such process"),
                Some(process) if process != *pid => {
                    bail!("--pid {pid}: is a thread of process {process}; expected the process, --pid {process}")
                }
                Some(_) => {}
            }
        }
        if !self.pid.is_empty() && has_command {
            bail!(Usage("--pid and -- COMMAND: expected only one of them, both select processes".to_owned()));
        }
        Ok(Filter {
            devices: self.device.iter().map(|name| devices::named(name)).collect::<Result<_>>()?,
            pids: self.pid,
            cgroup: self.cgroup.as_deref().map(cgroup).transpose()?,
            comm: self.comm,
        })
    }
}

/// Name of an output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// Text output.
    Text,
    /// One JSON object per line.
    Json,
}

/// Names of the layers and of the probe groups that are no layers.
fn layer_names() -> PossibleValuesParser {
    let layers = Layer::ALL.iter().map(|layer| PossibleValue::new(layer.name()).help(layer.doc()));
    let groups = READING_GROUPS.iter().map(|group| PossibleValue::new(group.table.name()).help(group.about));
    layers.chain(groups).collect::<Vec<_>>().into()
}

/// Name of a privacy level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PrivacyName {
    None,
    Hash,
    Drop,
}

/// A smaller capture would have too little space for the parts that are open at the same time.
const MIN_DISK_BYTES: u64 = 16 << 20;

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; expected a time such as 60s or 5m")).and_then(in_range)
}

fn latency(text: &str) -> Result<Duration, String> {
    let latency = humantime::parse_duration(text).map_err(|e| format!("{e}; expected a time such as 10ms"))?;
    match latency.as_nanos() {
        0 => Err("expected a time above zero, such as 10ms".into()),
        1..=3_600_000_000_000 => Ok(latency),
        _ => Err("expected at most one hour".into()),
    }
}

fn in_range(duration: Duration) -> Result<Duration, String> {
    match duration.as_millis() {
        0..100 => Err("expected at least 100ms".into()),
        100..=315_360_000_000 => Ok(duration),
        _ => Err("expected at most ten years".into()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize = text.parse().map_err(|e| format!("{e}; expected a size such as 128MiB"))?;
    match size.as_u64() {
        0..65_536 => Err("expected at least 64KiB".into()),
        bytes if bytes > 1 << 40 => Err("expected at most 1TiB".into()),
        bytes => Ok(bytes),
    }
}

fn min_free(text: &str) -> Result<MinFree, String> {
    if let Some(share) = text.strip_suffix('%') {
        let percent = share.trim().parse().ok().filter(|percent| *percent < 100);
        return percent.map(MinFree::Percent).ok_or_else(|| "expected a whole number below 100 before %".into());
    }
    let size: bytesize::ByteSize = text.parse().map_err(|e| format!("{e}; expected a size such as 1GiB, or 5%"))?;
    Ok(MinFree::Bytes(size.as_u64()))
}

fn cpu_limit(text: &str) -> Result<f64, String> {
    let percent: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    let cpus = crate::host::possible_cpus().map_err(|e| format!("{e:#}"))?;
    let most = 100.0 * f64::from(cpus);
    percent
        .filter(|percent| (0.1..=most).contains(percent))
        .ok_or_else(|| format!("expected percent of one CPU, from 0.1 to {most} on this machine"))
}

fn disk_size(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize = text.parse().map_err(|e| format!("{e}; expected a size such as 10GiB"))?;
    match size.as_u64() {
        bytes if bytes < MIN_DISK_BYTES => Err("expected at least 16MiB".into()),
        bytes => Ok(bytes),
    }
}

fn ring_size(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes > 1 << 30 => Err("expected at most 1GiB".into()),
        bytes => Ok(bytes),
    }
}

impl RecordArgs {
    /// Returns the arguments of a recording that another command makes, before it sets its own. The defaults are declared once.
    fn defaults() -> Result<RecordArgs> {
        let nothing = RecordArgs::augment_args(clap::Command::new("record")).try_get_matches_from(["record"])?;
        Ok(RecordArgs::from_arg_matches(&nothing)?)
    }

    /// Looks up and validates the arguments.
    pub fn options(self) -> Result<Record> {
        if self.out.is_none() && !self.live {
            bail!(Usage("record: expected --out DIR, --live, or both".to_owned()));
        }
        let is_named = |name: &str| self.layers.iter().any(|layer| layer == name);
        let layers: Vec<Layer> = Layer::ALL.iter().copied().filter(|layer| is_named(layer.name())).collect();
        let groups = READING_GROUPS.iter().copied().filter(|group| is_named(group.table.name()));
        let groups: Vec<&ReadingGroup> = groups.collect();
        if let (Some(group), None) = (groups.first(), &self.out) {
            let why = "expected --out DIR, its rows are only written";
            bail!(Usage(format!("--layers {}: {why}", group.table)));
        }
        if self.run_queue && !layers.contains(&Layer::Syscall) {
            bail!(Usage("--run-queue: expected the layer syscall in --layers, it measures system calls".to_owned()));
        }
        if self.min_latency.is_some() && !layers.contains(&Layer::Block) {
            bail!(Usage("--min-latency: expected the layer block in --layers, it selects requests".to_owned()));
        }
        let filter = self.only.filter(!self.command.is_empty())?;
        let memory = Memory::divide(self.memory, self.ring_size)
            .map_err(|why| Usage(format!("--memory {}: {why}", bytesize::ByteSize(self.memory))))?;
        let live = self.live.then(|| live(self.format, self.rules.as_deref())).transpose()?;
        Ok(Record {
            out: self.out,
            resume: self.resume,
            live,
            duration: self.duration,
            layers,
            groups,
            interval: self.interval,
            avoid: self.avoid,
            filter,
            min_latency: self.min_latency,
            command: (!self.command.is_empty()).then_some(self.command),
            writeback_wait: self.wait_writeback,
            rotate_bytes: self.rotate_size,
            rotate_interval: self.rotate_interval,
            flush_interval: self.flush_interval,
            min_free: self.min_free,
            max_disk_bytes: self.max_disk,
            memory,
            cpu_limit_percent: self.cpu_limit,
            run_queue: self.run_queue,
            privacy: match self.privacy {
                PrivacyName::None => Privacy::None,
                PrivacyName::Hash => Privacy::Hash,
                PrivacyName::Drop => Privacy::Drop,
            },
        })
    }
}

fn live(format: FormatName, rules: Option<&Path>) -> Result<Live> {
    let format = match format {
        FormatName::Text => Format::Text,
        FormatName::Json => Format::Json,
    };
    Ok(Live { form: Form::Operations(format), systems: systems(rules)? })
}

/// Rules that map processes to systems: those of a file, then the built-in ones.
fn systems(file: Option<&Path>) -> Result<Systems> {
    Ok(file.map_or_else(Systems::built_in, Systems::with_file)?)
}

fn cgroup(given: &str) -> Result<cgroups::Cgroup> {
    let root = mounts::cgroup2().ok_or_else(|| anyhow!("--cgroup {given}: cgroup v2 is not mounted"))?;
    cgroups::named(Path::new(&root), given).map_err(|e| anyhow!(e))
}
