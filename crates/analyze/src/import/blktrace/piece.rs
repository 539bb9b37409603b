//! A bio or request on its way, and the request that it ends as.

use iostrata_capture::op::{IoClass, Op};

use super::record::{Kind, Record, category};
use crate::import::traced::{Submitter, Traced};

/// A sector, whatever the disk's own blocks are.
const SECTOR_BYTES: u64 = 512;

/// As often a request is counted to come back at most, as in the table.
const MOST_REQUEUES: i32 = 255;

/// What the journal's threads of ext4 are called.
const JOURNAL_THREAD: &[u8] = b"jbd2/";

/// Categories of a record, and the flags that they are in the table.
const FLAGS: [(u32, i32); 5] =
    [(category::SYNC, 1), (category::META, 2), (category::FUA, 8), (category::FLUSH, 16), (category::AHEAD, 32)];

/// A bio, or a request that was made of one or of several. Times are the trace's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: Kind,
    /// Where what is left of it begins.
    pub sector: u64,
    /// What is left of it.
    pub bytes: u64,
    /// What of it is done.
    pub done: u64,
    /// When it was met.
    pub met: u64,
    /// When its first bio was queued, or else a request allocated for it.
    pub began: Option<u64>,
    /// When it went to the scheduler first.
    pub inserted: Option<u64>,
    /// When it went to the driver last.
    pub issued: Option<u64>,
    /// Who queued its first bio.
    pub submitter: Option<Submitter>,
    cgroup_id: Option<i64>,
    /// Whether data or order was to be on the medium, as it was queued.
    is_flush: bool,
    is_forced: bool,
    flags: i32,
    error: i32,
    bios: i32,
    requeues: i32,
}

/// A request that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// As it is told of.
    pub traced: Traced,
    /// Whether it had bios and nobody saw them queued.
    pub is_unidentified: bool,
}

impl Piece {
    /// What `record` is of, of which nothing else is known.
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

    /// The bio of a Q.
    pub fn queued(record: &Record, submitter: Submitter) -> Piece {
        Piece { began: Some(record.time), submitter: Some(submitter), ..Piece::unseen(record) }
    }

    /// The request of a G of whose bio nothing is known.
    pub fn allocated(record: &Record) -> Piece {
        Piece { began: Some(record.time), ..Piece::unseen(record) }
    }

    /// Where it began before any of it was done.
    pub fn first(&self) -> u64 {
        self.sector.saturating_sub(if self.kind.has_bios() { self.done / SECTOR_BYTES } else { 0 })
    }

    /// Where it ends.
    pub fn end(&self) -> u64 {
        after(self.sector, self.bytes)
    }

    /// Cuts it in two after so many bytes; the rest.
    pub fn split(&mut self, bytes: u64) -> Piece {
        let rest = Piece { sector: after(self.sector, bytes), bytes: self.bytes - bytes, ..*self };
        self.bytes = bytes;
        rest
    }

    /// Puts what was merged into it behind it. What was in the scheduler already took in the other, whichever is in front; else the first bio of
    /// which something is known counts.
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

    /// It goes to the scheduler.
    pub fn insert(&mut self, record: &Record) {
        if self.inserted.is_none() && self.issued.is_none() {
            self.inserted = Some(record.time);
        }
        self.flags = flags_of(record);
    }

    /// It goes to the driver.
    pub fn issue(&mut self, record: &Record) {
        self.issued = Some(record.time);
        self.flags = flags_of(record);
    }

    /// The driver handed it back.
    pub fn requeue(&mut self) {
        self.requeues = (self.requeues + 1).min(MOST_REQUEUES);
    }

    /// Some bytes of it are done.
    pub fn complete(&mut self, record: &Record) {
        if self.issued.is_none() {
            self.flags = flags_of(record);
        }
        let bytes = u64::from(record.bytes).min(self.bytes);
        self.done = self.done.saturating_add(bytes);
        self.bytes -= bytes;
        // A driver's own command has no place.
        if self.kind.has_bios() {
            self.sector = after(self.sector, bytes);
        }
        if record.error != 0 {
            self.error = -i32::from(record.error).abs();
        }
    }

    /// Whether the block layer makes a sequence of it and of flush commands, which ends with a completion of no bytes. Orders that the disk does not
    /// take itself are gone from the flags that it was issued with (block/blk-flush.c).
    pub fn is_in_sequence(&self) -> bool {
        let has = |flag: i32| self.flags & flag != 0;
        self.issued.is_some() && self.done > 0 && (self.is_flush && !has(16) || self.is_forced && !has(8))
    }

    /// The request that was over at `end`, of a disk at a level. `offset_ns` makes times since 1970 of the trace's.
    pub fn ended(&self, (dev, level): (i32, i32), (offset_ns, tells_queueing): (i64, bool), end: u64) -> Ended {
        let has_bios = self.kind.has_bios();
        let is_queued = has_bios && tells_queueing;
        // A command without a bio, and all that a trace without queueing has, begins where it is first seen.
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
    /// Whether it is made of bios.
    pub const fn has_bios(self) -> bool {
        !matches!(self, Kind::DeviceFlush | Kind::DriverIn | Kind::DriverOut)
    }
}

/// The sector so many bytes behind another.
pub fn after(sector: u64, bytes: u64) -> u64 {
    sector.saturating_add(bytes / SECTOR_BYTES)
}

fn flags_of(record: &Record) -> i32 {
    FLAGS.iter().filter(|(category, _)| record.has(*category)).map(|(_, flag)| flag).sum()
}
