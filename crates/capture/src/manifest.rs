//! Manifest: one JSON file that describes the capture and its reliability. Parts are listed in a separate file
//! ([`crate::list`]).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::files;
use crate::ledger::{Amounts, EventAccounting};
use crate::{SCHEMA_VERSION, op::Layer};

pub use crate::files::Unnamed;

mod devices;
mod imported;
mod processes;

pub use devices::{Counting, Device, DeviceCheck, DeviceCounters, Partition};
pub use processes::{ProcessBook, ProcessCounters};

/// Name of the manifest in the capture directory.
pub const FILE_NAME: &str = "manifest.json";

/// Maximum size that is read. The event accounting of 8,192 CPUs takes half of it.
pub const MOST_BYTES: u64 = 64 << 20;

/// State of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All programs are attached and rows are being written. A capture that stays in this state is incomplete (recording
    /// interrupted).
    Recording,
    /// The recorder finished; the event accounting is final.
    Complete,
    /// The recording was interrupted, and its parts were repaired afterwards. The losses are unknown.
    Recovered,
}

/// Description of a capture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the tables and of this file.
    pub schema_version: u32,
    /// Random ID of this capture (UUID).
    pub capture_id: String,
    /// Capture ID in the footer of each part. None in captures of recorders that wrote no ID into parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts_id: Option<String>,
    /// ID of the previous segment, in a continued capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// State of the recording.
    pub state: State,
    /// Time at which all programs were attached (RFC 3339).
    pub started_at: String,
    /// Time at which the recorder finished.
    pub stopped_at: Option<String>,
    /// Reason for the stop: a signal, the duration, the end of the command.
    pub stop_reason: Option<String>,
    /// Version of the recorder.
    pub recorder_version: String,
    /// Redaction of command lines and paths.
    #[serde(default)]
    pub privacy: Privacy,
    /// Whether the run-queue latency of system calls was measured (`runnable_ns`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub run_queue: bool,
    /// For an interrupted and repaired recording: time, on the clock of `ts_ns`, up to which the rows of ended events are
    /// complete on all CPUs and in all tables. Of events that ended later, some rows are missing. None if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_until_ns: Option<i64>,
    /// Command line of the recorder.
    pub command_line: Vec<String>,
    /// Recorded machine.
    pub host: Host,
    /// Relation of `ts_ns` to wall time.
    pub clock: Clock,
    /// State of each layer: captured and how, or why not.
    pub layers: BTreeMap<Layer, LayerState>,
    /// State of each selected probe group that is no layer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, LayerState>,
    /// Kernel programs, attached or not.
    pub probes: Vec<Probe>,
    /// Filters of the recording.
    pub filters: Filters,
    /// Effect of the filters. None in captures of recorders that excluded unowned requests under an owner filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtered: Option<Filtered>,
    /// Block devices at the start.
    pub devices: Vec<Device>,
    /// Mounted file systems at the start.
    pub mounts: Vec<Mount>,
    /// Event accounting: events seen, written and lost.
    pub books: EventAccounting,
    /// Sampling, where the CPU time of the recorder was limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Rows checked against the kernel's device counters, for each device that was recorded completely.
    pub device_books: Vec<DeviceCheck>,
    /// Kernel counters of processes. None in captures of recorders that did not read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_counters: Option<ProcessCounters>,
    /// Processes that served a FUSE file system during the recording: their file I/O serves calls on that file system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Server>,
    /// Usage of the bounded BPF maps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<MapUse>,
}

/// Process, as in table `process`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Server {
    /// Process (thread group) ID.
    pub pid: i32,
    /// Start time of the process.
    pub start_ns: i64,
}

/// Usage of a bounded BPF map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MapUse {
    /// Name of the map.
    pub map: String,
    /// Maximum number of entries.
    pub entries: u64,
    /// Maximum number of entries seen, sampled every ten seconds and at the end; for maps that keep their entries, at the end.
    /// None if not measured.
    pub peak: Option<u64>,
    /// Number of entries that found no room, or were evicted for others; none where the kernel does not report it.
    pub evicted: Option<u64>,
    /// Effect of a missing entry on the capture; empty if not stated.
    pub effect: String,
}

/// Command lines and paths in a capture. Names of programs and of devices are always included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privacy {
    /// All of them, without redaction.
    #[default]
    None,
    /// A keyed hash of each name in a path, and of each command line. The key is not kept.
    Hash,
    /// None of them.
    Drop,
}

/// Sampling under a CPU limit. Each row has the number of events that it represents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Limit of the CPU time of recorder and kernel programs together, in percent of one CPU.
    pub cpu_limit_percent: f64,
    /// Maximum weight in force at any time, even if no event began then; no row has a greater one. 1 if everything was
    /// recorded.
    pub greatest_weight: u32,
    /// Time in ms during which the weight was greater than 1.
    pub sampled_ms: u64,
}

