//! Conversion of BPF records to rows. Pure: the same record gives the same row.

mod process_record;

use anyhow::{Result, anyhow};
use iostrata_capture::column::Comm;
use iostrata_capture::ledger::Amounts;
use iostrata_capture::op::{Direction, Evidence, FdKind, IoClass, Op, PathOrigin, Via};
use iostrata_capture::tables::{BlockRow, FileRow, FsRow, ProcessRow, ShareRow, SyscallRow, VfsRow};

use crate::books::DeviceRows;
use crate::bpf::types;
use crate::privacy::Redaction;
use crate::sampling::Rates;
use crate::session::Words;

pub use process_record::ProcessRecord;

/// `MISSING` of `bpf/events.h`.
const MISSING: i64 = i64::MIN;

/// State for the conversion of records to rows.
pub struct Decoder {
    /// Offset added to monotonic times.
    pub clock_offset_ns: i64,
    ops: Vec<Option<Op>>,
    io_classes: Vec<IoClass>,
    evidences: Vec<Evidence>,
    vias: Vec<Option<Via>>,
    path_origins: Vec<Option<PathOrigin>>,
    veil: Redaction,
    /// Sampling rates; set if recording may be sampled.
    rates: Option<Rates>,
}

/// Owner columns of a row.
struct Owner {
    pid: Option<i32>,
    tid: Option<i32>,
    comm: Comm,
    cgroup_id: Option<i64>,
    start_ns: Option<i64>,
    evidence: Evidence,
}

fn comm(chars: &[i8; 16]) -> Comm {
    Comm(chars.map(|c| c as u8))
}

fn known(value: i64) -> Option<i64> {
    (value != MISSING).then_some(value)
}

/// Result as seen by the program: EINTR instead of the kernel's internal restart codes (include/linux/errno.h).
fn result_of(ret: i64) -> i64 {
    const EINTR: i64 = 4;
    if matches!(ret, -514..=-512 | -516) { -EINTR } else { ret }
}

fn fd_kind(kind: u8) -> Option<FdKind> {
    match types::fd_kind(u32::from(kind)) {
        types::fd_kind::FD_REGULAR => Some(FdKind::Regular),
        types::fd_kind::FD_BLOCK => Some(FdKind::Block),
        types::fd_kind::FD_MEMORY => Some(FdKind::Memory),
        types::fd_kind::FD_DIRECTORY => Some(FdKind::Directory),
        _ => None,
    }
}

/// Negative errno from the status of `block_rq_complete`: an errno before 5.16, a `blk_status_t` since then (`blk_errors[]` in block/blk-core.c).
fn errno_of(status: i32) -> i32 {
    match status {
        i32::MIN..=0 => status,
        1 => -95,  // BLK_STS_NOTSUPP: EOPNOTSUPP
        2 => -110, // BLK_STS_TIMEOUT: ETIMEDOUT
        3 => -28,  // BLK_STS_NOSPC: ENOSPC
        4 => -67,  // BLK_STS_TRANSPORT: ENOLINK
        5 => -121, // BLK_STS_TARGET: EREMOTEIO
        6 => -52,  // BLK_STS_RESV_CONFLICT: EBADE
        7 => -61,  // BLK_STS_MEDIUM: ENODATA
        8 => -84,  // BLK_STS_PROTECTION: EILSEQ
        9 => -12,  // BLK_STS_RESOURCE: ENOMEM
        11 => -78, // BLK_STS_DM_REQUEUE: EREMCHG
        12 => -11, // BLK_STS_AGAIN: EAGAIN
        13 => -16, // BLK_STS_DEV_RESOURCE: EBUSY
        _ => -5,   // BLK_STS_IOERR and what later kernels add: EIO
    }
}

fn known_word<T>(word: &str, parse: fn(&str) -> Option<T>) -> Result<T> {
    parse(word)
        .ok_or_else(|| anyhow!("unknown name {word:?} in the BPF object: recorder and capture schema are out of sync"))
}

fn word_or_none<T>(word: &str, parse: fn(&str) -> Option<T>) -> Result<Option<T>> {
    if word.is_empty() { Ok(None) } else { known_word(word, parse).map(Some) }
}

