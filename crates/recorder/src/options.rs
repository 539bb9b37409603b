//! Validated options of a recording, in plain types, independent of the command line.

use std::path::PathBuf;
use std::time::Duration;

use iostrata_capture::manifest::{Device, Filters, Privacy};
use iostrata_capture::op::Layer;
use iostrata_capture::system::Systems;

use crate::groups::readings::ReadingGroup;
use crate::host::cgroups::Cgroup;
use crate::host::devices;
use crate::memory::Memory;
use crate::sink::MinFree;
use crate::sink::live::Form;

/// Attach mechanisms of the kernel that can be avoided.
pub const MECHANISMS: [&str; 4] = ["fentry", "fexit", "kprobe", "kretprobe"];

/// Options of a recording.
#[derive(Clone)]
pub struct Record {
    /// Directory of the capture, if one is written; new or empty. Without it there is only a live view.
    pub out: Option<PathBuf>,
    /// Whether to continue an existing capture.
    pub resume: bool,
    /// Live view.
    pub live: Option<Live>,
    /// Duration; if none, the recording ends with a signal or with the command.
    pub duration: Option<Duration>,
    /// Layers to record.
    pub layers: Vec<Layer>,
    /// Probe groups that are read at an interval.
    pub groups: Vec<&'static ReadingGroup>,
    /// Interval of their readings.
    pub interval: Duration,
    /// Mechanisms of the kernel, from [`MECHANISMS`], that must not be used.
    pub avoid: Vec<String>,
    /// Filters.
    pub filter: Filter,
    /// Minimum latency of block requests (Q2C); shorter ones are only counted.
    pub min_latency: Option<Duration>,
    /// Command to run and record.
    pub command: Option<Vec<String>>,
    /// Time limit for the writeback of the command's dirty pages after it has ended.
    pub writeback_wait: Duration,
    /// Size at which a part is closed.
    pub rotate_bytes: u64,
    /// Age at which a part is closed.
    pub rotate_interval: Duration,
    /// Maximum time until rows are durable on the disk, and can be recovered.
    pub flush_interval: Duration,
    /// Free space to leave on the disk of the capture.
    pub min_free: MinFree,
    /// Size limit of the capture; the oldest parts are removed first.
    pub max_disk_bytes: Option<u64>,
    /// Memory limits.
    pub memory: Memory,
    /// CPU limit of recorder and BPF programs together, in percent of one CPU.
    pub cpu_limit_percent: Option<f64>,
    /// Redaction of command lines and paths.
    pub privacy: Privacy,
    /// Whether to measure the run-queue latency of calls.
    pub run_queue: bool,
}

/// Options of a live view on standard output.
#[derive(Debug, Clone)]
pub struct Live {
    /// Rows that are printed.
    pub form: Form,
    /// Rules that map a process to a system.
    pub systems: Systems,
}

/// Filters of a recording; empty filters let everything pass.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whole disks.
    pub devices: Vec<Device>,
    /// Roots of process trees.
    pub pids: Vec<u32>,
    /// A cgroup and all below it.
    pub cgroup: Option<Cgroup>,
    /// Command name, at most 15 bytes.
    pub comm: Option<String>,
}

impl Filter {
    /// Disks whose I/O passes: those of the filter, or all that exist now.
    pub fn disks(&self) -> Vec<Device> {
        if self.devices.is_empty() { devices::all() } else { self.devices.clone() }
    }

    /// Whether it selects processes.
    pub fn has_owner(&self) -> bool {
        !self.pids.is_empty() || self.cgroup.is_some() || self.comm.is_some()
    }
}

impl Record {
    /// Filters in the form of the manifest.
    pub fn manifest_filters(&self) -> Filters {
        Filters {
            devices: self.filter.devices.iter().map(|d| d.name.clone()).collect(),
            pids: self.filter.pids.clone(),
            cgroup: self.filter.cgroup.as_ref().map(|c| c.path.clone()),
            comm: self.filter.comm.clone(),
            command: self.command.clone(),
            min_latency_ns: self.min_latency.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        }
    }
}
