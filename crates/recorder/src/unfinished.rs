//! Requests without a completion event at the stop. Those that must have completed become rows without a duration.
//!
//! A kernel may skip the programs at a completion (docs/explanation/architecture.md). The issue of the request is known nevertheless, and a disk
//! without a request in flight has completed all its requests.

use std::collections::HashSet;
use std::time::Duration;

use iostrata_capture::ledger::Amounts;
use iostrata_capture::manifest::{Device, DeviceCounters};
use iostrata_capture::op::Direction;
use rustc_hash::FxHashMap;

use crate::bpf::types;
use crate::clock;
use crate::host::devices;

/// Missing value in a record (`bpf/core/events.h`).
const MISSING: i64 = i64::MIN;

/// Maximum duration of a request that the kernel does not count.
const LONGEST_UNCOUNTED_NS: u64 = 10_000_000_000;

/// The kernel removes a request from the in-flight count before its completion runs in a softirq.
pub const COMPLETING: Duration = Duration::from_millis(5);

/// A disk without a request in flight.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Device number of the disk.
    pub dev: i32,
    /// Time by the monotonic clock: everything issued before it had completed.
    pub at_ns: u64,
}

/// Disks without a request in flight. Call at least [`COMPLETING`] before detaching.
pub fn idle_disks(disks: &[Device]) -> Vec<Idle> {
    let at_ns = u64::try_from(clock::monotonic_ns()).unwrap_or(0);
    let idle = disks.iter().filter(|disk| devices::is_idle(&disk.name));
    idle.map(|disk| Idle { dev: disk.dev, at_ns }).collect()
}

/// Remaining entries of the BPF maps.
pub struct Left {
    /// Requests and bios without a completion event, with the parts of those that have several.
    pub requests: Vec<(types::inflight_request, Option<types::part_list>)>,
    /// Bios of flushes without data, which have no other entry.
    pub flushes: Vec<types::queued_bio>,
}

/// Outcome of the remaining entries.
#[derive(Default)]
pub struct Settled {
    /// Completed requests, as records in the format of the rings.
    pub rows: Vec<types::block_event_parts>,
    /// Number of these rows.
    pub ended: u64,
    /// Number of the rows' parts that are not their owners'.
    pub shares: u64,
    /// Completed requests of the recorder itself, by disk.
    pub own: FxHashMap<i32, types::own_io>,
    /// Number of requests that may be completed or in flight.
    pub unknown: u64,
    /// I/O of these requests.
    pub unknown_io: Amounts,
    /// Bytes already moved by requests in flight, by disk. The kernel counts bytes as they are moved, which for a write in a flush sequence is
    /// before the last flush, and counts the request at its end.
    pub moved: FxHashMap<i32, DeviceCounters>,
}

/// Determines which requests have completed. `direction` returns the direction of an operation code.
pub fn settle(left: &Left, idle: &[Idle], direction: impl Fn(u8) -> Option<Direction>) -> Settled {
    let mut settled = Settled::default();
    for (request, parts) in &left.requests {
        match (fate(request, idle), request.own != 0) {
            (Fate::UnderWay, _) => settled.add_moved(request, direction(request.op)),
            (Fate::Unknown, true) => {}
            (Fate::Unknown, false) => {
                settled.unknown += 1;
                settled.unknown_io.add(&Amounts::of(direction(request.op), u64::from(request.bytes)));
            }
            (Fate::Over, true) => settled.add_own(request, direction(request.op)),
            (Fate::Over, false) => settled.add_row(request, parts.as_ref()),
        }
    }
    // While a device still flushes, every request that waits for that flush is in flight too.
    let flushing: HashSet<u32> =
        left.requests.iter().map(|(request, _)| request).filter(|r| is_device_flush(r)).map(dev_of).collect();
    for bio in left.flushes.iter().filter(|bio| !flushing.contains(&bio.from.origin.dev)) {
        if was_idle_after(bio.from.origin.dev, bio.queue_ns, idle) {
            settled.add_row(&flush(bio), None);
        }
    }
    settled
}

enum Fate {
    Over,
    UnderWay,
    /// The disk does not show whether it is idle.
    Unknown,
}

fn dev_of(request: &types::inflight_request) -> u32 {
    request.from.origin.dev
}

fn is_device_flush(request: &types::inflight_request) -> bool {
    u32::from(request.op) == types::op::OP_DEVICE_FLUSH.0
}

