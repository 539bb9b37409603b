//! What the recorder is asked to do, checked, in plain types. Nothing here knows of the command line.

use std::path::PathBuf;
use std::time::Duration;

use iostrata_capture::manifest::{Device, Filters, Privacy};
use iostrata_capture::op::Layer;
use iostrata_capture::system::Systems;

use crate::host::cgroups::Cgroup;
use crate::memory::Memory;
use crate::sink::MinFree;
use crate::sink::live::Format;

/// Mechanisms of the kernel of which there is more than one to choose from.
pub const MECHANISMS: [&str; 4] = ["fentry", "fexit", "kprobe", "kretprobe"];

/// A recording.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where the capture goes, if it is kept; does not exist yet or is empty. Without it there is a live view.
    pub out: Option<PathBuf>,
    /// Whether a capture that is there already is continued.
    pub resume: bool,
    /// The view of what is recorded.
    pub live: Option<Live>,
    /// How long; until a signal or the command's end otherwise.
    pub duration: Option<Duration>,
    /// Which layers.
    pub layers: Vec<Layer>,
    /// Mechanisms of the kernel, of [`MECHANISMS`], that are not to be used.
    pub avoid: Vec<String>,
    /// What is let through.
    pub filter: Filter,
    /// The command to run and record.
    pub command: Option<Vec<String>>,
    /// How long, after the command has ended, what it left dirty may take to be written back.
    pub writeback_wait: Duration,
    /// A part is closed when it has grown to this size.
    pub rotate_bytes: u64,
    /// A part is closed when it has been open this long.
    pub rotate_interval: Duration,
    /// Rows are on the disk, and can be recovered, after at most this long.
    pub flush_interval: Duration,
    /// Free space that is left on the disk of the capture.
    pub min_free: MinFree,
    /// What the capture may take; the oldest parts go first.
    pub max_disk_bytes: Option<u64>,
    /// What the process may take.
    pub memory: Memory,
    /// What recorder and kernel programs together may take of a CPU, in percent.
    pub cpu_limit_percent: Option<f64>,
    /// What of command lines and paths is recorded.
    pub privacy: Privacy,
    /// Whether it is measured for how long calls wait for a CPU.
    pub run_queue: bool,
}

/// A live view on standard output.
#[derive(Debug, Clone)]
pub struct Live {
    /// How rows are printed.
    pub format: Format,
    /// Which system a process belongs to.
    pub systems: Systems,
}

/// What is let through; everything where nothing is given.
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

impl Record {
    /// The filters as the manifest has them.
    pub fn manifest_filters(&self) -> Filters {
        Filters {
            devices: self.filter.devices.iter().map(|d| d.name.clone()).collect(),
            pids: self.filter.pids.clone(),
            cgroup: self.filter.cgroup.as_ref().map(|c| c.path.clone()),
            comm: self.filter.comm.clone(),
            command: self.command.clone(),
        }
    }
}
