//! The recorder's half of event accounting: counts each event after the BPF programs handed it over.

use iostrata_capture::ByTable;
use iostrata_capture::ledger::{Account, Amounts, EventAccounting, Incomplete, Lost, Skipped};
use iostrata_capture::manifest::{Counting, DeviceCheck, DeviceCounters};
use rustc_hash::FxHashMap;

use crate::bpf::types;
use crate::losses::{Cause, Losses};
use crate::session::Accounts;
use crate::unfinished::Settled;

/// Counters of one device, summed from its rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceRows {
    /// Requests that the kernel's counters include.
    pub counted: DeviceCounters,
    /// Requests that the kernel's counters exclude.
    pub uncounted: DeviceCounters,
}

/// Events of one class by CPU, with the I/O in them.
#[derive(Debug, Clone, Default)]
pub struct EventCounts {
    /// Events and the I/O in them, by CPU.
    pub cpus: Vec<(u64, Amounts)>,
    /// Block rows by device, in the units of the kernel's counters.
    pub devices: FxHashMap<i32, DeviceRows>,
}

impl EventCounts {
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
    pub fn add(&mut self, other: &EventCounts) {
        if self.cpus.len() < other.cpus.len() {
            self.cpus.resize(other.cpus.len(), Default::default());
        }
        for (sum, part) in self.cpus.iter_mut().zip(&other.cpus) {
            sum.0 += part.0;
            sum.1.add(&part.1);
        }
        for (dev, part) in &other.devices {
            let rows = self.devices.entry(*dev).or_default();
            rows.counted.add(&part.counted);
            rows.uncounted.add(&part.uncounted);
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

/// Outcome of the events of one class, except for events lost before the writer.
#[derive(Debug, Clone, Default)]
pub struct Fate {
    /// Rows in finished parts.
    pub written: EventCounts,
    /// Events known only at the stop, attributed to the first CPU. The BPF programs did not count them as seen.
    pub late: u64,
    /// I/O that may have happened, attributed to the first CPU. It adds no event.
    pub unknown: Amounts,
}

/// Combines the accounts of the BPF programs with those of the recorder.
pub fn settle(
    kernel: &Accounts,
    fates: &ByTable<Fate>,
    losses: &Losses,
    skipped: Vec<Skipped>,
    left: &Settled,
) -> EventAccounting {
    let mut accounts = Vec::new();
    for (table, by_cpu) in kernel.iter() {
        let fate = &fates[table];
        let of = |cause| losses.of(table, cause);
        let channel_full = of(Cause::ChannelFull);
        let write_failed = of(Cause::WriteFailed);
        let disk_full = of(Cause::DiskFull);
        let undecodable = of(Cause::Undecodable);
        let left_out = of(Cause::LeftOut);
        for (cpu, seen) in by_cpu.iter().enumerate() {
            let mut lost_io = amounts(seen.lost_io);
            for tally in [&channel_full, &write_failed, &disk_full, &undecodable] {
                lost_io.add(&tally.of(cpu).1);
            }
            let (late, unknown) = if cpu == 0 { (fate.late, fate.unknown) } else { Default::default() };
            lost_io.add(&unknown);
            let account = Account {
                class: table.name().to_owned(),
                cpu: cpu as u32,
                seen: (seen.seen + late).saturating_sub(left_out.of(cpu).0),
                written: fate.written.of(cpu).0,
                lost: Lost {
                    ring_full: seen.ring_full,
                    inflight_full: seen.inflight_full,
                    missed_return: seen.missed_return,
                    channel_full: channel_full.of(cpu).0,
                    write_failed: write_failed.of(cpu).0,
                    disk_full: disk_full.of(cpu).0,
                    undecodable: undecodable.of(cpu).0,
                    unseen_end: seen.unseen_end,
                },
                lost_io,
            };
            // A CPU without events has no account. A CPU with more rows written than events seen has an inconsistent one.
            if account.seen + account.written + account.lost.total() > 0 {
                accounts.push(account);
            }
        }
    }
    EventAccounting {
        accounts,
        skipped,
        incomplete: incomplete(kernel, left),
        without_row: Vec::new(),
        tables: Vec::new(),
        followed: Vec::new(),
    }
}

fn amounts(of: types::io_amounts) -> Amounts {
    let types::io_amounts { read_ops, read_bytes, write_ops, write_bytes } = of;
    Amounts { read_ops, read_bytes, write_ops, write_bytes }
}

fn incomplete(kernel: &Accounts, left: &Settled) -> Incomplete {
    let mut sum = Incomplete { unseen_ends: left.ended, unfinished_requests: left.unknown, ..Incomplete::default() };
    for account in kernel.values().flatten() {
        sum.unidentified_requests += account.unidentified;
        sum.unseen_ends += account.unseen_ends;
        sum.short_requests += account.short_requests;
        sum.short_io.add(&amounts(account.short_io));
        sum.unmeasured_calls += account.unmeasured;
        sum.earlier_calls += account.earlier_calls;
        sum.earlier_calls_io.read_bytes += account.earlier_read_bytes;
        sum.earlier_calls_io.write_bytes += account.earlier_write_bytes;
        sum.forgotten_owner_bytes += account.forgotten_bytes;
    }
    sum
}

/// State of a device according to the kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel {
    /// Change of its counters while every completion was seen.
    pub moved: DeviceCounters,
    /// Change of its counters at the edges, when completions may or may not have been seen.
    pub edges: DeviceCounters,
    /// Whether the kernel counted, according to the readings.
    pub counting: Counting,
    /// The device passes bios on and has no requests.
    pub hands_bios_on: bool,
}

/// Compares the rows of one device with the change of the kernel's counters.
pub fn settle_device(device: &str, kernel: Kernel, rows: DeviceRows, own: &types::own_io) -> DeviceCheck {
    let DeviceRows { counted, uncounted } = rows;
    let rows = DeviceCounters { flush_ops: Some(counted.flush_ops.unwrap_or(0)), ..counted };
    let mut recorded = rows;
    // Device flushes have no owner and are never the recorder's own. The kernel counts the ones that a flush sequence ends.
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
    let unseen_flushes =
        if kernel.hands_bios_on { covers(&recorded, &kernel).then_some(0) } else { agree(&recorded, &kernel) };
    DeviceCheck {
        device: device.to_owned(),
        kernel: kernel.moved,
        edges: kernel.edges,
        rows,
        counting: counting(kernel.counting, &rows, &uncounted),
        uncounted,
        unseen_flushes: unseen_flushes.unwrap_or(0),
        hands_bios_on: kernel.hands_bios_on,
        own,
        balanced: unseen_flushes.is_some(),
    }
}

/// Detects from the rows a change of `queue/iostats` that was reverted between two readings.
fn counting(read: Counting, counted: &DeviceCounters, uncounted: &DeviceCounters) -> Counting {
    match read {
        Counting::Always if !uncounted.is_zero() => Counting::Partly,
        Counting::Never if !counted.is_zero() => Counting::Partly,
        read => read,
    }
}

/// Number of flushes without a row if everything else matches the kernel's counters; `None` if anything else differs. A write of zero
/// bytes can only be a flush, so the counters must be exact enough to exclude any other.
fn agree(recorded: &DeviceCounters, kernel: &Kernel) -> Option<u64> {
    if recorded.within(&kernel.moved, &kernel.edges) {
        return Some(0);
    }
    let writes = kernel.moved.write_ops.saturating_sub(recorded.write_ops);
    let flushes = kernel.moved.flush_ops.unwrap_or(0).saturating_sub(recorded.flush_ops.unwrap_or(0));
    let mut filled = *recorded;
    filled.add(&DeviceCounters { write_ops: writes, flush_ops: Some(flushes), ..DeviceCounters::default() });
    let is_sure = DeviceCheck::are_narrow(&kernel.moved, &kernel.edges);
    (is_sure && filled.within(&kernel.moved, &kernel.edges)).then_some(writes + flushes)
}

/// Whether the rows have all bytes that the kernel counted for a device that passes bios on. Each driver decides what it counts, and in
/// which units, so rows may have more.
fn covers(recorded: &DeviceCounters, kernel: &Kernel) -> bool {
    recorded.read_bytes >= kernel.moved.read_bytes && recorded.write_bytes >= kernel.moved.write_bytes
}

#[cfg(test)]
mod tests {
    use iostrata_capture::TableId;

    use super::*;

    #[test]
    fn every_cause_lands_in_the_account_of_its_cpu() {
        let mut fate = Fate::default();
        let io = Amounts { write_ops: 1, write_bytes: 4096, ..Amounts::default() };
        for _ in 0..5 {
            fate.written.count(1, &io);
        }
        let losses = Losses::default();
        let mut one = EventCounts::default();
        one.count(1, &io);
        losses.add(TableId::Block, Cause::ChannelFull, &one);
        losses.add(TableId::Block, Cause::WriteFailed, &one);
        let seen = types::account {
            seen: 10,
            ring_full: 3,
            lost_io: types::io_amounts { write_ops: 3, write_bytes: 12288, ..types::io_amounts::default() },
            ..types::account::default()
        };
        let (mut kernel, mut fates) = (Accounts::default(), ByTable::default());
        kernel[TableId::Block] = vec![types::account::default(), seen];
        fates[TableId::Block] = fate;
        let books = settle(&kernel, &fates, &losses, vec![], &Settled::default());
        assert_eq!(books.accounts.len(), 1);
        assert!(books.balanced());
        assert_eq!(books.lost(), 5);
        assert_eq!(books.lost_of("block").1.write_bytes, 5 * 4096);
    }

    fn writes(write_ops: u64) -> DeviceCounters {
        DeviceCounters { write_ops, write_bytes: 100 * write_ops, ..DeviceCounters::default() }
    }

    /// Returns the comparison for a disk with `moved` writes counted between the inner readings and `edges` at the edges.
    fn book(moved: u64, edges: u64, rows: DeviceCounters, own: &types::own_io) -> DeviceCheck {
        let kernel = Kernel { moved: writes(moved), edges: writes(edges), ..Kernel::default() };
        settle_device("sda", kernel, DeviceRows { counted: rows, ..DeviceRows::default() }, own)
    }

    #[test]
    fn rows_and_own_io_together_must_make_the_kernels_count() {
        let own = types::own_io { write_ops: 1, write_bytes: 100, ..types::own_io::default() };
        assert!(book(3, 0, writes(2), &own).balanced);
        assert!(!book(3, 0, writes(2), &types::own_io::default()).balanced);
    }

    #[test]
    fn what_a_busy_device_did_at_the_edges_may_be_in_the_rows_or_not() {
        let none = types::own_io::default();
        let balanced = |rows| book(3, 2, writes(rows), &none).balanced;
        assert_eq!([2, 3, 4, 5, 6].map(balanced), [false, true, true, true, false]);
    }

    #[test]
    fn a_write_of_no_bytes_that_no_row_tells_of_is_a_flush_and_nothing_else_is() {
        let none = types::own_io::default();
        let of = |moved, edges, rows| {
            let book = book(moved, edges, rows, &none);
            (book.balanced, book.unseen_flushes)
        };
        let short = |write_bytes| DeviceCounters { write_ops: 1, write_bytes, ..DeviceCounters::default() };
        assert_eq!(of(3, 0, short(300)), (true, 2));
        assert_eq!(of(3, 0, short(299)), (false, 0), "a byte is missing");
        assert_eq!(of(3, 0, short(301)), (false, 0));
        assert_eq!(of(3, 1, short(400)), (false, 0), "the edge may hide a write that is missing");
        assert_eq!(of(1, 0, DeviceCounters { read_ops: 1, ..short(100) }), (false, 0));
    }

    #[test]
    fn what_the_kernel_does_not_count_is_held_against_nothing() {
        let of = |counting, counted, uncounted| {
            let kernel = Kernel { moved: writes(counted), counting, ..Kernel::default() };
            let rows = DeviceRows { counted: writes(counted), uncounted: writes(uncounted) };
            let book = settle_device("sda", kernel, rows, &types::own_io::default());
            assert!(book.balanced && book.uncounted == writes(uncounted));
            book.counting
        };
        assert_eq!(of(Counting::Never, 0, 5), Counting::Never);
        assert_eq!(of(Counting::Always, 2, 0), Counting::Always);
        assert_eq!(of(Counting::Always, 2, 5), Counting::Partly, "off and on again between two readings");
        assert_eq!(of(Counting::Never, 2, 5), Counting::Partly);
    }

    #[test]
    fn a_device_that_hands_bios_on_may_count_less_than_it_does_and_not_more() {
        let of = |kernel_bytes| {
            let moved = DeviceCounters { write_ops: 9, write_bytes: kernel_bytes, ..DeviceCounters::default() };
            let kernel = Kernel { moved, hands_bios_on: true, ..Kernel::default() };
            let rows = DeviceRows { counted: writes(2), ..DeviceRows::default() };
            settle_device("zram0", kernel, rows, &types::own_io::default()).balanced
        };
        assert_eq!([0, 200, 201].map(of), [true, true, false]);
    }
}
