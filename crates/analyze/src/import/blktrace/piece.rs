//! A bio or request in progress, and the completed request.

use iostrata_capture::op::{IoClass, Op};

use super::record::{Kind, Record, category};
use crate::import::traced::{Submitter, Traced};

/// Size of a sector, independent of the block size of the disk.
const SECTOR_BYTES: u64 = 512;

/// Maximum requeue count, as in the table.
const MOST_REQUEUES: i32 = 255;

/// Name prefix of the journal threads of ext4.
const JOURNAL_THREAD: &[u8] = b"jbd2/";

/// Categories of a record and their flags in the table.
const FLAGS: [(u32, i32); 5] =
    [(category::SYNC, 1), (category::META, 2), (category::FUA, 8), (category::FLUSH, 16), (category::AHEAD, 32)];

/// A bio, or a request made of one or several bios. Times are those of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Kind.
    pub kind: Kind,
    /// First sector of the remaining part.
    pub sector: u64,
    /// Remaining bytes.
    pub bytes: u64,
    /// Completed bytes.
    pub done: u64,
    /// Time of its first record.
    pub met: u64,
    /// Time at which its first bio was queued, or else a request was allocated for it.
    pub began: Option<u64>,
    /// Time of its first insertion into the scheduler.
    pub inserted: Option<u64>,
    /// Time of its last issue to the driver.
    pub issued: Option<u64>,
    /// Submitter of its first bio.
    pub submitter: Option<Submitter>,
    cgroup_id: Option<i64>,
    /// Whether it was queued with a cache flush or FUA.
    is_flush: bool,
    is_forced: bool,
    flags: i32,
    error: i32,
    bios: i32,
    requeues: i32,
}

/// Completed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Request.
    pub traced: Traced,
    /// Whether it had bios without recorded queueing.
    pub is_unidentified: bool,
}

impl Piece {
    /// Returns the piece of `record`, without earlier records.
    pub fn unseen(record: &Record) -> Piece {
        let kind = record.kind();
        Piece {
            kind,
            sector: record.sector,
            bytes: u64::from(record.bytes),
            done: 0,
            met: record.time,
            began: None,
            inserted: None,
            issued: None,
            submitter: None,
            cgroup_id: record.cgroup_id(),
            is_flush: record.has(category::FLUSH),
            is_forced: record.has(category::FUA),
            flags: flags_of(record),
            error: 0,
            bios: i32::from(kind.has_bios()),
            requeues: 0,
        }
    }

    /// Returns the bio of a Q record.
    pub fn queued(record: &Record, submitter: Submitter) -> Piece {
        Piece { began: Some(record.time), submitter: Some(submitter), ..Piece::unseen(record) }
    }

    /// Returns the request of a G record without a known bio.
    pub fn allocated(record: &Record) -> Piece {
        Piece { began: Some(record.time), ..Piece::unseen(record) }
    }

    /// Returns its first sector before any part completed.
    pub fn first(&self) -> u64 {
        self.sector.saturating_sub(if self.kind.has_bios() { self.done / SECTOR_BYTES } else { 0 })
    }

    /// Returns the sector after its end.
    pub fn end(&self) -> u64 {
        after(self.sector, self.bytes)
    }

    /// Splits it after `bytes`, and returns the rest.
    pub fn split(&mut self, bytes: u64) -> Piece {
        let rest = Piece { sector: after(self.sector, bytes), bytes: self.bytes - bytes, ..*self };
        self.bytes = bytes;
        rest
    }

    /// Appends a piece that was merged with it. The piece that was already in the scheduler keeps its identity, whichever is in front; else the
    /// first one with a known start does.
    pub fn join(self, behind: Piece) -> Piece {
        let is_behind_older = self.inserted.is_none() && behind.inserted.is_some();
        let (first, other) = if is_behind_older || self.began.is_none() { (behind, self) } else { (self, behind) };
        let first = if first.began.is_none() { Piece { inserted: first.inserted, ..other } } else { first };
        Piece {
            sector: self.sector,
            bytes: self.bytes.saturating_add(behind.bytes),
            met: self.met.min(behind.met),
            inserted: self.inserted.into_iter().chain(behind.inserted).min(),
            bios: self.bios.saturating_add(behind.bios),
            requeues: self.requeues.max(behind.requeues),
            ..first
        }
    }

    /// Records its insertion into the scheduler.
    pub fn insert(&mut self, record: &Record) {
        if self.inserted.is_none() && self.issued.is_none() {
            self.inserted = Some(record.time);
        }
        self.flags = flags_of(record);
    }