impl Decoder {
    /// Creates a decoder for the names that the BPF programs use. `veil` redacts command lines and paths. `rates` gives the weight of a row if
    /// recording may be sampled.
    pub fn new(clock_offset_ns: i64, words: &Words, veil: Redaction, rates: Option<Rates>) -> Result<Self> {
        Ok(Decoder {
            clock_offset_ns,
            ops: words.ops.iter().map(|word| word_or_none(word, Op::parse)).collect::<Result<_>>()?,
            io_classes: words.io_classes.iter().map(|word| known_word(word, IoClass::parse)).collect::<Result<_>>()?,
            evidences: words.evidences.iter().map(|word| known_word(word, Evidence::parse)).collect::<Result<_>>()?,
            vias: words.vias.iter().map(|word| word_or_none(word, Via::parse)).collect::<Result<_>>()?,
            path_origins: words
                .path_origins
                .iter()
                .map(|word| word_or_none(word, PathOrigin::parse))
                .collect::<Result<_>>()?,
            veil,
            rates,
        })
    }

    fn op(&self, head: &types::event_head) -> Option<Op> {
        self.ops.get(usize::from(head.op)).copied().flatten()
    }

    fn weight(&self, head: &types::event_head) -> i32 {
        self.rates.as_ref().map_or(1, |rates| rates.weight_at(head.start_ns))
    }

    /// Decodes a system call, or an operation of aio or io_uring. `call` is set if the record has the run-queue latency.
    #[inline]
    pub fn syscall(&self, event: &types::file_event, call: Option<&types::call_event>) -> Option<SyscallRow> {
        let head = &event.head;
        Some(SyscallRow {
            ts_ns: head.start_ns + self.clock_offset_ns,
            dur_ns: event.duration_ns,
            pid: event.who.pid as i32,
            tid: event.who.tid as i32,
            comm: comm(&event.who.comm),
            cgroup_id: event.who.cgroup_id as i64,
            op: self.op(head)?,
            fd_kind: fd_kind(head.fd_kind),
            dev: (event.dev >= 0).then_some(event.dev),
            ino: known(event.ino),
            offset_bytes: known(event.offset_bytes),
            requested_bytes: known(event.requested_bytes),
            runnable_ns: call.and_then(|call| known(call.runnable_ns)),
            ret: result_of(event.ret),
            flags: (event.open_flags >= 0).then_some(event.open_flags),
            weight: self.weight(head),
        })
    }

    /// Decodes a VFS operation.
    #[inline]
    pub fn vfs(&self, event: &types::file_event) -> Option<VfsRow> {
        let head = &event.head;
        Some(VfsRow {
            ts_ns: head.start_ns + self.clock_offset_ns,
            dur_ns: event.duration_ns,
            pid: event.who.pid as i32,
            tid: event.who.tid as i32,
            comm: comm(&event.who.comm),
            cgroup_id: event.who.cgroup_id as i64,
            op: self.op(head)?,
            fd_kind: fd_kind(head.fd_kind),
            dev: (event.dev >= 0).then_some(event.dev),
            ino: known(event.ino),
            offset_bytes: known(event.offset_bytes),
            requested_bytes: known(event.requested_bytes),
            ret: result_of(event.ret),
            weight: self.weight(head),
        })
    }

    /// Decodes a file system event.
    pub fn fs(&self, event: &types::fs_event) -> Option<FsRow> {
        let head = &event.head;
        let op = self.op(head)?;
        Some(FsRow {
            ts_ns: head.start_ns + self.clock_offset_ns,
            dur_ns: known(event.duration_ns),
            op,
            pid: event.who.pid as i32,
            tid: event.who.tid as i32,
            comm: comm(&event.who.comm),
            cgroup_id: event.who.cgroup_id as i64,
            via: *self.vias.get(usize::from(event.via))?,
            fs: comm(&event.fs),
            fd_kind: known(event.ino).and_then(|_| fd_kind(head.fd_kind)),
            dev: event.dev,
            ino: known(event.ino),
            offset_bytes: known(event.offset_bytes),
            bytes: event.bytes as i64,
            events: event.events as i64,
            blocks: known(event.blocks),
            weight: if op.is_gathered() { self.weight(head) } else { 1 },
        })
    }

