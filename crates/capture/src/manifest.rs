//! The manifest: one JSON file that says what the capture is and whether it can be trusted. Its parts are in a list of their own
//! ([`crate::list`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::files;
use crate::ledger::{Amounts, Books};
use crate::{SCHEMA_VERSION, op::Layer};

pub use crate::files::Unnamed;

mod devices;
mod imported;
mod processes;

pub use devices::{Counting, Device, DeviceBook, DeviceCounters, Partition};
pub use processes::{ProcessBook, ProcessCounters};

/// The manifest's name in the capture directory.
pub const FILE_NAME: &str = "manifest.json";

/// The most that is read of one. The books of 8,192 CPUs take half of it.
pub const MOST_BYTES: u64 = 64 << 20;

/// How far the recording has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Everything is attached and rows are being written. A capture that stays so was cut off.
    Recording,
    /// The recorder finished; the books are final.
    Complete,
    /// The recorder was cut off, and its parts were made whole afterwards. What was lost is not known.
    Recovered,
}

/// What the capture is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the tables and of this file.
    pub schema_version: u32,
    /// A random name for this capture (UUID).
    pub capture_id: String,
    /// What each of its parts has in its footer as the capture that it is of. None in captures of recorders whose parts said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts_id: Option<String>,
    /// The id of the segment before this one, where a capture was continued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// Whether the recorder has finished.
    pub state: State,
    /// When everything was attached (RFC 3339).
    pub started_at: String,
    /// When the recorder finished.
    pub stopped_at: Option<String>,
    /// Why it stopped: a signal, the duration, the command's end.
    pub stop_reason: Option<String>,
    /// Version of the recorder.
    pub recorder_version: String,
    /// What of command lines and paths is in the capture.
    #[serde(default)]
    pub privacy: Privacy,
    /// Whether it was measured for how long system calls waited for a CPU (`runnable_ns`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub run_queue: bool,
    /// Where the recorder was cut off and its parts were made whole: the moment, in the time of `ts_ns`, up to which all that had ended is
    /// there, of all CPUs and in all tables. Of what ended later some rows are there and others are not. None where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_until_ns: Option<i64>,
    /// The recorder's command line.
    pub command_line: Vec<String>,
    /// The machine.
    pub host: Host,
    /// How `ts_ns` relates to wall time.
    pub clock: Clock,
    /// For each layer, whether it was captured and how, or why not.
    pub layers: BTreeMap<Layer, LayerState>,
    /// The kernel programs, attached or not.
    pub probes: Vec<Probe>,
    /// What was let through.
    pub filters: Filters,
    /// What came of the filters. None in captures of recorders that left out, under an owner filter, what has no owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtered: Option<Filtered>,
    /// Block devices as they were at the start.
    pub devices: Vec<Device>,
    /// Mounted file systems as they were at the start.
    pub mounts: Vec<Mount>,
    /// Events seen, written and lost.
    pub books: Books,
    /// What of all that happened was recorded, where the CPU time that may be taken was limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Rows against the kernel's own counters, for each device that was recorded whole.
    pub device_books: Vec<DeviceBook>,
    /// What the kernel counted of processes. None in captures of recorders that did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_counters: Option<ProcessCounters>,
    /// Processes that served a FUSE file system while it was recorded: what they do to files serves calls on that one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Server>,
    /// The bounded tables of the kernel side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<MapUse>,
}

/// A process, as the table `process` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Server {
    /// Process (thread group) id.
    pub pid: i32,
    /// When it started.
    pub start_ns: i64,
}

/// How full a bounded table of the kernel side was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MapUse {
    /// Its name.
    pub map: String,
    /// How many entries it may have.
    pub entries: u64,
    /// The most that were seen in it, every ten seconds and at the end; of tables that keep their entries, at the end. None where
    /// nobody looked.
    pub peak: Option<u64>,
    /// Entries that it had no room for, or that went for others; none where the kernel does not tell.
    pub evicted: Option<u64>,
    /// What one entry less does to the capture; empty where that is not said.
    pub effect: String,
}

/// What a capture has of command lines and paths. Names of programs and of devices it always has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privacy {
    /// All of them: there is no privacy.
    #[default]
    None,
    /// For each name in a path, and for each command line, a hash with a key that is not kept.
    Hash,
    /// Nothing.
    Drop,
}