impl Manifest {
    /// Whether no row matched the filters: the filters may not be what was intended.
    pub fn is_filter_idle(&self) -> bool {
        let nothing_came = self.filtered.as_ref().is_some_and(|filtered| filtered.rows == Some(0));
        // Requests below the minimum latency may have matched the filters.
        let has_short = self.books.incomplete.short_requests > 0;
        self.filters != Filters::default() && nothing_came && !has_short && !self.saw_idle_devices()
    }

    /// Whether the filters select devices only, and the kernel's counters show that these devices were idle: no rows is then
    /// the correct result.
    pub fn saw_idle_devices(&self) -> bool {
        let idle =
            |book: &DeviceCheck| [book.kernel.read_ops, book.kernel.write_ops, book.kernel.discard_ops] == [0; 3];
        let is_mapped = self.filtered.as_ref().is_none_or(|filtered| filtered.unmapped.is_empty());
        !self.filters.by_owner() && is_mapped && !self.device_books.is_empty() && self.device_books.iter().all(idle)
    }

    /// Whether unowned requests are missing, so that device totals are incomplete: a recorder excluded them under an owner
    /// filter.
    pub fn lacks_unowned(&self) -> bool {
        self.filters.by_owner() && self.filtered.as_ref().is_none_or(|filtered| filtered.has_more_disks)
    }

    /// Returns the maximum number of events that a row, or a lost event, represents.
    pub fn greatest_weight(&self) -> u64 {
        self.sampling.map_or(1, |sampling| u64::from(sampling.greatest_weight).max(1))
    }
}

/// Recorded machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Host name.
    pub hostname: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine architecture.
    pub arch: String,
    /// Boot ID of the kernel.
    pub boot_id: String,
    /// Number of possible CPUs.
    pub cpus: u32,
}

/// Clock relation: `ts_ns` = monotonic time + `offset_ns`. Pairs of both clocks show the drift of the wall clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Offset that is added to every monotonic time of the capture, in ns.
    pub offset_ns: i64,
    /// Readings of both clocks, each at the same time.
    pub pairs: Vec<ClockPair>,
}

/// Both clocks at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockPair {
    /// Monotonic clock (`CLOCK_MONOTONIC`), in ns.
    pub monotonic_ns: i64,
    /// Wall clock (`CLOCK_REALTIME`), in ns since the Unix epoch.
    pub wall_ns: i64,
}

/// State of a layer in the capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerState {
    /// Whether the rows of the layer are in the capture. If not, the layer is unknown, not zero.
    pub captured: bool,
    /// Capture method, or the reason why the layer was not captured.
    pub how: String,
    /// Aspects of the layer that cannot be captured on this kernel: unknown, not zero.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

/// Kernel program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Program and attach point.
    pub name: String,
    /// Whether the program is attached.
    pub attached: bool,
    /// Reason why it is not attached.
    pub why: Option<String>,
}

/// Filters of a recording; empty means that everything is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// Names of whole disks.
    pub devices: Vec<String>,
    /// Roots of the recorded process trees, as PIDs in the recorder's PID namespace; rows have PIDs of the initial namespace.
    pub pids: Vec<u32>,
    /// Cgroup path of the recorded subtree.
    pub cgroup: Option<String>,
    /// Command name.
    pub comm: Option<String>,
    /// Recorded command.
    pub command: Option<Vec<String>>,
    /// Minimum latency of recorded block requests from queueing to completion, in ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_latency_ns: Option<u64>,
}

impl Filters {
    /// Whether rows were selected by owner, so that they cannot match a device's counters.
    pub fn by_owner(&self) -> bool {
        !self.pids.is_empty() || self.cgroup.is_some() || self.comm.is_some() || self.command.is_some()
    }

    /// Returns the minimum latency as text, such as `10ms`.
    pub fn min_latency(&self) -> Option<String> {
        self.min_latency_ns.map(|ns| format!("{:?}", Duration::from_nanos(ns)))
    }

    /// Returns the filters as given, such as `--device sda -- fio job.fio`; `None` if everything was recorded.
    pub fn words(&self) -> Option<String> {
        let mut words: Vec<String> = self.devices.iter().map(|name| format!("--device {name}")).collect();
        words.extend(self.pids.iter().map(|pid| format!("--pid {pid}")));
        words.extend(self.cgroup.iter().map(|path| format!("--cgroup {path}")));
        words.extend(self.comm.iter().map(|name| format!("--comm {name}")));
        words.extend(self.min_latency().map(|least| format!("--min-latency {least}")));
        words.extend(self.command.iter().map(|command| format!("-- {}", command.join(" "))));
        (!words.is_empty()).then(|| words.join(" "))
    }
}

