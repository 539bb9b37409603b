//! Rows for the matching of requests to calls.

use arrow_array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Direction, Evidence, FdKind, IoClass, Layer, Op};
use iostrata_capture::tables::{block, fs, share, syscall};
use iostrata_capture::view;

use super::accumulators::{Accumulators, NO_SLOT};
use super::attribution::{AttributionKey, RowAttribution};
use super::chunk::Chunk;
use super::kind::{Counted, Kind};
use super::{Fold, Order, possible_weight};
use crate::aggregate::crossing::{Call, Commit, Request, Share, Waits};
use crate::entity::Places;
use crate::valid::{self, end_ns};

view! {
    /// System calls.
    pub Calls of syscall { ts_ns, dur_ns, pid, tid, comm, cgroup_id, op, fd_kind, dev, ino, offset_bytes, runnable_ns, ret, flags, weight }
}

view! {
    /// Block requests.
    pub Requests of block {
        ts_ns, dur_ns, queue_ns, insert_ns, pid, tid, evidence, owned_bytes, shared_bytes, class, file_dev, ino, dev, sector, bytes, op
    }
}

view! {
    /// Parts of requests.
    pub Shares of share { ts_ns, dev, sector, file_dev, ino, bytes }
}

view! {
    /// File system operations.
    pub Commits of fs { ts_ns, dur_ns, op, dev, blocks }
}

/// `O_DSYNC` of fcntl.h: each write is synced, at least its data.
const O_DSYNC: i32 = 0o10000;

/// `O_DIRECT` of fcntl.h on x86 and on Arm. Each has `O_DIRECTORY` at the other's bit, which is set for no file that can be read or
/// written.
const O_DIRECT: i32 = 0o40000 | 0o200000;

/// Returns the requests that a call of this kind waits for besides its own; `None` if it neither moves bytes nor syncs.
fn waits(op: Op, file_kind: Option<FdKind>, flags: Option<i32>) -> Option<Waits> {
    let of_file = if file_kind == Some(FdKind::Block) { Waits::Disk } else { Waits::Journal };
    match (op, op.direction()) {
        (Op::Fsync | Op::Fdatasync | Op::AioFsync | Op::UringFsync, _) => Some(of_file),
        (Op::SyncFileRange | Op::UringSyncFileRange, _) => Some(Waits::File),
        (Op::Syncfs, _) => Some(Waits::Disk),
        (Op::Sync, _) => Some(Waits::All),
        // The row has no file. Its own thread queues the writes.
        (Op::Msync, _) => Some(Waits::Own),
        (_, Some(Direction::Write)) if flags.is_some_and(|flags| flags & O_DSYNC != 0) => Some(of_file),
        (_, Some(_)) => Some(Waits::Own),
        _ => None,
    }
}

fn is_async(op: Op) -> bool {
    matches!(
        op,
        Op::AioRead
            | Op::AioWrite
            | Op::AioFsync
            | Op::UringRead
            | Op::UringWrite
            | Op::UringFsync
            | Op::UringSyncFileRange
            | Op::UringSpliceIn
            | Op::UringSpliceOut
    )
}

/// Slot of the system of a call, and its process, cgroup, file and disk; `None` if the call is not selected.
type Its = Option<(u32, Places)>;

/// Attribution of the calls of a batch, by row, if it was determined when they were counted.
#[derive(Debug, Default)]
pub struct Known(Vec<Option<Its>>);

impl Known {
    /// Starts a batch of `rows` calls of unknown attribution.
    pub fn begin(&mut self, rows: usize) {
        self.0.clear();
        self.0.resize(rows, None);
    }

    /// Adds the attribution of the calls of a chunk.
    pub fn add(&mut self, accounts: &Accumulators, chunk: &Chunk) {
        if self.0.is_empty() {
            return;
        }
        for (asked, account) in chunk.asked.iter().zip(&chunk.accounts) {
            let places = accounts.places(*account).filter(|_| account.slot != NO_SLOT);
            if let Some(known) = self.0.get_mut(asked.row as usize) {
                *known = Some(places.map(|places| (account.slot, places)));
            }
        }
    }

