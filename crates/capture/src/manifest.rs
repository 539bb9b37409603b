//! The manifest: one JSON file that says what the capture is and whether it can be trusted. Its parts are in a list of their own
//! ([`crate::list`]).

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::ledger::{Amounts, Books};
use crate::{SCHEMA_VERSION, op::Layer};

/// The manifest's name in the capture directory.
pub const FILE_NAME: &str = "manifest.json";

/// The most that is read of one. The books of 8,192 CPUs take half of it.
const MOST_BYTES: u64 = 64 << 20;

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
    /// The greatest weight of a row; 1 where all was recorded.
    pub greatest_weight: u32,
    /// How long rows had more than 1.
    pub sampled_ms: u64,
}

impl Manifest {
    /// Whether nothing came of what the filters name: the filter may not be what was meant.
    pub fn is_filter_idle(&self) -> bool {
        self.filters != Filters::default() && self.filtered.as_ref().is_some_and(|filtered| filtered.rows == Some(0))
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

/// A block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// `major << 20 | minor`.
    pub dev: i32,
    /// Name under /sys/block.
    pub name: String,
    /// Size.
    pub size_bytes: u64,
    /// Logical block size.
    pub logical_block_bytes: u64,
    /// Whether the device says it rotates.
    pub rotational: bool,
    /// The active I/O scheduler.
    pub scheduler: Option<String>,
    /// Partitions by name and number.
    pub partitions: Vec<Partition>,
    /// The file behind a loop device.
    pub backing_file: Option<String>,
    /// The whole disks that it stands on, by name: the members of a dm or md device, the disk that holds the file behind a
    /// loop device.
    pub on: Vec<String>,
    /// 0 where it stands on no other disk, else one more than the highest of those it stands on; none where what it stands
    /// on could not be found out.
    pub level: Option<i32>,
}

/// A partition of a block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// `major << 20 | minor`.
    pub dev: i32,
    /// Name.
    pub name: String,
}

/// In [`LayerState::without`] of the application layer: operations of io_uring.
pub const WITHOUT_IO_URING: &str = "io_uring";

/// In [`LayerState::without`] of the file system layer: by what a process came to a page, a call or a mapping.
pub const WITHOUT_MAPPINGS: &str = "mappings";

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

/// The kernel's counters of a device (`/sys/block/DEV/stat`, kernel doc `Documentation/block/stat.rst`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCounters {
    /// Requests of direction read.
    pub read_ops: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Requests of direction write, empty flushes included.
    pub write_ops: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Discards.
    pub discard_ops: u64,
    /// Bytes discarded.
    pub discard_bytes: u64,
    /// Flush commands sent to the device; none where the kernel does not count them.
    pub flush_ops: Option<u64>,
}

impl DeviceCounters {
    /// How far the counters moved since `before`.
    pub fn since(&self, before: &DeviceCounters) -> DeviceCounters {
        DeviceCounters {
            read_ops: self.read_ops.saturating_sub(before.read_ops),
            read_bytes: self.read_bytes.saturating_sub(before.read_bytes),
            write_ops: self.write_ops.saturating_sub(before.write_ops),
            write_bytes: self.write_bytes.saturating_sub(before.write_bytes),
            discard_ops: self.discard_ops.saturating_sub(before.discard_ops),
            discard_bytes: self.discard_bytes.saturating_sub(before.discard_bytes),
            flush_ops: self.flush_ops.zip(before.flush_ops).map(|(now, before)| now.saturating_sub(before)),
        }
    }

    /// Whether no count is less than in `before`.
    pub fn has_reached(&self, before: &DeviceCounters) -> bool {
        before.since(self)
            == DeviceCounters { flush_ops: before.flush_ops.zip(self.flush_ops).map(|_| 0), ..Default::default() }
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &DeviceCounters) {
        self.read_ops = self.read_ops.saturating_add(other.read_ops);
        self.read_bytes = self.read_bytes.saturating_add(other.read_bytes);
        self.write_ops = self.write_ops.saturating_add(other.write_ops);
        self.write_bytes = self.write_bytes.saturating_add(other.write_bytes);
        self.discard_ops = self.discard_ops.saturating_add(other.discard_ops);
        self.discard_bytes = self.discard_bytes.saturating_add(other.discard_bytes);
        if let Some(flushes) = other.flush_ops {
            self.flush_ops = Some(self.flush_ops.unwrap_or(0).saturating_add(flushes));
        }
    }

    /// Whether every count lies between that of `least` and that of `least` and `more` together. Flushes are left out
    /// where the kernel does not count them.
    pub fn within(&self, least: &DeviceCounters, more: &DeviceCounters) -> bool {
        let all = |c: &DeviceCounters| {
            [
                c.read_ops,
                c.read_bytes,
                c.write_ops,
                c.write_bytes,
                c.discard_ops,
                c.discard_bytes,
                c.flush_ops.unwrap_or(0),
            ]
        };
        let counts = if least.flush_ops.is_some() { 7 } else { 6 };
        let (own, least, more) = (all(self), all(least), all(more));
        (0..counts).all(|i| own[i] >= least[i] && own[i] <= least[i].saturating_add(more[i]))
    }
}

/// One device: what the kernel counted against what is in the capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceBook {
    /// The device's name.
    pub device: String,
    /// How far the kernel's counters moved during the recording.
    pub kernel: DeviceCounters,
    /// How far they moved while programs were being attached and detached: rows may have any part of that. All zero
    /// where the device was idle then.
    #[serde(default)]
    pub edges: DeviceCounters,
    /// What rows say: written ones only.
    pub rows: DeviceCounters,
    /// The recorder's own I/O, left out of the rows.
    pub own: Amounts,
    /// Whether `kernel <= rows + own <= kernel + edges` in every field.
    pub balanced: bool,
}

impl Manifest {
    /// Reads the manifest of the capture in `dir`; refuses what is newer than this program.
    pub fn read(dir: &Path) -> Result<Manifest> {
        let path = dir.join(FILE_NAME);
        let text = match files::read(&path, MOST_BYTES) {
            Err(Error::Io { reason, .. }) if reason.kind() == std::io::ErrorKind::NotFound && dir.is_dir() => {
                return Err(Error::manifest(dir, format!("not a capture: there is no {FILE_NAME} in it")));
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
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE_NAME);
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| Error::manifest(&path, e.to_string()))?;
        text.push(b'\n');
        files::replace(dir, FILE_NAME, |file| file.write_all(&text).map_err(|e| Error::io(&path, "write", e)))
    }
}

#[derive(Deserialize)]
struct Version {
    schema_version: u32,
}
