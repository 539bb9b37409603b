//! A request as a trace tells of it, and the row that it becomes.

use iostrata_capture::column::Comm;
use iostrata_capture::op::{Evidence, IoClass, Op};
use iostrata_capture::tables::BlockRow;

/// A request of a trace. What the trace does not tell is none, and so it is in the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Its disk, by the number in [`super::disks::Disks`].
    pub dev: i32,
    /// How many disks that one stands on, one on the other.
    pub level: i32,
    /// When it began, since 1970.
    pub ts_ns: i64,
    /// From its beginning to its completion.
    pub dur_ns: Option<i64>,
    /// From its beginning to the first of insertion into the scheduler and issue.
    pub queue_ns: Option<i64>,
    /// From its insertion to its issue.
    pub insert_ns: Option<i64>,
    /// Who queued it. Whose it is, no trace tells.
    pub submitter: Option<Submitter>,
    /// The cgroup that the block layer charges.
    pub cgroup_id: Option<i64>,
    /// What it carries, where that is told.
    pub class: IoClass,
    /// First sector, in units of 512 bytes.
    pub sector: Option<i64>,
    /// Size; where it is told, what of it was completed.
    pub bytes: i64,
    /// What was asked of the disk.
    pub op: Op,
    /// Request flags, as in the table.
    pub flags: i32,
    /// 0, or the negative errno it completed with.
    pub error: i32,
    /// Bios in it; of a command that the block layer or the driver makes itself, none.
    pub bios: i32,
    /// How often the driver handed it back.
    pub requeues: i32,
}

/// Who queued a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitter {
    /// As the trace has it: of a process or of its thread.
    pub pid: i32,
    /// The command name; all zero where it is not known.
    pub comm: Comm,
}

impl Traced {
    /// What every trace tells of a request: disk, beginning, operation, first sector and size.
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

    /// The row.
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
