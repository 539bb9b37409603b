//! Block devices, and the check of the capture against their kernel counters.

use serde::{Deserialize, Serialize};

use crate::ledger::Amounts;

/// Block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// `major << 20 | minor`.
    pub dev: i32,
    /// Name in /sys/block.
    pub name: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Logical block size in bytes.
    pub logical_block_bytes: u64,
    /// Whether the device reports itself as rotational.
    pub rotational: bool,
    /// Active I/O scheduler.
    pub scheduler: Option<String>,
    /// Partitions by name and number.
    pub partitions: Vec<Partition>,
    /// Backing file of a loop device.
    pub backing_file: Option<String>,
    /// Whole disks below this one, by name: the members of a dm or md device, the disk with the backing file of a loop device.
    pub on: Vec<String>,
    /// Stacking depth: 0 if there is no other disk below, else one more than the maximum of the disks below; none if these
    /// could not be determined.
    pub level: Option<i32>,
}

/// Partition of a block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// `major << 20 | minor`.
    pub dev: i32,
    /// Name of the partition.
    pub name: String,
}

/// Kernel counters of a device (`/sys/block/DEV/stat`, kernel doc `Documentation/block/stat.rst`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCounters {
    /// Read requests.
    pub read_ops: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Write requests, including empty flushes.
    pub write_ops: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Discards.
    pub discard_ops: u64,
    /// Bytes discarded.
    pub discard_bytes: u64,
    /// Flush commands sent to the device; none if the kernel does not count them.
    pub flush_ops: Option<u64>,
}

impl DeviceCounters {
    /// Returns the increase of the counters since `before`.
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

    /// Whether no counter is less than in `before`.
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

    /// Whether all counts are zero.
    pub fn is_zero(&self) -> bool {
        *self == DeviceCounters { flush_ops: self.flush_ops.map(|_| 0), ..DeviceCounters::default() }
    }

    /// Whether every count lies between `least` and `least` plus `more`. Flushes are skipped where the kernel does not count
    /// them.
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

/// Whether the kernel counts the I/O of a device (`queue/iostats`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counting {
    /// Always.
    #[default]
    Always,
    /// Never: there are no counters to check against.
    Never,
    /// For part of the recording: counters check that part.
    Partly,
}

/// Check of one device: kernel counters and captured rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCheck {
    /// Name of the device.
    pub device: String,
    /// Increase of the kernel's counters during the recording.
    pub kernel: DeviceCounters,
    /// Increase of the kernel's counters while programs were being attached and detached: rows may contain any part of it. All
    /// zero if the device was idle then.
    #[serde(default)]
    pub edges: DeviceCounters,
    /// Counts from written rows that the kernel counts as well.
    pub rows: DeviceCounters,
    /// Whether the kernel counted during the recording.
    #[serde(default)]
    pub counting: Counting,
    /// Counts from rows that the kernel does not count. They are not checked.
    #[serde(default)]
    pub uncounted: DeviceCounters,
    /// Number of flushes that the kernel counted and that have no row, where all byte counts agree: a flush has no bytes.
    #[serde(default)]
    pub unseen_flushes: u64,
    /// Whether the device remaps bios and makes no requests (dm, md, zram). Rows are bios then. The driver decides what it
    /// counts, and in which pieces, so rows must have the bytes of `kernel` and may have more.
    #[serde(default)]
    pub hands_bios_on: bool,
    /// I/O of the recorder itself, excluded from the rows.
    pub own: Amounts,
    /// Whether `kernel <= rows + own <= kernel + edges` holds in every field, except for `unseen_flushes`.
    pub balanced: bool,
}

impl DeviceCheck {
    /// Maximum share of the kernel's counts at the edges for a check of rows.
    pub const NARROW: f64 = 0.01;

    /// Returns the share of the counted bytes that was counted at the edges, for the direction with the larger share.
    pub fn edge_share(&self) -> f64 {
        edge_share(&self.kernel, &self.edges)
    }

    /// Whether the edges of a count are narrow enough for a check.
    pub fn are_narrow(kernel: &DeviceCounters, edges: &DeviceCounters) -> bool {
        edge_share(kernel, edges) <= Self::NARROW
    }
}

fn edge_share(kernel: &DeviceCounters, edges: &DeviceCounters) -> f64 {
    let share = |edge: u64, kernel: u64| edge as f64 / kernel.saturating_add(edge).max(1) as f64;
    share(edges.read_bytes, kernel.read_bytes).max(share(edges.write_bytes, kernel.write_bytes))
}