/// Effect of the filters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filtered {
    /// Number of rows of operations and requests that the filters select: with an owner filter those of the selected processes,
    /// else all. None if the recording was interrupted.
    pub rows: Option<u64>,
    /// With an owner filter: disks of which unowned requests (journal, metadata, flushes, unattributed data) are recorded as
    /// well, so that totals are complete.
    pub disks: Vec<FilteredDisk>,
    /// Whether there were more disks than could be followed.
    pub has_more_disks: bool,
    /// With a device filter: file systems that were excluded because the disks below them could not be determined.
    pub unmapped: Vec<Unmapped>,
}

/// Disk that the selected processes used, or that a filter selects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilteredDisk {
    /// Name of the disk; `major:minor` if the disk was removed.
    pub name: String,
    /// `major << 20 | minor`.
    pub dev: i32,
    /// Time of the first use by a selected process, on the clock of `ts_ns`; none if the disk was recorded from the start.
    pub since_ns: Option<i64>,
    /// Excluded I/O of processes that are not selected.
    pub others: Amounts,
    /// Excluded unowned I/O before `since_ns`.
    pub before_use: Amounts,
}

/// File system with unknown disks below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unmapped {
    /// `major << 20 | minor`.
    pub dev: i32,
    /// File system type, if known.
    pub fs_type: Option<String>,
    /// Number of rows excluded.
    pub rows: u64,
}

/// Value of [`LayerState::without`] for the application layer: io_uring operations.
pub const WITHOUT_IO_URING: &str = "io_uring";

/// Value of [`LayerState::without`] for the file system layer: access path of a process to a page, call or mapping.
pub const WITHOUT_MAPPINGS: &str = "mappings";

/// Value of [`LayerState::without`] for the block layer: owners of requests. Imported captures have none.
pub const WITHOUT_OWNERS: &str = "owners";

/// Value of [`LayerState::without`] for the block layer: queueing times. Requests begin at insertion or issue.
pub const WITHOUT_QUEUEING: &str = "queueing";

/// Value of [`LayerState::without`] for the block layer: durations of requests.
pub const WITHOUT_DURATIONS: &str = "durations";

impl LayerState {
    /// Whether the layer is captured without `what`.
    pub fn lacks(&self, what: &str) -> bool {
        self.captured && self.without.iter().any(|without| without == what)
    }
}

/// Mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// `major << 20 | minor` as stat reports it.
    pub dev: i32,
    /// Mount source.
    pub source: String,
    /// Mount point.
    pub target: String,
    /// File system type.
    pub fs_type: String,
}

impl Manifest {
    /// Reads the manifest of the capture in `dir`; refuses a schema version newer than this program's.
    pub fn read(dir: &Dir) -> Result<Manifest> {
        let path = dir.path().join(FILE_NAME);
        let text = match files::read(dir, FILE_NAME, MOST_BYTES) {
            Err(Error::Io { reason, .. }) if reason.kind() == std::io::ErrorKind::NotFound && dir.is_there() => {
                return Err(Error::manifest(dir.path(), format!("not a capture: {FILE_NAME} is missing")));
            }
            text => text?,
        };
        let version: Version = serde_json::from_slice(&text).map_err(|e| Error::manifest(&path, e.to_string()))?;
        version.check(&path)?;
        serde_json::from_slice(&text).map_err(|e| Error::manifest(&path, e.to_string()))
    }

    /// Reads the manifest from JSON that is in `path`, in the same manner.
    pub(crate) fn of(value: Value, path: &Path) -> Result<Manifest> {
        let error = |e: serde_json::Error| Error::manifest(path, e.to_string());
        Version::deserialize(&value).map_err(error)?.check(path)?;
        serde_json::from_value(value).map_err(error)
    }

    /// Replaces the manifest in `dir` atomically: a reader finds either the old or the new one, complete.
    pub fn write(&self, dir: &Dir) -> Result<()> {
        self.prepare(dir)?.publish()
    }

    /// Writes the manifest into `dir` under a temporary name until [`Unnamed::publish`]; its disk space is in use from then on.
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

impl Version {
    fn check(&self, path: &Path) -> Result<()> {
        let version = self.schema_version;
        if version <= SCHEMA_VERSION {
            return Ok(());
        }
        let what = format!(
            "schema version {version} is newer than this program's {SCHEMA_VERSION}: use a newer iostrata-analyze"
        );
        Err(Error::manifest(path, what))
    }
}
