//! The command line, and from it plain options. What is typed is checked here, before anything is touched.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use iostrata_capture::exit::Usage;
use iostrata_capture::manifest::Privacy;
use iostrata_capture::op::Layer;
use iostrata_capture::system::Systems;

use crate::host::{cgroups, devices, mounts, processes};
use crate::memory::Memory;
use crate::options::{Filter, Live, MECHANISMS, Record};
use crate::sink::MinFree;
use crate::sink::live::Format;

/// Records a machine's I/O at every layer into rotating Parquet.
#[derive(Debug, Parser)]
#[command(name = "iostrata", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 an error; 2 wrong usage; 3 the capture is finished, but events were lost, its \
books do not balance, or nothing came of what the filters name. With -- COMMAND, a command that failed gives its own code instead.";

const STATUS_CODES: &str = "Exit codes: 0 it goes on and all is well; 1 an error, or no answer; 2 wrong usage; 3 it goes on, but \
something was lost or is wrong; 4 nothing is being recorded there.";

const LIVE: &str = "Print completed operations on standard output as they come, with or without --out.

SYSTEM is whose it is, by the same rules as in `iostrata-analyze summary`, or in parentheses what a block request without \
an owner carries. EVENT is layer and operation. PID, TID and COMM of a block request are its owner's. TIME is when the \
operation began, in UTC; rows are in this order within a quarter of a second. SIZE is bytes done, OFFSET bytes into the \
file or disk, RET what was returned or a negative errno; what is not known or does not apply is `-`, in JSON null.

A slow reader does not slow the recording: what it cannot take is not shown, and counted. A reader that goes away ends \
the recording, or with --out the view only. The output of -- COMMAND goes to the same place.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record into a new capture directory, print what completes, or both.
    Record(Box<RecordArgs>),
    /// Tell how the recording into a directory is.
    #[command(after_help = STATUS_CODES)]
    Status(StatusArgs),
    /// Tell what this machine lets iostrata record, probe by probe.
    Check,
    /// Wait for the recorder's word, then become a command.
    #[command(name = crate::command::LAUNCH, hide = true)]
    Launch {
        /// Where the word comes from.
        gate: OsString,
        /// The limit of open files that the command is to have.
        files: String,
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// `iostrata status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The directory of the capture.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// How to print it.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: FormatName,
}

/// `iostrata record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Write a capture into this directory, which is new or empty.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the capture in DIR, if there is one, as a new segment of it. What an earlier recording left unfinished is
    /// recovered.
    #[arg(long, requires = "out")]
    resume: bool,
    /// Print completed operations on standard output as they come, with or without --out.
    #[arg(long, long_help = LIVE)]
    live: bool,
    /// How --live prints.
    #[arg(long, value_name = "FORMAT", default_value = "text", requires = "live")]
    format: FormatName,
    /// For --live: rules (TOML) that say which system a process belongs to, asked before the built-in ones.
    #[arg(long, value_name = "FILE", requires = "live")]
    rules: Option<PathBuf>,
    /// Stop after this long, such as 60s, 5m or 2h.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Record I/O of this disk only, such as nvme0n1, and calls on the file systems that stand on it; may be given several times.
    #[arg(long, value_name = "DISK")]
    device: Vec<String>,
    /// Record I/O of this process and its descendants only; may be given several times. As with --cgroup, --comm and COMMAND, what no
    /// process owns (journal, metadata, flushes) is recorded too, on --device or else on the disks that the process uses.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Vec<u32>,
    /// Record I/O of this cgroup (version 2) and those below it only.
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// Record I/O of threads with this command name only (15 characters at most).
    #[arg(long, value_name = "NAME")]
    comm: Option<String>,
    /// The layers to record.
    #[arg(long, value_delimiter = ',', default_value = "syscall,vfs,fs,block")]
    layers: Vec<LayerName>,
    /// Do without this mechanism of the kernel; may be given several times.
    #[arg(long, value_name = "MECHANISM", value_parser = MECHANISMS)]
    avoid: Vec<String>,
    /// Close a part when it has grown to this size. It is also closed when it has 1,024 row groups; each flush ends the open row group.
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = size, requires = "out")]
    rotate_size: u64,
    /// Close a part when it has been open this long.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, requires = "out")]
    rotate_interval: Duration,
    /// Write rows out and make them durable after at most this long: what a crash or a power cut can cost.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, requires = "out")]
    flush_interval: Duration,
    /// Leave so much free on the disk of the capture, as a size or a share of the disk: where there is less, recording pauses,
    /// what comes is counted as lost, and it goes on when there is room.
    #[arg(long, value_name = "SIZE|%", default_value = "5%", value_parser = min_free, requires = "out")]
    min_free: MinFree,
    /// Let the capture take no more than this: the oldest parts are removed for new ones.
    #[arg(long, value_name = "SIZE", value_parser = disk_size, requires = "out")]
    max_disk: Option<u64>,
    /// Let the recorder take no more memory than this. Where more is needed because the disk is slow, events are lost and counted.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    memory: u64,
    /// Size of all ring buffers between kernel and recorder together [default: an eighth of --memory].
    #[arg(long, value_name = "SIZE", value_parser = ring_size)]
    ring_size: Option<u64>,
    /// Let recorder and kernel programs together take no more than this share of one CPU. Where they would, not everything is
    /// recorded: what begins in one of 2, 4, … 256 moments, and each row says for how many events it stands.
    #[arg(long, value_name = "PCT", value_parser = cpu_limit)]
    cpu_limit: Option<f64>,
    /// Measure for how long system calls wait for a CPU, runnable and not running: `runnable_ns` of each, and a column of
    /// `iostrata-analyze path`. It costs something at each switch between threads, of all that run on the machine.
    #[arg(long, requires = "out")]
    run_queue: bool,
    /// What of command lines and paths the capture may have: all (none), hashes with a key that is not kept (hash), or nothing
    /// (drop). Names of programs stay in any case.
    #[arg(long, value_name = "LEVEL", default_value = "none")]
    privacy: PrivacyName,
    /// After COMMAND has ended, go on recording until what it wrote has been written back, but no longer than this.
    #[arg(long, value_name = "TIME", default_value = "40s", value_parser = humantime::parse_duration)]
    wait_writeback: Duration,
    /// Run this command, and record it and its children only.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// A format by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// A layer by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LayerName {
    Syscall,
    Vfs,
    Fs,
    Block,
}