/// What a limited recorder left out. Rows say for how many events they stand.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// What recorder and kernel programs together might take of a CPU.
    pub cpu_limit_percent: f64,
    /// No row has a greater weight: the most that one stood for at any moment, in which nothing need have begun; 1 where all was recorded.
    pub greatest_weight: u32,
    /// How long rows had more than 1.
    pub sampled_ms: u64,
}

impl Manifest {
    /// Whether nothing came of what the filters name: the filter may not be what was meant.
    pub fn is_filter_idle(&self) -> bool {
        let nothing_came = self.filtered.as_ref().is_some_and(|filtered| filtered.rows == Some(0));
        self.filters != Filters::default() && nothing_came && !self.saw_idle_devices()
    }

    /// Whether the filter was for devices alone, and the kernel's counters tell that these did nothing: then no row is the truth.
    pub fn saw_idle_devices(&self) -> bool {
        let idle = |book: &DeviceBook| [book.kernel.read_ops, book.kernel.write_ops, book.kernel.discard_ops] == [0; 3];
        let is_mapped = self.filtered.as_ref().is_none_or(|filtered| filtered.unmapped.is_empty());
        !self.filters.by_owner() && is_mapped && !self.device_books.is_empty() && self.device_books.iter().all(idle)
    }

    /// Whether requests that no process owns are missing, so that no total of a device is whole: a recorder that left them out under an
    /// owner filter.
    pub fn lacks_unowned(&self) -> bool {
        self.filters.by_owner() && self.filtered.as_ref().is_none_or(|filtered| filtered.has_more_disks)
    }

    /// For how many events a row, or an event that was lost, stands at most.
    pub fn greatest_weight(&self) -> u64 {
        self.sampling.map_or(1, |sampling| u64::from(sampling.greatest_weight).max(1))
    }
}

/// The machine that was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Host name.
    pub hostname: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine architecture.
    pub arch: String,
    /// The kernel's id for this boot.
    pub boot_id: String,
    /// Possible CPUs.
    pub cpus: u32,
}

/// `ts_ns` = monotonic time + `offset_ns`; pairs of both clocks show how wall time moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Added to every monotonic time of the capture.
    pub offset_ns: i64,
    /// The two clocks, read at the same moment.
    pub pairs: Vec<ClockPair>,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockPair {
    /// `CLOCK_MONOTONIC`.
    pub monotonic_ns: i64,
    /// `CLOCK_REALTIME`.
    pub wall_ns: i64,
}

/// Whether a layer is in the capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerState {
    /// Whether its rows are in the capture. Where not, the layer is unknown, not zero.
    pub captured: bool,
    /// How it was captured, or why it was not.
    pub how: String,
    /// What this kernel does not let be captured of it: unknown too, and not zero.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

/// One kernel program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The program and where it attaches.
    pub name: String,
    /// Whether it is attached.
    pub attached: bool,
    /// Why not.
    pub why: Option<String>,
}

/// What was let through; empty means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// Whole disks by name.
    pub devices: Vec<String>,
    /// Processes whose trees were recorded, by their ids in the recorder's PID namespace; rows have those of the initial one.
    pub pids: Vec<u32>,
    /// Cgroup path whose subtree was recorded.
    pub cgroup: Option<String>,
    /// Command name.
    pub comm: Option<String>,
    /// The command that was recorded.
    pub command: Option<Vec<String>>,
}

impl Filters {
    /// Whether rows were chosen by who did the I/O, so that a device's counters cannot be expected to agree.
    pub fn by_owner(&self) -> bool {
        !self.pids.is_empty() || self.cgroup.is_some() || self.comm.is_some() || self.command.is_some()
    }

    /// The filters as they were given, such as `--device sda -- fio job.fio`; none where everything was recorded.
    pub fn words(&self) -> Option<String> {
        let mut words: Vec<String> = self.devices.iter().map(|name| format!("--device {name}")).collect();
        words.extend(self.pids.iter().map(|pid| format!("--pid {pid}")));
        words.extend(self.cgroup.iter().map(|path| format!("--cgroup {path}")));
        words.extend(self.comm.iter().map(|name| format!("--comm {name}")));
        words.extend(self.command.iter().map(|command| format!("-- {}", command.join(" "))));
        (!words.is_empty()).then(|| words.join(" "))
    }
}