fn was_idle_after(dev: u32, at_ns: u64, idle: &[Idle]) -> bool {
    idle.iter().any(|disk| disk.dev == dev as i32 && at_ns < disk.at_ns)
}

fn fate(request: &types::inflight_request, idle: &[Idle]) -> Fate {
    let began_ns = request.issue_ns.max(request.queue_ns);
    let uncounted = u32::from(request.flags) & types::request_flag::REQUEST_UNCOUNTED.0 != 0;
    if !uncounted {
        return if was_idle_after(dev_of(request), began_ns, idle) { Fate::Over } else { Fate::UnderWay };
    }
    if was_idle_after(dev_of(request), began_ns.saturating_add(LONGEST_UNCOUNTED_NS), idle) {
        return Fate::Over;
    }
    // The kernel counts device flushes on no disk, and their I/O is in no sum.
    if is_device_flush(request) { Fate::UnderWay } else { Fate::Unknown }
}

/// Builds the request of a flush without data.
fn flush(bio: &types::queued_bio) -> types::inflight_request {
    types::inflight_request {
        queue_ns: bio.queue_ns,
        flags: types::request_flag::REQUEST_PREFLUSH.0 as u16,
        bios: 1,
        op: types::op::OP_FLUSH.0 as u8,
        from: bio.from,
        ..types::inflight_request::default()
    }
}

impl Settled {
    /// The recorder's own I/O on a disk: `seen` plus the requests without a completion event.
    pub fn with_own(&self, dev: i32, seen: types::own_io) -> types::own_io {
        let unseen = self.own.get(&dev).copied().unwrap_or_default();
        types::own_io {
            read_ops: seen.read_ops + unseen.read_ops,
            read_bytes: seen.read_bytes + unseen.read_bytes,
            write_ops: seen.write_ops + unseen.write_ops,
            write_bytes: seen.write_bytes + unseen.write_bytes,
            ..seen
        }
    }

    fn add_moved(&mut self, request: &types::inflight_request, direction: Option<Direction>) {
        let is_counted = u32::from(request.flags) & types::request_flag::REQUEST_UNCOUNTED.0 == 0;
        if !is_counted || request.bytes_done == 0 {
            return;
        }
        let moved = self.moved.entry(dev_of(request) as i32).or_default();
        match direction {
            Some(Direction::Read) => moved.read_bytes += u64::from(request.bytes_done),
            Some(Direction::Write) => moved.write_bytes += u64::from(request.bytes_done),
            None => {}
        }
    }

    fn add_own(&mut self, request: &types::inflight_request, direction: Option<Direction>) {
        let own = self.own.entry(dev_of(request) as i32).or_default();
        let bytes = u64::from(request.bytes);
        match direction {
            Some(Direction::Read) => {
                own.read_ops += 1;
                own.read_bytes += bytes;
            }
            Some(Direction::Write) => {
                own.write_ops += 1;
                own.write_bytes += bytes;
            }
            None => {}
        }
    }

