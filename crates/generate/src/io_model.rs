//! I/O stack model: latency and rows of one operation at each layer, from the system call to the disk.

use iostrata_capture::column::Comm;
use iostrata_capture::op::{Evidence, FdKind, IoClass, Op, Via};
use iostrata_capture::tables::{BlockRow, FsRow, SyscallRow, VfsRow};
use rand::RngExt;
use rand_distr::LogNormal;
use rand_pcg::Pcg64Mcg;

use crate::actors::{File, JOURNAL, Process, WORKER};
use crate::layers::Layers;

/// Page size of the page cache, and readahead size.
const PAGE: i64 = 4_096;
const READAHEAD: i64 = 128 << 10;

/// Dirty bytes that make up one writeback request.
const WRITEBACK: i64 = 512 << 10;

/// Flags of open(2): `O_RDWR`, `O_DIRECT`.
const RDWR: i32 = 2;
const DIRECT: i32 = 0o40000;

/// Request flags, as in the table `block`.
const SYNC: i32 = 1;
const FUA: i32 = 8;
const READAHEAD_FLAG: i32 = 32;
const BACKGROUND: i32 = 64;

/// Latency distributions.
#[derive(Debug)]
pub struct Times {
    call: LogNormal<f64>,
    queue: LogNormal<f64>,
    insert: LogNormal<f64>,
    read: LogNormal<f64>,
    write: LogNormal<f64>,
    flush: LogNormal<f64>,
}

fn spread(median_ns: f64, sigma: f64) -> LogNormal<f64> {
    LogNormal::new(median_ns.ln(), sigma).unwrap_or_else(|_| unreachable!("constants that are finite"))
}

impl Default for Times {
    fn default() -> Times {
        Times {
            call: spread(1_800.0, 0.5),
            queue: spread(2_500.0, 0.6),
            insert: spread(4_000.0, 0.8),
            read: spread(82_000.0, 0.45),
            write: spread(24_000.0, 0.7),
            flush: spread(450_000.0, 0.4),
        }
    }
}

/// Thread `tid` of `process` at a point in time.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// The process.
    pub process: &'a Process,
    /// The thread.
    pub tid: i32,
    /// Begin of the operation.
    pub ts_ns: i64,
}

/// A requested operation.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// One of the `calls` of the profile, or `fdatasync`.
    pub op: Op,
    /// File.
    pub file: File,
    /// Offset in the file.
    pub offset: i64,
    /// Size.
    pub bytes: i64,
    /// Page cache hit of a read.
    pub hit: bool,
}

/// Dirty data of a file in the page cache.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dirty {
    /// First offset.
    pub from: i64,
    /// Size.
    pub bytes: i64,
    /// Number of writes.
    pub events: i64,
    /// Time of the first write.
    pub since_ns: i64,
}

/// A request to a disk, without its latency.
struct Io {
    op: Op,
    class: IoClass,
    flags: i32,
    evidence: Evidence,
    by_kernel: bool,
    offset: i64,
    bytes: i64,
}

/// Generates the rows of operations.
pub struct Stack {
    /// Tables for the rows.
    pub layers: Layers,
    times: Times,
}

impl Stack {
    /// Creates a model that writes to `layers`.
    pub fn new(layers: Layers) -> Stack {
        Stack { layers, times: Times::default() }
    }

    fn take(rng: &mut Pcg64Mcg, time: &LogNormal<f64>) -> i64 {
        let ns: f64 = rng.sample(time);
        // Tail: one in a thousand waits for something else and takes 20 times as long.
        let ns = if rng.random_ratio(1, 1_000) { ns * 20.0 } else { ns };
        ns.clamp(100.0, 60e9) as i64
    }

