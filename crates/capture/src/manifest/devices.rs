//! Block devices, and what the kernel counted of each against what is in the capture.

use serde::{Deserialize, Serialize};

use crate::ledger::Amounts;

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

    /// Whether nothing was counted.
    pub fn is_zero(&self) -> bool {
        *self == DeviceCounters { flush_ops: self.flush_ops.map(|_| 0), ..DeviceCounters::default() }
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

/// Whether the kernel counts what a device does (`queue/iostats`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counting {
    /// All the time.
    #[default]
    Always,
    /// Not at all: its counters are no witness.
    Never,
    /// For a part of the recording: they are one for that part.
    Partly,
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
    /// What rows say: written ones only, and of these the ones that the kernel counts.
    pub rows: DeviceCounters,
    /// Whether the kernel counted while it was recorded.
    #[serde(default)]
    pub counting: Counting,
    /// What rows say that the kernel does not count. There is nothing to hold them against.
    #[serde(default)]
    pub uncounted: DeviceCounters,
    /// How many flushes the kernel counted that no row tells of, where all bytes agree: a flush has none.
    #[serde(default)]
    pub unseen_flushes: u64,
    /// Whether the device hands bios on and makes no requests (dm, md, zram). Rows are bios then; what its driver counts, and in which
    /// pieces, is its own affair, so rows must have the bytes of `kernel` and may have more.
    #[serde(default)]
    pub hands_bios_on: bool,
    /// The recorder's own I/O, left out of the rows.
    pub own: Amounts,
    /// Whether `kernel <= rows + own <= kernel + edges` in every field, but for `unseen_flushes`.
    pub balanced: bool,
}

impl DeviceBook {
    /// How much of what the kernel counted may be what it did at the edges, for rows to be held against it.
    pub const NARROW: f64 = 0.01;

    /// Which share of the bytes that the kernel counted in either direction it counted at the edges.
    pub fn edge_share(&self) -> f64 {
        edge_share(&self.kernel, &self.edges)
    }

    /// Whether the edges of a count leave little room.
    pub fn are_narrow(kernel: &DeviceCounters, edges: &DeviceCounters) -> bool {
        edge_share(kernel, edges) <= Self::NARROW
    }
}

fn edge_share(kernel: &DeviceCounters, edges: &DeviceCounters) -> f64 {
    let share = |edge: u64, kernel: u64| edge as f64 / kernel.saturating_add(edge).max(1) as f64;
    share(edges.read_bytes, kernel.read_bytes).max(share(edges.write_bytes, kernel.write_bytes))
}
