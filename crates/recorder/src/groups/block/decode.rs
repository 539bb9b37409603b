//! Records of block requests.

use iostrata_capture::TableId;
use iostrata_capture::column::Comm;
use iostrata_capture::ledger::Amounts;
use iostrata_capture::op::{Direction, Evidence, Op};
use iostrata_capture::table::TableBuilder;
use iostrata_capture::tables::{BlockRow, ShareRow};

use crate::books::DeviceRows;
use crate::bpf::{record_at, types};
use crate::decode::{Decoder, comm, known};
use crate::intake::{Intake, file_amounts};

/// Owner columns of a row.
struct Owner {
    pid: Option<i32>,
    tid: Option<i32>,
    comm: Comm,
    cgroup_id: Option<i64>,
    start_ns: Option<i64>,
    evidence: Evidence,
}

/// Takes the record of a request, with the parts of other owners.
pub fn take(intake: &mut Intake, cpu: u16, bytes: &[u8]) -> Option<()> {
    let event: &types::block_event = record_at(bytes)?;
    let submitted: Option<&types::block_event_submitted> = match event.origin.has_submitter {
        0 => None,
        _ => Some(record_at(bytes)?),
    };
    let level = intake.levels.of(event.origin.dev as i32);
    let mut row = intake.decoder.block(event, submitted.map(|submitted| &submitted.submitter), level)?;
    if event.origin.others > 0 {
        let event: &types::block_event_parts = record_at(bytes)?;
        for share in intake.decoder.shares(&mut row, event)? {
            // The operation is counted for the request.
            let io = Amounts { read_ops: 0, write_ops: 0, ..file_amounts(share.op, share.bytes) };
            intake.waiting[TableId::Share].count(cpu, &io);
            intake.builders.share.push(share);
        }
    }
    intake.selected += u64::from(row.pid.is_some() || !intake.filtering.by_owner);
    let io = file_amounts(row.op, row.bytes);
    if u64::try_from(event.head.start_ns).is_ok_and(|start_ns| start_ns < intake.filtering.opened_ns) {
        intake.earlier.add(&io);
    }
    let tally = &mut intake.waiting[TableId::Block];
    tally.count(cpu, &io);
    add_to_counters(tally.devices.entry(row.dev).or_default(), &row);
    intake.builders.block.push(row);
    Some(())
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

/// Device and inode number of a file, if there is one.
fn file_of(dev: u32, ino: u64) -> (Option<i32>, Option<i64>) {
    ((ino != 0).then_some(dev as i32), (ino != 0).then_some(ino as i64))
}

/// Adds a block row to its device's counters, in the units of the kernel's counters.
fn add_to_counters(rows: &mut DeviceRows, row: &BlockRow) {
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

impl Decoder {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::MISSING;
    use crate::decode::tests::decoder;

    #[test]
    fn missing_values_become_nulls_and_nothing_else_does() {
        let mut event =
            types::block_event { duration_ns: MISSING, queue_ns: 0, insert_ns: MISSING, ..Default::default() };
        event.head.op = 2;
        event.head.start_ns = 5;
        let row = decoder().block(&event, None, None).expect("a known operation");
        assert_eq!((row.ts_ns, row.dur_ns, row.queue_ns, row.insert_ns, row.pid), (1_005, None, Some(0), None, None));
    }

    #[test]
    fn parts_take_what_the_owner_leaves_and_no_more_than_was_done() {
        let mut event = types::block_event_parts::default();
        let part = |pid, bytes| types::part {
            bytes,
            evidence: 1,
            who: types::identity { pid, ..Default::default() },
            ..Default::default()
        };
        event.others[..3].copy_from_slice(&[part(8, 50), part(9, 50), part(10, 50)]);
        let request = &mut event.submitted.event;
        (request.bytes, request.head.op) = (100, 2);
        request.origin = types::origin { owned_bytes: 30, evidence: 1, others: 2, ..Default::default() };
        let decoder = decoder();
        let mut row = decoder.block(&event.submitted.event, None, Some(0)).expect("a known operation");
        let shares = decoder.shares(&mut row, &event).expect("known words");
        let parts: Vec<_> = shares.iter().map(|share| (share.pid, share.bytes)).collect();
        assert_eq!(parts, [(Some(8), 50), (Some(9), 20)]);
        assert_eq!((row.owned_bytes, row.shared_bytes), (30, 70));
    }

    #[test]
    fn both_kinds_of_completion_status_become_an_errno() {
        assert_eq!((errno_of(0), errno_of(-5), errno_of(10), errno_of(3)), (0, -5, -5, -28));
    }
}