    /// Adds all rows of the operation `request` of `actor`. Returns its end.
    pub fn run(&mut self, rng: &mut Pcg64Mcg, actor: Actor, request: Request, dirty: &mut Dirty) -> i64 {
        let profile = actor.process.profile;
        let call_ns = Self::take(rng, &self.times.call);
        // The VFS operation begins a little later and ends a little earlier than the call.
        let vfs_ts_ns = actor.ts_ns + call_ns / 8;
        let mut end_ns = vfs_ts_ns + call_ns * 3 / 4;
        if request.op == Op::Fdatasync {
            end_ns = self.sync(rng, Actor { ts_ns: vfs_ts_ns, ..actor }, request.file, dirty, end_ns);
        } else if request.op == profile.calls[0] {
            if profile.direct || !request.hit {
                end_ns = self.read(rng, Actor { ts_ns: vfs_ts_ns, ..actor }, request, end_ns);
            }
        } else if profile.direct {
            let evidence = Evidence::Direct;
            let Request { offset, bytes, .. } = request;
            let io = Io { op: Op::Write, class: IoClass::Data, flags: SYNC, evidence, by_kernel: false, offset, bytes };
            end_ns = self.device(rng, Actor { ts_ns: end_ns, ..actor }, request.file, io);
        } else {
            self.dirty(rng, Actor { ts_ns: end_ns, ..actor }, request, dirty);
        }
        self.call(actor, request, (vfs_ts_ns, end_ns), call_ns / 8)
    }

    fn call(&mut self, actor: Actor, request: Request, (vfs_ts_ns, vfs_end_ns): (i64, i64), rest_ns: i64) -> i64 {
        let Actor { process, tid, ts_ns } = actor;
        let is_sync = request.op == Op::Fdatasync;
        let place = (!is_sync).then_some((request.offset, request.bytes));
        let ret = place.map_or(0, |(_, bytes)| bytes);
        let vfs_op = match request.op {
            Op::Fdatasync => Op::Fsync,
            op if op == process.profile.calls[0] => Op::Read,
            _ => Op::Write,
        };
        self.layers.vfs.push(
            vfs_end_ns,
            VfsRow {
                ts_ns: vfs_ts_ns,
                dur_ns: vfs_end_ns - vfs_ts_ns,
                pid: process.pid,
                tid,
                comm: process.comm,
                cgroup_id: process.cgroup_id,
                op: vfs_op,
                fd_kind: Some(FdKind::Regular),
                dev: Some(request.file.dev),
                ino: Some(request.file.ino),
                offset_bytes: Some(place.map_or(0, |(offset, _)| offset)),
                requested_bytes: place.map(|(_, bytes)| bytes),
                ret,
                weight: 1,
            },
        );
        let end_ns = vfs_end_ns + rest_ns;
        self.layers.syscall.push(
            end_ns,
            SyscallRow {
                ts_ns,
                dur_ns: end_ns - ts_ns,
                pid: process.pid,
                tid,
                comm: process.comm,
                cgroup_id: process.cgroup_id,
                op: request.op,
                fd_kind: Some(FdKind::Regular),
                dev: Some(request.file.dev),
                ino: Some(request.file.ino),
                offset_bytes: place.map(|(offset, _)| offset),
                requested_bytes: place.map(|(_, bytes)| bytes),
                runnable_ns: None,
                ret,
                flags: Some(RDWR | if process.profile.direct { DIRECT } else { 0 }),
                weight: 1,
            },
        );
        end_ns
    }

    /// Reads from the disk: the requested range for direct I/O, else whole pages with readahead.
    fn read(&mut self, rng: &mut Pcg64Mcg, actor: Actor, request: Request, from_ns: i64) -> i64 {
        let direct = actor.process.profile.direct;
        let Request { file, offset, bytes, .. } = request;
        let (offset, bytes) = if direct { (offset, bytes) } else { pages(offset, bytes.max(READAHEAD)) };
        let io = Io {
            op: Op::Read,
            class: if direct { IoClass::Data } else { IoClass::Readahead },
            flags: if direct { SYNC } else { READAHEAD_FLAG },
            evidence: Evidence::Direct,
            by_kernel: false,
            offset,
            bytes,
        };
        let end_ns = self.device(rng, Actor { ts_ns: from_ns, ..actor }, file, io);
        if !direct {
            let event =
                Gathered { op: Op::Fill, via: Some(Via::Call), dur_ns: end_ns - actor.ts_ns, events: bytes / PAGE };
            self.gathered(actor, file, event, (offset, bytes));
        }
        end_ns
    }