    fn of(&self, row: usize) -> Option<Its> {
        self.0.get(row).copied().flatten()
    }
}

impl Fold<'_> {
    /// Adds calls that overlap the time ranges.
    pub(super) fn cross_calls(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let view = Calls::new(batch)?;
        for row in 0..view.rows {
            self.cross_call(&view, row);
        }
        Ok(())
    }

    fn cross_call(&mut self, view: &Calls, row: usize) {
        let (ts_ns, op, file_kind, flags) =
            (view.ts_ns.at(row), view.op.at(row), view.fd_kind.at(row), view.flags.at(row));
        let Some(Order { stretches, .. }) = &self.order else { return };
        let (Some(waits), Some(end_ns)) = (waits(op, file_kind, flags), end_ns(ts_ns, Some(view.dur_ns.at(row))))
        else {
            return;
        };
        let is_on_disk = matches!(file_kind, Some(FdKind::Regular | FdKind::Block)) || op.direction().is_none();
        if !stretches.reaches((ts_ns, end_ns)) || !is_on_disk || file_kind == Some(FdKind::Memory) {
            return;
        }
        if self.is_beyond(ts_ns, Some(view.dur_ns.at(row))) {
            return;
        }
        let (dev, ino) = (view.dev.at(row), view.ino.at(row));
        let direction = op.direction();
        // Requests of a block device have no file.
        let file = dev.zip(ino).filter(|_| file_kind != Some(FdKind::Block));
        // Calls that are not selected have requests too, which must not be matched to others.
        let whose = match self.known.of(row) {
            _ if !self.is_within(ts_ns) => None,
            Some(known) => known,
            None => {
                let kind = Kind { layer: Layer::Syscall, direction, counted: Counted::Whole(None) };
                let told = RowAttribution::done((view.pid.at(row), Some(view.cgroup_id.at(row))), (dev, ino), kind);
                self.whose(&RowAttribution { file, ..told }, ts_ns, view.comm.at(row))
            }
        };
        let call = Call {
            ts_ns,
            end_ns,
            tid: view.tid.at(row),
            op,
            direction,
            waits,
            is_async: is_async(op),
            is_direct: flags.is_some_and(|flags| flags & O_DIRECT != 0),
            file,
            dev,
            disk: dev.and_then(|dev| self.scan.mounted.get(&dev).copied()),
            position: view.offset_bytes.at(row),
            bytes: if direction.is_some() { valid::bytes(view.ret.at(row)).unwrap_or(0) } else { 0 },
            runnable_ns: view
                .runnable_ns
                .at(row)
                .and_then(|ns| u64::try_from(ns).ok())
                .filter(|ns| *ns <= end_ns.abs_diff(ts_ns)),
            failed: view.ret.at(row) < 0,
            weight: possible_weight(view.weight.at(row)).unwrap_or(1),
            is_regular: file_kind == Some(FdKind::Regular),
            whose,
        };
        let Some(Order { stretches, .. }) = &mut self.order else { return };
        stretches.call(&call);
    }

    /// Returns the attribution of a row, if it is selected.
    fn whose(&mut self, told: &RowAttribution, ts_ns: i64, comm: Option<&str>) -> Its {
        let Fold { whose, partial, accounts, .. } = self;
        let key = AttributionKey::of(told);
        whose.questions.iter_mut().for_each(|questions| questions.began(ts_ns));
        let account = match whose.known(&key, ts_ns) {
            Some(account) => account,
            None => whose.open((partial, accounts), &key, (ts_ns, comm)),
        };
        let places = accounts.places(account).filter(|_| account.slot != NO_SLOT);
        if accounts.are_many(whose.remembered(), self.scan.most_accounts) {
            accounts.close(self.scan.capture, partial);
            whose.forget();
        }
        places.map(|places| (account.slot, places))
    }

    /// Adds requests that were queued in the time ranges.
    pub(super) fn cross_requests(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let view = Requests::new(batch)?;
        let (choice, capture) = (self.scan.choice, self.scan.capture);
        for row in 0..view.rows {
            let ts_ns = view.ts_ns.at(row);
            let is_beyond = self.is_beyond(ts_ns, view.dur_ns.at(row));
            let Some(Order { stretches, .. }) = &mut self.order else { return Ok(()) };
            if stretches.has(ts_ns) && !is_beyond {
                stretches.request(request(&view, row, choice.takes(capture.place(), view.dev.at(row))));
            }
        }
        Ok(())
    }

    /// Adds parts of requests that were queued in the time ranges.
    pub(super) fn cross_shares(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let view = Shares::new(batch)?;
        let tail = self.scan.tail;
        let mut is_left_out = false;
        let Some(Order { stretches, .. }) = &mut self.order else { return Ok(()) };
        for row in 0..view.rows {
            let of = (view.ts_ns.at(row), view.dev.at(row), view.sector.at(row));
            if !stretches.has(of.0) {
                continue;
            }
            if tail.leaves_out_part(of.0, of.1, of.2) {
                is_left_out = true;
                continue;
            }
            if let (Some(dev), Some(ino), Some(bytes)) =
                (view.file_dev.at(row), view.ino.at(row), valid::bytes(view.bytes.at(row)))
            {
                stretches.share(Share { of, file: (dev, ino), bytes });
            }
        }
        self.note_beyond(is_left_out);
        Ok(())
    }

    /// Adds commits that ended in the time ranges.
    pub(super) fn cross_commits(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let view = Commits::new(batch)?;
        for row in (0..view.rows).filter(|row| view.op.at(*row) == Op::Commit) {
            let (ts_ns, dur_ns) = (view.ts_ns.at(row), view.dur_ns.at(row));
            if self.is_beyond(ts_ns, dur_ns) {
                continue;
            }
            let Some((Order { stretches, .. }, end_ns)) = self.order.as_mut().zip(end_ns(ts_ns, dur_ns)) else {
                continue;
            };
            let blocks = view.blocks.at(row).and_then(valid::bytes).unwrap_or(0);
            stretches.commit(Commit { end_ns, dev: view.dev.at(row), blocks });
        }
        Ok(())
    }
}

