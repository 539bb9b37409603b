//! Reads what is needed to tell what calls wait for.

use arrow::array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Direction, Evidence, FdKind, IoClass, Layer, Op};
use iostrata_capture::tables::{block, fs, share, syscall};
use iostrata_capture::view;

use super::Fold;
use super::accounts::NO_SLOT;
use super::kind::{Counted, Kind};
use super::told::{Key, Told};
use crate::aggregate::crossing::{Call, Commit, Crossed, Request, Share, Waits};
use crate::aggregate::sequence::Span;
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
    /// What file systems do.
    pub Commits of fs { ts_ns, dur_ns, op, dev, blocks }
}

/// As in fcntl.h: each write is synced, its data at least.
const O_DSYNC: i32 = 0o10000;

/// As in fcntl.h of x86 and of Arm, which use each other's bit for what no file is that can be read or written (`O_DIRECTORY`).
const O_DIRECT: i32 = 0o40000 | 0o200000;

/// What a call of this kind waits for beside its own requests; `None` of what neither moves bytes nor syncs.
fn waits(op: Op, file_kind: Option<FdKind>, flags: Option<i32>) -> Option<Waits> {
    let of_file = if file_kind == Some(FdKind::Block) { Waits::Disk } else { Waits::Journal };
    match (op, op.direction()) {
        (Op::Fsync | Op::Fdatasync | Op::AioFsync | Op::UringFsync, _) => Some(of_file),
        (Op::SyncFileRange | Op::UringSyncFileRange, _) => Some(Waits::File),
        (Op::Syncfs, _) => Some(Waits::Disk),
        (Op::Sync, _) => Some(Waits::All),
        // Its file is not told; its own thread queues what it writes.
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

/// A stretch of time of which is looked at what calls wait for.
pub struct Stretch {
    /// Which.
    pub span: Span,
    /// What was read of it.
    pub crossed: Crossed,
}

impl Stretch {
    fn has(&self, ns: i64) -> bool {
        (self.span.0..=self.span.1).contains(&ns)
    }
}

impl Fold<'_> {
    /// Takes calls that reach into the stretch.
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
        let Some(stretch) = &self.crossing else { return };
        let (Some(waits), Some(end_ns)) = (waits(op, file_kind, flags), end_ns(ts_ns, Some(view.dur_ns.at(row))))
        else {
            return;
        };
        let is_on_disk = matches!(file_kind, Some(FdKind::Regular | FdKind::Block)) || op.direction().is_none();
        let reaches = ts_ns <= stretch.span.1 && end_ns >= stretch.span.0;
        if !reaches || !is_on_disk || file_kind == Some(FdKind::Memory) {
            return;
        }
        if self.is_beyond(ts_ns, Some(view.dur_ns.at(row))) {
            return;
        }
        let (dev, ino) = (view.dev.at(row), view.ino.at(row));
        let direction = op.direction();
        let kind = Kind { layer: Layer::Syscall, direction, counted: Counted::Whole(None) };
        let mut told = Told::done((view.pid.at(row), Some(view.cgroup_id.at(row))), (dev, ino), kind);
        if file_kind == Some(FdKind::Block) {
            // Requests of a block device name no file.
            told.file = None;
        }
        // What is not asked for has requests too, which are not those of others.
        let whose = self.is_within(ts_ns).then(|| self.whose(&told, ts_ns, view.comm.at(row))).flatten();
        let call = Call {
            ts_ns,
            end_ns,
            tid: view.tid.at(row),
            op,
            direction,
            waits,
            is_async: is_async(op),
            is_direct: flags.is_some_and(|flags| flags & O_DIRECT != 0),
            file: told.file,
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
            weight: self.weight(view.weight.at(row)),
            is_regular: file_kind == Some(FdKind::Regular),
            whose,
        };
        self.crossing.iter_mut().for_each(|stretch| stretch.crossed.calls.push(call.clone()));
    }

    /// Whose a row is, if that is asked for.
    fn whose(&mut self, told: &Told, ts_ns: i64, comm: Option<&str>) -> Option<(u32, Places)> {
        let Fold { whose, partial, accounts, .. } = self;
        let key = Key::of(told);
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

    /// Takes requests that were queued in the stretch.
    pub(super) fn cross_requests(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let view = Requests::new(batch)?;
        let (choice, capture) = (self.scan.choice, self.scan.capture);
        for row in 0..view.rows {
            let ts_ns = view.ts_ns.at(row);
            let is_beyond = self.is_beyond(ts_ns, view.dur_ns.at(row));
            let Some(stretch) = &mut self.crossing else { return Ok(()) };
            if stretch.has(ts_ns) && !is_beyond {
                let request = request(&view, row, choice.takes(capture, view.dev.at(row)));
                stretch.crossed.requests.push(request);
            }
        }
        Ok(())
    }

    /// Takes parts of requests that were queued in the stretch.
    pub(super) fn cross_shares(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let view = Shares::new(batch)?;
        let tail = self.scan.tail;
        let mut is_left_out = false;
        let Some(stretch) = &mut self.crossing else { return Ok(()) };
        let (first_ns, last_ns) = stretch.span;
        for row in (0..view.rows).filter(|row| (first_ns..=last_ns).contains(&view.ts_ns.at(*row))) {
            if tail.leaves_out_part(view.ts_ns.at(row), view.dev.at(row), view.sector.at(row)) {
                is_left_out = true;
                continue;
            }
            if let (Some(dev), Some(ino), Some(bytes)) =
                (view.file_dev.at(row), view.ino.at(row), valid::bytes(view.bytes.at(row)))
            {
                let of = (view.ts_ns.at(row), view.dev.at(row), view.sector.at(row));
                stretch.crossed.shares.push(Share { of, file: (dev, ino), bytes });
            }
        }
        self.note_beyond(is_left_out);
        Ok(())
    }

    /// Takes commits that ended in the stretch.
    pub(super) fn cross_commits(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let view = Commits::new(batch)?;
        for row in (0..view.rows).filter(|row| view.op.at(*row) == Op::Commit) {
            if self.is_beyond(view.ts_ns.at(row), view.dur_ns.at(row)) {
                continue;
            }
            let Some(stretch) = &mut self.crossing else { return Ok(()) };
            let end = end_ns(view.ts_ns.at(row), view.dur_ns.at(row)).filter(|end_ns| stretch.has(*end_ns));
            let blocks = view.blocks.at(row).and_then(valid::bytes).unwrap_or(0);
            let commit = end.map(|end_ns| Commit { end_ns, dev: view.dev.at(row), blocks });
            stretch.crossed.commits.extend(commit);
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
    // An order to empty the device's cache has no time in the queue: the block layer makes a command of its own of it.
    let issued_ns = if op == Op::Flush { issued_ns.or(Some(ts_ns)) } else { issued_ns };
    let all = bytes(view.bytes.at(row));
    // What is in other parts is taken off where these are read.
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
