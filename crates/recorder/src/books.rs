//! The recorder's half of the books: what became of each event after the kernel handed it over.

use iostrata_capture::ledger::{Account, Amounts, Books, Incomplete, Lost, Skipped};
use iostrata_capture::manifest::{DeviceBook, DeviceCounters};
use rustc_hash::FxHashMap;

use crate::bpf::types;
use crate::losses::{Cause, Losses};
use crate::witness::Idle;

/// Events of one class by CPU, with what they carried.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// By CPU: events and the I/O in them.
    pub cpus: Vec<(u64, Amounts)>,
    /// Block rows by device, as the kernel counts.
    pub devices: FxHashMap<i32, DeviceCounters>,
}

impl Tally {
    /// Counts one event.
    #[inline]
    pub fn count(&mut self, cpu: u16, io: &Amounts) {
        let cpu = usize::from(cpu);
        if cpu >= self.cpus.len() {
            self.cpus.resize(cpu + 1, Default::default());
        }
        self.cpus[cpu].0 += 1;
        self.cpus[cpu].1.add(io);
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Tally) {
        if self.cpus.len() < other.cpus.len() {
            self.cpus.resize(other.cpus.len(), Default::default());
        }
        for (sum, part) in self.cpus.iter_mut().zip(&other.cpus) {
            sum.0 += part.0;
            sum.1.add(&part.1);
        }
        for (dev, part) in &other.devices {
            self.devices.entry(*dev).or_default().add(part);
        }
    }

    /// Events over all CPUs.
    pub fn events(&self) -> u64 {
        self.cpus.iter().map(|c| c.0).sum()
    }

    fn of(&self, cpu: usize) -> (u64, Amounts) {
        self.cpus.get(cpu).copied().unwrap_or_default()
    }
}

/// What became of the events of one class, beside those that were lost on the way.
#[derive(Debug, Clone, Default)]
pub struct Fate {
    /// Rows in finished parts.
    pub written: Tally,
    /// Requests that were over at the stop, though nobody saw them end. The kernel side has not counted them as seen.
    pub unseen_end: Tally,
}

/// Puts the kernel's accounts and the recorder's together.
pub fn settle(
    class_names: &[String],
    kernel: &[Vec<types::account>],
    fates: &[Fate],
    losses: &Losses,
    skipped: Vec<Skipped>,
) -> Books {
    let mut accounts = Vec::new();
    for (class, name) in class_names.iter().enumerate() {
        let (Some(by_cpu), Some(fate)) = (kernel.get(class), fates.get(class)) else { continue };
        let of = |cause| losses.of(class, cause);
        let channel_full = of(Cause::ChannelFull);
        let write_failed = of(Cause::WriteFailed);
        let disk_full = of(Cause::DiskFull);
        let undecodable = of(Cause::Undecodable);
        let left_out = of(Cause::LeftOut);
        for (cpu, seen) in by_cpu.iter().enumerate() {
            let mut lost_io = Amounts {
                read_ops: seen.lost_read_ops,
                read_bytes: seen.lost_read_bytes,
                write_ops: seen.lost_write_ops,
                write_bytes: seen.lost_write_bytes,
            };
            for tally in [&channel_full, &write_failed, &disk_full, &undecodable, &fate.unseen_end] {
                lost_io.add(&tally.of(cpu).1);
            }
            let account = Account {
                class: name.clone(),
                cpu: cpu as u32,
                seen: (seen.seen + fate.unseen_end.of(cpu).0).saturating_sub(left_out.of(cpu).0),
                written: fate.written.of(cpu).0,
                lost: Lost {
                    ring_full: seen.ring_full,
                    inflight_full: seen.inflight_full,
                    missed_return: seen.missed_return,
                    channel_full: channel_full.of(cpu).0,
                    write_failed: write_failed.of(cpu).0,
                    disk_full: disk_full.of(cpu).0,
                    undecodable: undecodable.of(cpu).0,
                    unseen_end: seen.unseen_end + fate.unseen_end.of(cpu).0,
                },
                lost_io,
            };
            // A CPU that saw nothing has no account; one that wrote what it never saw has one that cannot balance.
            if account.seen + account.written + account.lost.total() > 0 {
                accounts.push(account);
            }
        }
    }
    Books { accounts, skipped, incomplete: incomplete(kernel), without_row: Vec::new() }
}

fn incomplete(kernel: &[Vec<types::account>]) -> Incomplete {
    let mut sum = Incomplete::default();
    for account in kernel.iter().flatten() {
        sum.unidentified_requests += account.unidentified;
        sum.unseen_ends += account.unseen_ends;
    }
    sum
}

/// How long a request may take of which the kernel keeps no count: one for a device's own flush.
const LONGEST_UNCOUNTED_NS: u64 = 10_000_000_000;

/// Whether a request must have completed when its disk was seen to be `idle`.
fn had_ended(request: &types::inflight_request, idle: &[Idle]) -> bool {
    let uncounted = u32::from(request.flags) & types::request_flag::REQUEST_UNCOUNTED.0 != 0;
    let grace_ns = if uncounted { LONGEST_UNCOUNTED_NS } else { 0 };
    idle.iter().any(|disk| {
        disk.dev == request.from.origin.dev as i32 && request.issue_ns.saturating_add(grace_ns) < disk.at_ns
    })
}