    /// Dirties pages. From [`WRITEBACK`] dirty bytes on, a kernel worker writes them back.
    fn dirty(&mut self, rng: &mut Pcg64Mcg, actor: Actor, request: Request, dirty: &mut Dirty) {
        let (offset, bytes) = pages(request.offset, request.bytes);
        if dirty.bytes == 0 {
            *dirty = Dirty { from: offset, since_ns: actor.ts_ns, ..Dirty::default() };
        }
        dirty.bytes += bytes;
        dirty.events += 1;
        if dirty.bytes >= WRITEBACK {
            self.write_back(rng, actor, request.file, dirty, true);
        }
    }

    fn write_back(&mut self, rng: &mut Pcg64Mcg, actor: Actor, file: File, dirty: &mut Dirty, by_kernel: bool) -> i64 {
        let Dirty { from, bytes, events, since_ns } = std::mem::take(dirty);
        let gathered = Gathered { op: Op::Dirty, via: Some(Via::Call), dur_ns: actor.ts_ns - since_ns, events };
        self.gathered(Actor { ts_ns: since_ns, ..actor }, file, gathered, (from, bytes));
        let flags = if by_kernel { BACKGROUND } else { SYNC };
        let evidence = Evidence::Inode;
        let io = Io { op: Op::Write, class: IoClass::Data, flags, evidence, by_kernel, offset: from, bytes };
        let end_ns = self.device(rng, actor, file, io);
        if by_kernel {
            let event = Gathered { op: Op::Writeback, via: None, dur_ns: end_ns - actor.ts_ns, events: 1 };
            self.gathered(actor, file, event, (from, bytes));
        }
        end_ns
    }

    /// Syncs a file: writes its dirty pages, commits the journal and flushes the disk cache.
    fn sync(&mut self, rng: &mut Pcg64Mcg, actor: Actor, file: File, dirty: &mut Dirty, from_ns: i64) -> i64 {
        let mut end_ns = from_ns;
        if dirty.bytes > 0 {
            end_ns = self.write_back(rng, Actor { ts_ns: end_ns, ..actor }, file, dirty, false);
        }
        let journal = |flags, offset, bytes| Io {
            op: Op::Write,
            class: IoClass::Journal,
            flags: SYNC | flags,
            evidence: Evidence::None,
            by_kernel: true,
            offset,
            bytes,
        };
        let commit_ns = end_ns;
        end_ns = self.device(rng, Actor { ts_ns: end_ns, ..actor }, file, journal(0, 0, 2 * PAGE));
        let flush = Io { op: Op::Flush, class: IoClass::Flush, ..journal(0, 0, 0) };
        end_ns = self.device(rng, Actor { ts_ns: end_ns, ..actor }, file, flush);
        end_ns = self.device(rng, Actor { ts_ns: end_ns, ..actor }, file, journal(FUA, 2 * PAGE, PAGE));
        self.layers.fs.push(
            end_ns,
            FsRow {
                ts_ns: commit_ns,
                dur_ns: Some(end_ns - commit_ns),
                op: Op::Commit,
                pid: JOURNAL.0,
                tid: JOURNAL.0,
                comm: Comm::of(JOURNAL.1),
                cgroup_id: 1,
                via: None,
                fs: Comm::default(),
                fd_kind: None,
                dev: file.dev,
                ino: None,
                offset_bytes: None,
                bytes: 3 * PAGE,
                events: 1,
                blocks: Some(3),
                weight: 1,
            },
        );
        let event = Gathered { op: Op::SyncFile, via: Some(Via::Call), dur_ns: end_ns - actor.ts_ns, events: 1 };
        self.gathered(actor, file, event, (0, 0));
        end_ns
    }