    /// Decodes a block request of a device at `level`. `submitter` is set if the request was not submitted directly by its owner.
    #[inline]
    pub fn block(
        &self,
        event: &types::block_event,
        submitter: Option<&types::submitter>,
        level: Option<i32>,
    ) -> Option<BlockRow> {
        let origin = &event.origin;
        let owner = self.owner(&origin.who, origin.start_ns, origin.evidence)?;
        let bytes = i64::from(event.bytes);
        let (file_dev, ino) = file_of(origin.file_dev, origin.ino);
        Some(BlockRow {
            ts_ns: event.head.start_ns + self.clock_offset_ns,
            dur_ns: known(event.duration_ns),
            queue_ns: known(event.queue_ns),
            insert_ns: known(event.insert_ns),
            pid: owner.pid,
            tid: owner.tid,
            comm: owner.comm,
            cgroup_id: owner.cgroup_id,
            start_ns: owner.start_ns,
            evidence: owner.evidence,
            owned_bytes: if owner.pid.is_some() { i64::from(origin.owned_bytes).min(bytes) } else { 0 },
            shared_bytes: 0,
            submitter_pid: submitter.map(|submitter| submitter.pid as i32),
            submitter_comm: submitter.map(|submitter| comm(&submitter.comm)).unwrap_or_default(),
            class: *self.io_classes.get(usize::from(origin.io_class))?,
            file_dev,
            ino,
            dev: origin.dev as i32,
            level,
            sector: known(event.sector),
            bytes,
            op: self.op(&event.head)?,
            flags: i32::from(event.flags),
            error: errno_of(event.error),
            bios: i32::from(event.bios),
            requeues: i32::from(event.requeues),
            weight: self.weight(&event.head),
        })
    }

    /// Decodes the parts of a request that are not its owner's, and adds them to `row`.
    pub fn shares(&self, row: &mut BlockRow, event: &types::block_event_parts) -> Option<Vec<ShareRow>> {
        let others = usize::from(event.submitted.event.origin.others);
        let mut shares = Vec::with_capacity(others);
        for part in event.others.iter().take(others) {
            let owner = self.owner(&part.who, part.start_ns, part.evidence)?;
            // For a request that failed midway, the owner of the completed bytes is unknown.
            let (file_dev, ino) = file_of(part.file_dev, part.ino);
            let bytes = i64::from(part.bytes).min(row.bytes - row.owned_bytes - row.shared_bytes);
            row.shared_bytes += bytes;
            shares.push(ShareRow {
                ts_ns: row.ts_ns,
                dev: row.dev,
                sector: row.sector,
                op: row.op,
                flags: row.flags,
                pid: owner.pid,
                tid: owner.tid,
                comm: owner.comm,
                cgroup_id: owner.cgroup_id,
                start_ns: owner.start_ns,
                evidence: owner.evidence,
                class: *self.io_classes.get(usize::from(part.io_class))?,
                file_dev,
                ino,
                bytes,
                weight: row.weight,
            });
        }
        Some(shares)
    }

    fn owner(&self, who: &types::identity, start_ns: u64, evidence: u8) -> Option<Owner> {
        let evidence = *self.evidences.get(usize::from(evidence))?;
        let owned = !matches!(evidence, Evidence::None | Evidence::Cgroup);
        Some(Owner {
            pid: owned.then_some(who.pid as i32),
            tid: owned.then_some(who.tid as i32),
            comm: comm(&who.comm),
            cgroup_id: (evidence != Evidence::None).then_some(who.cgroup_id as i64),
            start_ns: owned.then_some(start_ns as i64 + self.clock_offset_ns),
            evidence,
        })
    }