/// A level of privacy by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PrivacyName {
    None,
    Hash,
    Drop,
}

/// Less would be too little for the parts that are open at a time.
const MIN_DISK_BYTES: u64 = 16 << 20;

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|e| format!("{e}; expected a time such as 60s or 5m"))?;
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
    /// What was typed, looked up and checked.
    pub fn options(self) -> Result<Record> {
        if self.out.is_none() && !self.live {
            bail!(Usage("record: expected --out DIR, --live, or both".to_owned()));
        }
        if let Some(comm) = &self.comm
            && (comm.is_empty() || comm.len() > 15)
        {
            let why = "expected 1 to 15 bytes, the kernel keeps no more of a command's name";
            bail!(Usage(format!("--comm {comm}: {why}")));
        }
        let mut layers: Vec<Layer> = Vec::new();
        for name in &self.layers {
            let layer = match name {
                LayerName::Syscall => Layer::Syscall,
                LayerName::Vfs => Layer::Vfs,
                LayerName::Fs => Layer::Fs,
                LayerName::Block => Layer::Block,
            };
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        if self.run_queue && !layers.contains(&Layer::Syscall) {
            bail!(Usage("--run-queue: expected the layer syscall among --layers, it is of system calls".to_owned()));
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
        if !self.pid.is_empty() && !self.command.is_empty() {
            bail!(Usage("--pid and -- COMMAND: expected one of them, each names the processes to record".to_owned()));
        }
        let filter = Filter {
            devices: self.device.iter().map(|name| devices::named(name)).collect::<Result<_>>()?,
            pids: self.pid,
            cgroup: self.cgroup.as_deref().map(cgroup).transpose()?,
            comm: self.comm,
        };
        let memory = Memory::divide(self.memory, self.ring_size)
            .map_err(|why| Usage(format!("--memory {}: {why}", bytesize::ByteSize(self.memory))))?;
        let live = self.live.then(|| live(self.format, self.rules.as_deref())).transpose()?;
        Ok(Record {
            out: self.out,
            resume: self.resume,
            live,
            duration: self.duration,
            layers,
            avoid: self.avoid,
            filter,
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
    Ok(Live { format, systems: rules.map_or_else(Systems::built_in, Systems::with_file)? })
}

fn cgroup(given: &str) -> Result<cgroups::Cgroup> {
    let root = mounts::cgroup2().ok_or_else(|| anyhow!("--cgroup {given}: cgroup v2 is not mounted"))?;
    cgroups::named(Path::new(&root), given).map_err(|e| anyhow!(e))
}
