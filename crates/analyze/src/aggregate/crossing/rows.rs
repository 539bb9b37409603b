//! What is read to tell what calls wait for.

use iostrata_capture::op::{Direction, IoClass, Op};
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::entity::Places;

/// For which requests a call waits beside those that its own thread queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Waits {
    /// For no others.
    Own,
    /// For writes of its file.
    File,
    /// For these, and for the journal of its file system.
    Journal,
    /// For all writes to its disk.
    Disk,
    /// For all writes.
    All,
}

/// A file, by device and inode number.
pub type File = (i32, i64);

/// One call that moves bytes or syncs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// When it began.
    pub ts_ns: i64,
    /// When it was over.
    pub end_ns: i64,
    /// The thread that made it.
    pub tid: i32,
    /// Which call.
    pub op: Op,
    /// Which way it moves bytes; a sync moves none.
    pub direction: Option<Direction>,
    /// What it waits for.
    pub waits: Waits,
    /// Whether its thread goes on meanwhile (aio, io_uring).
    pub is_async: bool,
    /// Whether its file is read and written past the page cache.
    pub is_direct: bool,
    /// Its file.
    pub file: Option<File>,
    /// Device number of its file system.
    pub dev: Option<i32>,
    /// The disk that this is directly on.
    pub disk: Option<i32>,
    /// Where in the file it began.
    pub position: Option<i64>,
    /// Bytes that it moved.
    pub bytes: u64,
    /// For how long its thread was runnable and on no CPU, where that was measured.
    pub runnable_ns: Option<u64>,
    /// Whether it failed.
    pub failed: bool,
    /// For how many calls it stands.
    pub weight: u32,
    /// Whether it is a regular file.
    pub is_regular: bool,
    /// The slot of its system, and its process, cgroup, file and disk; none, if it is not asked for.
    pub whose: Option<(u32, Places)>,
}

/// What of a call tells it from another.
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

    /// Whether it is known where that is which it waits for beside its own requests. Of an overlay or a network it is not, nor of
    /// what `msync` was called for.
    pub(super) fn is_placed(&self) -> bool {
        match (self.direction, self.waits) {
            (None, Waits::Own) => false,
            (_, Waits::Own | Waits::All) => true,
            (_, Waits::File | Waits::Journal | Waits::Disk) => self.disk.is_some(),
        }
    }

    /// How many pages it touched, or at most, where it is not known where it began.
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

/// Of the page cache, where pages are of the usual size.
pub const PAGE_BYTES: u64 = 4_096;

/// One block request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// When its first bio was queued.
    pub ts_ns: i64,
    /// Its disk.
    pub disk: i32,
    /// Where on the disk; a part of a request that is another file's is put to it by this.
    pub sector: Option<i64>,
    /// When it was issued to the driver.
    pub issued_ns: Option<i64>,
    /// When it was over.
    pub end_ns: Option<i64>,
    /// The thread in whose own context it was queued, where it is of that.
    pub tid: Option<i32>,
    /// What was asked of the device.
    pub op: Op,
    /// What it carries.
    pub class: IoClass,
    /// Which way it moves bytes.
    pub direction: Option<Direction>,
    /// Whether its device is one that totals are of.
    pub is_taken: bool,
    /// Bytes that are no file's.
    pub rest: u64,
    /// Files, and their bytes.
    pub files: Vec<(File, u64)>,
}

/// A part of a request that is another file's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The request: when it was queued, its disk, and where on that.
    pub of: (i64, i32, Option<i64>),
    /// The file.
    pub file: File,
    /// Its bytes.
    pub bytes: u64,
}

/// A commit of a journal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit {
    /// When it was over.
    pub end_ns: i64,
    /// Device number of the file system.
    pub dev: i32,
    /// Blocks that it logged.
    pub blocks: u64,
}
