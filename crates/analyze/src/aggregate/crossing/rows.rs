//! Rows for the matching of requests to calls.

use iostrata_capture::op::{Direction, IoClass, Op};
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::entity::Places;

/// Requests that a call waits for besides those that its own thread queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Waits {
    /// None.
    Own,
    /// Writes of its file.
    File,
    /// Writes of its file, and the journal of its file system.
    Journal,
    /// All writes to its disk.
    Disk,
    /// All writes.
    All,
}

/// File, by device and inode number.
pub type File = (i32, i64);

/// Call that moves bytes or syncs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Begin.
    pub ts_ns: i64,
    /// End.
    pub end_ns: i64,
    /// Thread that made it.
    pub tid: i32,
    /// Call.
    pub op: Op,
    /// Direction; `None` for a sync.
    pub direction: Option<Direction>,
    /// Requests that it waits for.
    pub waits: Waits,
    /// Whether its thread continues meanwhile (aio, io_uring).
    pub is_async: bool,
    /// Whether its file is read and written without the page cache.
    pub is_direct: bool,
    /// File.
    pub file: Option<File>,
    /// Device number of its file system.
    pub dev: Option<i32>,
    /// Disk that the file system is directly on.
    pub disk: Option<i32>,
    /// Offset in the file.
    pub position: Option<i64>,
    /// Number of bytes moved.
    pub bytes: u64,
    /// Run-queue latency of its thread in ns, if measured.
    pub runnable_ns: Option<u64>,
    /// Whether it failed.
    pub failed: bool,
    /// Weight.
    pub weight: u32,
    /// Whether its file is a regular file.
    pub is_regular: bool,
    /// Slot of its system, and its process, cgroup, file and disk; `None` if it is not selected.
    pub whose: Option<(u32, Places)>,
}

/// Fields that identify a call.
pub(super) type Identity = (i64, i64, i32, Op, Option<File>, u64);

impl Call {
    pub(super) fn identity(&self) -> Identity {
        (self.ts_ns, self.end_ns, self.tid, self.op, self.file, self.bytes)
    }

    pub(super) fn kind(&self) -> Kind {
        match (self.direction, self.waits, self.is_direct) {
            (None, ..) => Kind::Sync,
            (Some(Direction::Read), _, false) => Kind::Read,
            (Some(Direction::Read), _, true) => Kind::DirectRead,
            (Some(Direction::Write), Waits::Own, false) => Kind::Write,
            (Some(Direction::Write), Waits::Own, true) => Kind::DirectWrite,
            (Some(Direction::Write), _, false) => Kind::SyncWrite,
            (Some(Direction::Write), _, true) => Kind::DirectSyncWrite,
        }
    }

    /// Whether the location of the I/O that it waits for, besides its own requests, is known. It is unknown for an overlay or a network
    /// file system, and for `msync`.
    pub(super) fn is_placed(&self) -> bool {
        match (self.direction, self.waits) {
            (None, Waits::Own) => false,
            (_, Waits::Own | Waits::All) => true,
            (_, Waits::File | Waits::Journal | Waits::Disk) => self.disk.is_some(),
        }
    }

    /// Returns the number of pages that it touched; the maximum if its offset is unknown.
    pub(super) fn pages(&self) -> u64 {
        match self.position.and_then(|position| u64::try_from(position).ok()) {
            _ if self.bytes == 0 => 0,
            Some(position) => {
                let end = position.saturating_add(self.bytes);
                end.div_ceil(PAGE_BYTES).saturating_sub(position / PAGE_BYTES)
            }
            None => self.bytes / PAGE_BYTES + 2,
        }
    }
}

/// Page size of the page cache in bytes, if pages have the usual size.
pub const PAGE_BYTES: u64 = 4_096;

/// Block request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Time at which its first bio was queued.
    pub ts_ns: i64,
    /// Disk.
    pub disk: i32,
    /// Sector. A part of the request that belongs to another file is matched by it.
    pub sector: Option<i64>,
    /// Time of its issue to the driver.
    pub issued_ns: Option<i64>,
    /// End.
    pub end_ns: Option<i64>,
    /// Thread that queued it in its own context, if it belongs to that thread.
    pub tid: Option<i32>,
    /// Operation.
    pub op: Op,
    /// Class.
    pub class: IoClass,
    /// Direction.
    pub direction: Option<Direction>,
    /// Whether totals count its device.
    pub is_taken: bool,
    /// Number of bytes that belong to no file.
    pub rest: u64,
    /// Files and their bytes.
    pub files: Vec<(File, u64)>,
}

/// Part of a request that belongs to another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Request: queueing time, disk and sector.
    pub of: (i64, i32, Option<i64>),
    /// File.
    pub file: File,
    /// Number of bytes.
    pub bytes: u64,
}

/// Journal commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit {
    /// End.
    pub end_ns: i64,
    /// Device number of the file system.
    pub dev: i32,
    /// Number of blocks that it logged.
    pub blocks: u64,
}