    /// Adds the record of a completed request, with all of its bytes, in the form of `fill_block_event()`.
    fn add_row(&mut self, request: &types::inflight_request, parts: Option<&types::part_list>) {
        let first_ns = if request.insert_ns != 0 { request.insert_ns } else { request.issue_ns };
        let between = |from: u64, until: u64| {
            if from != 0 && until != 0 { until.wrapping_sub(from) as i64 } else { MISSING }
        };
        let is_flush = is_device_flush(request) || u32::from(request.op) == types::op::OP_FLUSH.0;
        let began_ns = if request.queue_ns != 0 { request.queue_ns } else { first_ns };
        let mut event = types::block_event_parts::default();
        let row = &mut event.submitted.event;
        row.head.event_class = types::event_class::CLASS_BLOCK.0 as u16;
        row.head.op = request.op;
        row.head.start_ns = began_ns as i64;
        row.duration_ns = MISSING;
        row.queue_ns = between(request.queue_ns, first_ns);
        row.insert_ns = between(request.insert_ns, request.issue_ns);
        let requeued = u32::from(request.phase) == types::phase::PHASE_REQUEUED.0;
        row.sector = if is_flush || requeued { MISSING } else { request.bio_or_sector.cast_signed() };
        row.bytes = request.bytes;
        row.flags = request.flags;
        row.bios = request.bios;
        row.requeues = u16::from(request.requeues);
        row.origin = request.from.origin;
        row.origin.owned_bytes = row.origin.owned_bytes.min(request.bytes);
        event.submitted.submitter = request.from.submitter;
        match parts {
            Some(list) => {
                event.others.copy_from_slice(&list.part[1..]);
                self.shares += u64::from(request.from.origin.others);
            }
            None => event.submitted.event.origin.others = 0,
        }
        self.rows.push(event);
        self.ended += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: u8 = types::op::OP_WRITE.0 as u8;

    fn direction(op: u8) -> Option<Direction> {
        match u32::from(op) {
            op if op == types::op::OP_READ.0 => Some(Direction::Read),
            op if op == types::op::OP_WRITE.0 || op == types::op::OP_FLUSH.0 => Some(Direction::Write),
            _ => None,
        }
    }

    fn request(dev: u32, op: u8) -> types::inflight_request {
        let from = types::provenance {
            origin: types::origin { dev, owned_bytes: 4096, ..Default::default() },
            ..Default::default()
        };
        types::inflight_request { from, op, bytes: 4096, queue_ns: 1, issue_ns: 2, ..Default::default() }
    }

    fn settled(requests: &[types::inflight_request], flushes: &[types::queued_bio]) -> Settled {
        let requests = requests.iter().map(|request| (*request, None)).collect();
        let left = Left { requests, flushes: flushes.to_vec() };
        settle(&left, &[Idle { dev: 1, at_ns: 20_000_000_000 }], direction)
    }

    #[test]
    fn what_an_idle_disk_must_have_done_becomes_a_row_with_all_of_its_bytes() {
        let later = types::inflight_request { issue_ns: 30_000_000_000, ..request(1, WRITE) };
        let own = types::inflight_request { own: 1, ..request(1, WRITE) };
        let settled = settled(&[request(1, WRITE), request(2, WRITE), later, own], &[]);
        let rows: Vec<_> = settled.rows.iter().map(|row| row.submitted.event).collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].bytes, rows[0].duration_ns, rows[0].queue_ns, rows[0].head.start_ns),
            (4096, MISSING, 1, 1)
        );
        assert_eq!((settled.own[&1].write_ops, settled.own[&1].write_bytes, settled.unknown), (1, 4096, 0));
    }

    #[test]
    fn of_what_is_under_way_the_bytes_are_known_that_were_moved() {
        let op = types::op::OP_READ.0 as u8;
        let under_way = types::inflight_request { issue_ns: 30_000_000_000, ..request(1, WRITE) };
        let moved = types::inflight_request { bytes_done: 1024, ..under_way };
        let own = types::inflight_request { own: 1, ..moved };
        let read = types::inflight_request { op, bytes_done: 512, ..under_way };
        let flags = types::request_flag::REQUEST_UNCOUNTED.0 as u16;
        let uncounted = types::inflight_request { flags, ..moved };
        let over = types::inflight_request { bytes_done: 1024, ..request(1, WRITE) };
        let settled = settled(&[under_way, moved, own, read, uncounted, over], &[]);
        assert_eq!(settled.rows.len(), 1);
        assert_eq!((settled.moved[&1].write_bytes, settled.moved[&1].read_bytes), (2048, 512));
    }

    #[test]
    fn where_the_kernel_does_not_count_a_late_request_may_be_over_or_not() {
        let flags = types::request_flag::REQUEST_UNCOUNTED.0 as u16;
        let early = types::inflight_request { flags, ..request(1, WRITE) };
        let late = types::inflight_request { issue_ns: 19_000_000_000, ..early };
        let device_flush = types::inflight_request { op: types::op::OP_DEVICE_FLUSH.0 as u8, ..late };
        let settled = settled(&[early, late, device_flush], &[]);
        assert_eq!((settled.rows.len(), settled.unknown), (1, 1));
        assert_eq!(settled.unknown_io, Amounts { write_ops: 1, write_bytes: 4096, ..Amounts::default() });
    }

    #[test]
    fn a_flush_is_over_unless_its_disk_still_flushes() {
        let flush = types::queued_bio { bio: 7, queue_ns: 5, from: request(1, WRITE).from, ..Default::default() };
        let rows = settled(&[], &[flush]).rows;
        let row = &rows[0].submitted.event;
        assert_eq!((u32::from(row.head.op), row.bytes, row.sector), (types::op::OP_FLUSH.0, 0, MISSING));
        let op = types::op::OP_DEVICE_FLUSH.0 as u8;
        let flushing =
            types::inflight_request { op, issue_ns: 19_999_999_999, flags: 512, bytes: 0, ..request(1, WRITE) };
        assert!(settled(&[flushing], &[flush]).rows.is_empty());
    }
}
