//! A request of a trace, and its row.

use iostrata_capture::column::Comm;
use iostrata_capture::op::{Evidence, IoClass, Op};
use iostrata_capture::tables::BlockRow;

/// Request of a trace. Fields that the trace lacks are none, also in the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Device number of its disk, from [`super::disks::Disks`].
    pub dev: i32,
    /// Stacking depth of the disk.
    pub level: i32,
    /// Start in ns since 1970.
    pub ts_ns: i64,
    /// Time from its start to its completion.
    pub dur_ns: Option<i64>,
    /// Time from its start to the first of insertion into the scheduler and issue.
    pub queue_ns: Option<i64>,
    /// Time from its insertion to its issue.
    pub insert_ns: Option<i64>,
    /// Thread or process that queued it. No trace has the owner.
    pub submitter: Option<Submitter>,
    /// Cgroup that the block layer charges.
    pub cgroup_id: Option<i64>,
    /// Class of its data, if known.
    pub class: IoClass,
    /// First sector, in units of 512 bytes.
    pub sector: Option<i64>,
    /// Size in bytes; if the trace has it, the completed part.
    pub bytes: i64,
    /// Operation.
    pub op: Op,
    /// Request flags, as in the table.
    pub flags: i32,
    /// 0, or the negative errno of its completion.
    pub error: i32,
    /// Number of bios; 0 for a command that the block layer or the driver makes itself.
    pub bios: i32,
    /// Number of requeues by the driver.
    pub requeues: i32,
}

/// Submitter of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitter {
    /// Number of a process or of its thread, as in the trace.
    pub pid: i32,
    /// Command name; all zero if unknown.
    pub comm: Comm,
}

impl Traced {
    /// Returns a request with the fields that every trace has: disk, start, operation, first sector and size.
    pub fn new(dev: i32, ts_ns: i64, op: Op, sector: i64, bytes: i64) -> Traced {
        Traced {
            dev,
            level: 0,
            ts_ns,
            dur_ns: None,
            queue_ns: None,
            insert_ns: None,
            submitter: None,
            cgroup_id: None,
            class: IoClass::Data,
            sector: Some(sector),
            bytes,
            op,
            flags: 0,
            error: 0,
            bios: 1,
            requeues: 0,
        }
    }

    /// Returns the row.
    pub fn row(&self) -> BlockRow {
        BlockRow {
            ts_ns: self.ts_ns,
            dur_ns: self.dur_ns,
            queue_ns: self.queue_ns,
            insert_ns: self.insert_ns,
            pid: None,
            tid: None,
            comm: Comm::default(),
            cgroup_id: self.cgroup_id,
            start_ns: None,
            evidence: if self.cgroup_id.is_some() { Evidence::Cgroup } else { Evidence::None },
            owned_bytes: 0,
            shared_bytes: 0,
            submitter_pid: self.submitter.map(|submitter| submitter.pid),
            submitter_comm: self.submitter.map(|submitter| submitter.comm).unwrap_or_default(),
            class: self.class,
            file_dev: None,
            ino: None,
            dev: self.dev,
            level: Some(self.level),
            sector: self.sector,
            bytes: self.bytes,
            op: self.op,
            flags: self.flags,
            error: self.error,
            bios: self.bios,
            requeues: self.requeues,
            weight: 1,
        }
    }
}