/// Counts requests that were issued, must have ended and were never seen to complete.
pub fn count_unseen_ends(unfinished: &[types::inflight_request], idle: &[Idle]) -> Tally {
    let mut tally = Tally::default();
    for request in unfinished.iter().filter(|request| request.own == 0 && had_ended(request, idle)) {
        let bytes = u64::from(request.bytes.max(request.bytes_done));
        // The lowest bit of every operation that moves data towards the device (`op_is_write()`).
        let io = if request.op & 1 == 1 {
            Amounts { write_ops: 1, write_bytes: bytes, ..Amounts::default() }
        } else {
            Amounts { read_ops: 1, read_bytes: bytes, ..Amounts::default() }
        };
        // On which CPU it ended nobody knows.
        tally.count(0, &io);
    }
    tally
}

/// Holds the rows of one device against how far the kernel's counters moved: `kernel` while everything was attached,
/// `edges` while it was being attached and detached.
pub fn settle_device(
    device: &str,
    kernel: DeviceCounters,
    edges: DeviceCounters,
    rows: DeviceCounters,
    own: &types::own_io,
) -> DeviceBook {
    let rows = DeviceCounters { flush_ops: Some(rows.flush_ops.unwrap_or(0)), ..rows };
    let mut recorded = rows;
    // Device flushes have no owner and are never the recorder's; the kernel counts those that a flush sequence ended.
    recorded.add(&DeviceCounters {
        read_ops: own.read_ops,
        read_bytes: own.read_bytes,
        write_ops: own.write_ops,
        write_bytes: own.write_bytes,
        discard_ops: own.discard_ops,
        discard_bytes: own.discard_bytes,
        flush_ops: None,
    });
    let own = Amounts {
        read_ops: own.read_ops,
        read_bytes: own.read_bytes,
        write_ops: own.write_ops,
        write_bytes: own.write_bytes,
    };
    let balanced = recorded.within(&kernel, &edges);
    DeviceBook { device: device.to_owned(), kernel, edges, rows, own, balanced }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_lands_in_the_account_of_its_cpu() {
        let mut fate = Fate::default();
        let io = Amounts { write_ops: 1, write_bytes: 4096, ..Amounts::default() };
        for _ in 0..5 {
            fate.written.count(1, &io);
        }
        let losses = Losses::default();
        let mut one = Tally::default();
        one.count(1, &io);
        losses.add(0, Cause::ChannelFull, &one);
        losses.add(0, Cause::WriteFailed, &one);
        let seen = types::account {
            seen: 10,
            ring_full: 3,
            lost_write_ops: 3,
            lost_write_bytes: 12288,
            ..types::account::default()
        };
        let books = settle(&["block".into()], &[vec![types::account::default(), seen]], &[fate], &losses, vec![]);
        assert_eq!(books.accounts.len(), 1);
        assert!(books.balanced());
        assert_eq!(books.lost(), 5);
        assert_eq!(books.lost_of("block").1.write_bytes, 5 * 4096);
    }

    #[test]
    fn only_what_an_idle_disk_must_have_done_counts_as_an_unseen_end() {
        let request = |dev, op| {
            let origin = types::origin { dev, ..Default::default() };
            let from = types::provenance { origin, ..Default::default() };
            types::inflight_request { from, op, bytes: 4096, issue_ns: 1, ..Default::default() }
        };
        let later = types::inflight_request { issue_ns: 9, ..request(1, 1) };
        let flags = types::request_flag::REQUEST_UNCOUNTED.0 as u16;
        let uncounted = types::inflight_request { flags, ..request(1, 1) };
        let unfinished = [request(1, 0), request(1, 1), request(2, 1), later, uncounted];
        let tally = count_unseen_ends(&unfinished, &[Idle { dev: 1, at_ns: 5 }]);
        let expected = Amounts { read_ops: 1, read_bytes: 4096, write_ops: 1, write_bytes: 4096 };
        assert_eq!(tally.cpus, [(2, expected)]);
    }

    fn writes(write_ops: u64) -> DeviceCounters {
        DeviceCounters { write_ops, write_bytes: 100 * write_ops, ..DeviceCounters::default() }
    }

    #[test]
    fn rows_and_own_io_together_must_make_the_kernels_count() {
        let own = types::own_io { write_ops: 1, write_bytes: 100, ..types::own_io::default() };
        assert!(settle_device("sda", writes(3), writes(0), writes(2), &own).balanced);
        assert!(!settle_device("sda", writes(3), writes(0), writes(2), &types::own_io::default()).balanced);
    }

    #[test]
    fn what_a_busy_device_did_at_the_edges_may_be_in_the_rows_or_not() {
        let none = types::own_io::default();
        let balanced = |rows| settle_device("sda", writes(3), writes(2), writes(rows), &none).balanced;
        assert_eq!([2, 3, 4, 5, 6].map(balanced), [false, true, true, true, false]);
    }
}