    fn gathered(&mut self, actor: Actor, file: File, event: Gathered, (offset, bytes): (i64, i64)) {
        let Actor { process, tid, ts_ns } = actor;
        self.layers.fs.push(
            ts_ns + event.dur_ns,
            FsRow {
                ts_ns,
                dur_ns: Some(event.dur_ns),
                op: event.op,
                pid: process.pid,
                tid,
                comm: process.comm,
                cgroup_id: process.cgroup_id,
                via: event.via,
                fs: Comm::of("ext4"),
                fd_kind: Some(FdKind::Regular),
                dev: file.dev,
                ino: Some(file.ino),
                offset_bytes: (bytes > 0).then_some(offset),
                bytes,
                events: event.events,
                blocks: None,
                weight: 1,
            },
        );
    }

    /// Adds a block request. Returns its end.
    fn device(&mut self, rng: &mut Pcg64Mcg, actor: Actor, file: File, io: Io) -> i64 {
        let Actor { process, tid, ts_ns } = actor;
        let queue_ns = Self::take(rng, &self.times.queue);
        let insert_ns = rng.random_bool(0.1).then(|| Self::take(rng, &self.times.insert));
        let time = match io.op {
            Op::Read => &self.times.read,
            Op::Flush => &self.times.flush,
            _ => &self.times.write,
        };
        // Transfer at 2 GB/s, in addition to the latency per request.
        let device_ns = Self::take(rng, time) + io.bytes / 2;
        let dur_ns = queue_ns + insert_ns.unwrap_or(0) + device_ns;
        let owned = io.evidence != Evidence::None;
        let is_journal = !owned;
        let submitter = io.by_kernel.then_some(if is_journal { JOURNAL } else { WORKER });
        self.layers.block.push(
            ts_ns + dur_ns,
            BlockRow {
                ts_ns,
                dur_ns: Some(dur_ns),
                queue_ns: Some(queue_ns),
                insert_ns,
                pid: owned.then_some(process.pid),
                tid: owned.then_some(tid),
                comm: if owned { process.comm } else { Comm::default() },
                cgroup_id: owned.then_some(process.cgroup_id),
                start_ns: owned.then_some(process.start_ns),
                evidence: io.evidence,
                owned_bytes: if owned { io.bytes } else { 0 },
                shared_bytes: 0,
                submitter_pid: submitter.map(|(pid, _)| pid),
                submitter_comm: submitter.map_or(Comm::default(), |(_, name)| Comm::of(name)),
                class: io.class,
                file_dev: owned.then_some(file.dev),
                ino: owned.then_some(file.ino),
                dev: file.disk,
                level: Some(0),
                // The journal is before all files.
                sector: (io.op != Op::Flush)
                    .then(|| if is_journal { io.offset / 512 } else { file.sector + io.offset / 512 }),
                bytes: io.bytes,
                op: io.op,
                flags: io.flags,
                error: 0,
                bios: i32::try_from(io.bytes.div_euclid(256 << 10)).unwrap_or(0).max(1),
                requeues: 0,
                weight: 1,
            },
        );
        ts_ns + dur_ns
    }
}

/// An aggregated event of the file system layer for one process and file.
struct Gathered {
    op: Op,
    via: Option<Via>,
    dur_ns: i64,
    events: i64,
}

/// Offset and size of the whole pages that a range touches.
fn pages(offset: i64, bytes: i64) -> (i64, i64) {
    let from = offset.div_euclid(PAGE) * PAGE;
    let to = (offset + bytes + PAGE - 1).div_euclid(PAGE) * PAGE;
    (from, to - from)
}