    /// Decodes a process.
    pub fn process(&self, portrait: &ProcessRecord) -> ProcessRow {
        let process = portrait.process;
        let who = &process.who;
        let exe = self.path(portrait.exe, process.exe_components, process.exe_origin);
        let cgroup = self.path(portrait.cgroup, process.cgroup_components, process.cgroup_origin);
        ProcessRow {
            ts_ns: process.head.start_ns + self.clock_offset_ns,
            pid: who.pid as i32,
            ppid: process.ppid as i32,
            start_ns: process.process_start_ns as i64 + self.clock_offset_ns,
            comm: comm(&who.comm),
            kernel_thread: process.kernel_thread != 0,
            cgroup_id: who.cgroup_id as i64,
            exe: exe.and_then(|(path, _)| self.veil.executable(path)),
            cmdline: portrait.cmdline().and_then(|line| self.veil.command_line(line)),
            // A truncated path does not identify the cgroup.
            cgroup: cgroup.filter(|(_, origin)| *origin != PathOrigin::Cut).map(|(path, _)| path),
        }
    }

    /// Decodes the name of a file.
    pub fn file(&self, event: &types::name_event) -> FileRow {
        let path = self.path(&event.path, event.components, event.path_origin);
        let (path, path_origin) = path.and_then(|(path, origin)| self.veil.path(path).zip(Some(origin))).unzip();
        FileRow {
            ts_ns: event.head.start_ns + self.clock_offset_ns,
            dev: event.dev,
            ino: event.ino,
            generation: i64::from(event.generation),
            path,
            path_origin,
            mount_namespace: (event.mount_namespace != 0).then_some(i64::from(event.mount_namespace)),
            deleted: event.deleted != 0,
            fd_kind: fd_kind(event.head.fd_kind),
            fs: comm(&event.fs),
            pid: event.pid as i32,
        }
    }

    /// Decodes a path and its origin.
    fn path(&self, names: &[i8], components: u8, origin: u8) -> Option<(String, PathOrigin)> {
        let origin = (*self.path_origins.get(usize::from(origin))?)?;
        let path = match (path_of(names, components), origin) {
            // A truncated path does not start at a root.
            (Some(path), PathOrigin::Cut) => path.trim_start_matches('/').to_owned(),
            // Without any name, the path is the root itself.
            (None, PathOrigin::Namespace | PathOrigin::Filesystem) => "/".to_owned(),
            (path, _) => path?,
        };
        Some((path, origin))
    }
}

/// Device and inode number of a file, if there is one.
fn file_of(dev: u32, ino: u64) -> (Option<i32>, Option<i64>) {
    ((ino != 0).then_some(dev as i32), (ino != 0).then_some(ino as i64))
}

/// Builds a path from its names. The BPF programs store them from the file up to the root.
fn path_of(chars: &[i8], components: u8) -> Option<String> {
    let bytes: Vec<u8> = chars.iter().map(|c| *c as u8).collect();
    let mut names: Vec<&[u8]> = bytes.split(|b| *b == 0).take(usize::from(components)).collect();
    if names.is_empty() {
        return None;
    }
    names.reverse();
    Some(names.iter().map(|name| format!("/{}", String::from_utf8_lossy(name))).collect())
}

/// I/O of a file operation: the bytes completed.
pub fn file_amounts(op: Op, ret: i64) -> Amounts {
    Amounts::of(op.direction(), u64::try_from(ret).unwrap_or(0))
}

/// Adds a block row to its device's counters, in the units of the kernel's counters.
pub fn add_to_counters(rows: &mut DeviceRows, row: &BlockRow) {
    let uncounted = row.flags as u32 & types::request_flag::REQUEST_UNCOUNTED.0 != 0 && row.op != Op::DeviceFlush;
    let counters = if uncounted { &mut rows.uncounted } else { &mut rows.counted };
    let bytes = row.bytes as u64;
    match (row.op, row.op.direction()) {
        (_, Some(Direction::Read)) => {
            counters.read_ops += 1;
            counters.read_bytes += bytes;
        }
        (_, Some(Direction::Write)) => {
            counters.write_ops += 1;
            counters.write_bytes += bytes;
        }
        (Op::Discard | Op::SecureErase, _) => {
            counters.discard_ops += 1;
            counters.discard_bytes += bytes;
        }
        (Op::DeviceFlush, _) => *counters.flush_ops.get_or_insert(0) += 1,
        _ => {}
    }
}

#[cfg(test)]
mod tests;