fn request(view: &Requests, row: usize, is_taken: bool) -> Request {
    let ts_ns = view.ts_ns.at(row);
    let bytes = |bytes: i64| valid::bytes(bytes).unwrap_or(0);
    let (op, class) = (view.op.at(row), view.class.at(row));
    let (queue_ns, insert_ns) = (view.queue_ns.at(row), view.insert_ns.at(row));
    let issued_ns = end_ns(ts_ns, queue_ns).and_then(|ns| end_ns(ns, insert_ns.or(Some(0))));
    // A flush has no queueing time: the block layer makes a separate command of it.
    let issued_ns = if op == Op::Flush { issued_ns.or(Some(ts_ns)) } else { issued_ns };
    let all = bytes(view.bytes.at(row));
    // Bytes of other parts are subtracted when the parts are read.
    let owned = match view.pid.at(row) {
        Some(_) => bytes(view.owned_bytes.at(row)).min(all),
        None => all.saturating_sub(bytes(view.shared_bytes.at(row))),
    };
    let file = view.file_dev.at(row).zip(view.ino.at(row)).filter(|_| class == IoClass::Data && owned > 0);
    let direct = view.evidence.at(row) == Evidence::Direct;
    Request {
        ts_ns,
        disk: view.dev.at(row),
        sector: view.sector.at(row),
        issued_ns,
        end_ns: end_ns(ts_ns, view.dur_ns.at(row)),
        tid: view.tid.at(row).filter(|_| direct),
        op,
        class,
        direction: op.direction(),
        is_taken,
        rest: if file.is_some() { all.saturating_sub(owned) } else { all },
        files: file.map(|file| (file, owned)).into_iter().collect(),
    }
}