/// What came of the filters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filtered {
    /// Rows of operations and requests that the filters were for: with an owner filter those of the selected processes, else all.
    /// None where the recording was cut off.
    pub rows: Option<u64>,
    /// With an owner filter: the disks of which requests without an owner (journal, metadata, flushes, data whose owner is not
    /// known) are recorded as well, so that totals are whole.
    pub disks: Vec<FilteredDisk>,
    /// Whether there were more disks than could be followed.
    pub has_more_disks: bool,
    /// With a device filter: file systems of which it could not be found out whether they stand on the disks, and so left out.
    pub unmapped: Vec<Unmapped>,
}

/// A disk that the selected processes used, or that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilteredDisk {
    /// Its name; `major:minor` where it is gone.
    pub name: String,
    /// `major << 20 | minor`.
    pub dev: i32,
    /// When a selected process used it first, by the clock of `ts_ns`; none where it was recorded from the start.
    pub since_ns: Option<i64>,
    /// Left out: I/O of processes that are not selected.
    pub others: Amounts,
    /// Left out: I/O without an owner before `since_ns`.
    pub before_use: Amounts,
}

/// A file system of which it is not known what it stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unmapped {
    /// `major << 20 | minor`.
    pub dev: i32,
    /// Its type, where that is known.
    pub fs_type: Option<String>,
    /// Rows that were left out.
    pub rows: u64,
}

/// In [`LayerState::without`] of the application layer: operations of io_uring.
pub const WITHOUT_IO_URING: &str = "io_uring";

/// In [`LayerState::without`] of the file system layer: by what a process came to a page, a call or a mapping.
pub const WITHOUT_MAPPINGS: &str = "mappings";

/// In [`LayerState::without`] of the block layer: whose requests are. What was imported has none.
pub const WITHOUT_OWNERS: &str = "owners";

/// In [`LayerState::without`] of the block layer: when requests were queued. They begin at insertion or issue.
pub const WITHOUT_QUEUEING: &str = "queueing";

/// In [`LayerState::without`] of the block layer: how long requests took.
pub const WITHOUT_DURATIONS: &str = "durations";

impl LayerState {
    /// Whether it is captured but for `what`.
    pub fn lacks(&self, what: &str) -> bool {
        self.captured && self.without.iter().any(|without| without == what)
    }
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// `major << 20 | minor` as stat reports it.
    pub dev: i32,
    /// What is mounted.
    pub source: String,
    /// Where.
    pub target: String,
    /// File system type.
    pub fs_type: String,
}

impl Manifest {
    /// Reads the manifest of the capture in `dir`; refuses what is newer than this program.
    pub fn read(dir: &Dir) -> Result<Manifest> {
        let path = dir.path().join(FILE_NAME);
        let text = match files::read(dir, FILE_NAME, MOST_BYTES) {
            Err(Error::Io { reason, .. }) if reason.kind() == std::io::ErrorKind::NotFound && dir.is_there() => {
                return Err(Error::manifest(dir.path(), format!("not a capture: there is no {FILE_NAME} in it")));
            }
            text => text?,
        };
        let version: Version = serde_json::from_slice(&text).map_err(|e| Error::manifest(&path, e.to_string()))?;
        if version.schema_version > SCHEMA_VERSION {
            return Err(Error::manifest(
                &path,
                format!(
                    "schema version {} is newer than this program's {SCHEMA_VERSION}: use a newer iostrata-analyze",
                    version.schema_version
                ),
            ));
        }
        serde_json::from_slice(&text).map_err(|e| Error::manifest(&path, e.to_string()))
    }

    /// Writes the manifest into `dir` so that a reader finds either the old one or this one, whole.
    pub fn write(&self, dir: &Dir) -> Result<()> {
        self.prepare(dir)?.publish()
    }

    /// Writes it into `dir`, where no reader finds it before [`Unnamed::publish`]: what it takes of the disk it has then.
    pub fn prepare(&self, dir: &Dir) -> Result<Unnamed> {
        let path = dir.path().join(FILE_NAME);
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| Error::manifest(&path, e.to_string()))?;
        text.push(b'\n');
        files::prepare(dir, FILE_NAME, |file| file.write_all(&text).map_err(|e| Error::io(&path, "write", e)))
    }
}

#[derive(Deserialize)]
struct Version {
    schema_version: u32,
}