    /// Records its issue to the driver.
    pub fn issue(&mut self, record: &Record) {
        self.issued = Some(record.time);
        self.flags = flags_of(record);
    }

    /// Records a requeue by the driver.
    pub fn requeue(&mut self) {
        self.requeues = (self.requeues + 1).min(MOST_REQUEUES);
    }

    /// Records the completion of some of its bytes.
    pub fn complete(&mut self, record: &Record) {
        if self.issued.is_none() {
            self.flags = flags_of(record);
        }
        let bytes = u64::from(record.bytes).min(self.bytes);
        self.done = self.done.saturating_add(bytes);
        self.bytes -= bytes;
        // A driver's own command has no sector.
        if self.kind.has_bios() {
            self.sector = after(self.sector, bytes);
        }
        if record.error != 0 {
            self.error = -i32::from(record.error).abs();
        }
    }

    /// Whether the block layer executes it in a sequence with flush commands, which ends with a completion of 0 bytes. The flags at issue lack flush
    /// and FUA if the disk does not support them (block/blk-flush.c).
    pub fn is_in_sequence(&self) -> bool {
        let has = |flag: i32| self.flags & flag != 0;
        self.issued.is_some() && self.done > 0 && (self.is_flush && !has(16) || self.is_forced && !has(8))
    }

    /// Returns the request that completed at `end`, on a disk with its stacking depth. `offset_ns` converts times of the trace to times since 1970.
    pub fn ended(&self, (dev, level): (i32, i32), (offset_ns, tells_queueing): (i64, bool), end: u64) -> Ended {
        let has_bios = self.kind.has_bios();
        let is_queued = has_bios && tells_queueing;
        // A command without a bio, and any request of a trace without queueing, begins at its first record.
        let began = if is_queued { self.began } else { self.inserted.or(self.issued) };
        let between = |from: Option<u64>, to: Option<u64>| i64::try_from(to?.checked_sub(from?)?).ok();
        let op = self.op();
        let ts_ns = offset_ns.saturating_add_unsigned(began.unwrap_or(end));
        let class = self.class(op);
        let traced = Traced {
            level,
            dur_ns: between(began, Some(end)),
            queue_ns: between(began, self.inserted.or(self.issued)).filter(|_| is_queued || !has_bios),
            insert_ns: between(self.inserted, self.issued),
            submitter: self.submitter,
            cgroup_id: self.cgroup_id.filter(|_| matches!(class, IoClass::Data | IoClass::Readahead)),
            class,
            sector: i64::try_from(self.first()).ok().filter(|_| has_bios && op != Op::Flush),
            flags: self.flags,
            error: self.error,
            bios: self.bios,
            requeues: self.requeues,
            ..Traced::new(dev, ts_ns, op, 0, i64::try_from(self.done).unwrap_or(i64::MAX))
        };
        Ended { traced, is_unidentified: has_bios && self.submitter.is_none() }
    }

    fn op(&self) -> Op {
        match self.kind {
            Kind::Read => Op::Read,
            Kind::Write if self.done == 0 && self.bytes == 0 => Op::Flush,
            Kind::Write => Op::Write,
            Kind::Discard => Op::Discard,
            Kind::DeviceFlush => Op::DeviceFlush,
            Kind::DriverIn => Op::DriverIn,
            Kind::DriverOut => Op::DriverOut,
        }
    }

    fn class(&self, op: Op) -> IoClass {
        let is_metadata = self.flags & 2 != 0;
        match op {
            Op::Flush | Op::DeviceFlush => IoClass::Flush,
            Op::Discard => IoClass::Discard,
            Op::Write if is_metadata && self.submitter.is_some_and(|who| who.comm.0.starts_with(JOURNAL_THREAD)) => {
                IoClass::Journal
            }
            _ if is_metadata => IoClass::Metadata,
            Op::Read if self.flags & 32 != 0 => IoClass::Readahead,
            _ => IoClass::Data,
        }
    }
}

impl Kind {
    /// Whether it consists of bios.
    pub const fn has_bios(self) -> bool {
        !matches!(self, Kind::DeviceFlush | Kind::DriverIn | Kind::DriverOut)
    }
}

/// Returns the sector `bytes` after another.
pub fn after(sector: u64, bytes: u64) -> u64 {
    sector.saturating_add(bytes / SECTOR_BYTES)
}

fn flags_of(record: &Record) -> i32 {
    FLAGS.iter().filter(|(category, _)| record.has(*category)).map(|(_, flag)| flag).sum()
}
