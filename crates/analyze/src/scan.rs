//! Folds one part of one table into a [`Partial`], one batch at a time.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};

use arrow::array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Direction, Evidence, FdKind, IoClass, Layer, Op, Via};
use iostrata_capture::part::{Capture, PartReader};
use iostrata_capture::system::without_owner;
use iostrata_capture::table::Table;
use iostrata_capture::tables::{
    BlockTable, BlockView, FsTable, FsView, ShareTable, ShareView, SyscallTable, SyscallView, VfsTable, VfsView,
};
use iostrata_capture::{Error, Result};

use crate::aggregate::Aggregate;
use crate::aggregate::flow::{Path, Step};
use crate::entity::Belongs;
use crate::event::{Anomalies, Durations, Event, Phase};
use crate::levels::Choice;
use crate::owners::Owners;
use crate::partial::Partial;

/// The flag of block requests that the kernel's I/O counters leave out.
const NOT_IN_COUNTERS: i32 = 512;

/// What every part of a capture is scanned with.
pub struct Scan<'a> {
    /// The number of the capture, which tells its devices from those of other captures.
    pub capture: usize,
    /// Its processes.
    pub owners: &'a Owners<'a>,
    /// The disk that each of its file systems lies on, by device number.
    pub disks: HashMap<i32, i32>,
    /// The devices whose requests are in the totals.
    pub choice: &'a Choice,
}

/// Declares the tables that are scanned, each with the layer that it belongs to.
macro_rules! sources {
    ($($source:ident: $table:ty => $layer:expr;)+) => {
        /// A table that is scanned.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Source { $(#[doc = concat!("Rows of [`", stringify!($table), "`].")] $source,)+ }

        impl Source {
            /// Every table.
            pub const ALL: &'static [Source] = &[$(Source::$source,)+];

            /// The layer that its rows are about.
            pub const fn layer(self) -> Layer {
                match self { $(Source::$source => $layer,)+ }
            }

            /// Its name, which is also that of its class in the books.
            pub const fn name(self) -> &'static str {
                match self { $(Source::$source => <$table>::NAME,)+ }
            }

            /// Its parts in `capture`.
            pub fn parts(self, capture: &Capture) -> Result<Vec<PathBuf>> {
                match self { $(Source::$source => capture.parts::<$table>(),)+ }
            }
        }

        impl Scan<'_> {
            /// Folds the part of `source` at `path` into `partial`. After an error `partial` is of no use: it holds some of
            /// the part's rows.
            pub fn fold(&self, source: Source, path: &FilePath, partial: &mut Partial) -> Result<()> {
                let mut fold = Fold::new(self, partial);
                match source { $(Source::$source => fold.part::<$table>(path),)+ }
            }
        }
    };
}

sources! {
    Syscall: SyscallTable => Layer::Syscall;
    Vfs: VfsTable => Layer::Vfs;
    Fs: FsTable => Layer::Fs;
    Block: BlockTable => Layer::Block;
    Share: ShareTable => Layer::Block;
}

/// A table whose rows are events.
trait Events: Table {
    /// Adds the rows of `batch`, or says which column is wrong and how.
    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String>;
}

/// A partial that is being filled, and what makes finding the system of a row cheap.
struct Fold<'a> {
    scan: &'a Scan<'a>,
    partial: &'a mut Partial,
    /// Slots in the partial by index of the process table's system.
    slots: Vec<Option<usize>>,
    /// Slots of those who are not in the process table.
    by_comm: HashMap<String, usize>,
}

impl<'a> Fold<'a> {
    fn new(scan: &'a Scan<'a>, partial: &'a mut Partial) -> Self {
        let slots = vec![None; scan.owners.systems()];
        Fold { scan, partial, slots, by_comm: HashMap::new() }
    }

    fn part<T: Events>(&mut self, path: &FilePath) -> Result<()> {
        for batch in PartReader::open::<T>(path)? {
            T::fold(&batch?, self).map_err(|what| Error::Schema { path: path.to_owned(), what })?;
        }
        Ok(())
    }

    fn slot(&mut self, pid: i32, ts_ns: i64, comm: Option<&str>) -> usize {
        let owners = self.scan.owners;
        let Some(system) = owners.find(pid, ts_ns).map(|span| span.system) else { return self.slot_by_comm(comm) };
        let partial = &mut *self.partial;
        *self.slots[system].get_or_insert_with(|| partial.slot(owners.name(system)))
    }

    fn slot_by_comm(&mut self, comm: Option<&str>) -> usize {
        if let Some(slot) = self.by_comm.get(comm.unwrap_or_default()) {
            return *slot;
        }
        let slot = self.partial.slot(&self.scan.owners.by_comm(comm));
        self.by_comm.insert(comm.unwrap_or_default().to_owned(), slot);
        slot
    }

    /// Whether requests of device `dev` are in the totals.
    fn takes(&self, dev: i32) -> bool {
        self.scan.choice.takes(self.scan.capture, dev)
    }

    fn leave_out(&mut self, view: &BlockView, row: usize) {
        let direction = counted_direction(view.op.at(row), view.flags.at(row));
        let bytes = bytes_of(view.bytes.at(row), &mut self.partial.anomalies);
        self.partial.left_out.add(self.scan.capture, view.dev.at(row), direction, bytes);
    }

    fn file_row(&mut self, row: FileRow) {
        self.partial.rows = self.partial.rows.saturating_add(1);
        let event = row.event(&mut self.partial.anomalies);
        if row.kind == Some(FdKind::Memory) {
            return self.partial.memory.update(&event);
        }
        let slot = self.slot(row.pid, row.ts_ns, row.comm);
        self.partial.system(slot).update(&event);
        if row.layer == Layer::Syscall {
            let belongs = self.belongs(row.pid, row.ts_ns, row.cgroup_id, row.dev.zip(row.ino));
            let step = Step::Application(Path::of(row.op));
            self.flow(slot, belongs, IoClass::Data, (event.direction, step, event.bytes));
        }
    }

    /// Whose what a process does is.
    fn belongs(&self, pid: i32, ts_ns: i64, cgroup_id: i64, file: Option<(i32, i64)>) -> Belongs {
        let start_ns = self.scan.owners.find(pid, ts_ns).map_or(0, |span| span.start_ns);
        Belongs {
            process: Some((pid, start_ns)),
            cgroup: Some(cgroup_id),
            file,
            device: file.and_then(|(dev, _)| self.scan.disks.get(&dev).copied()),
        }
    }

    /// Adds bytes to the system in `slot` and to whom else they belong; in no direction they count nowhere.
    fn flow(
        &mut self,
        slot: usize,
        belongs: Belongs,
        class: IoClass,
        (direction, step, bytes): (Option<Direction>, Step, u64),
    ) {
        if let Some(direction) = direction {
            self.partial.system(slot).flows.add(direction, step, bytes);
            self.partial.entities.add(self.scan.capture, belongs, class, (direction, step, bytes));
        }
    }
}

/// What system calls and VFS operations have in common.
struct FileRow<'a> {
    layer: Layer,
    ts_ns: i64,
    dur_ns: i64,
    pid: i32,
    comm: Option<&'a str>,
    cgroup_id: i64,
    op: Op,
    kind: Option<FdKind>,
    dev: Option<i32>,
    ino: Option<i64>,
    ret: i64,
}

impl FileRow<'_> {
    fn event(&self, anomalies: &mut Anomalies) -> Event {
        let moves_data = matches!(self.kind, Some(FdKind::Regular | FdKind::Block | FdKind::Memory));
        let direction = self.op.direction().filter(|_| moves_data);
        let mut durations = Durations::default();
        durations.set(Phase::Total, Some(self.dur_ns), anomalies);
        Event {
            layer: self.layer,
            op: self.op,
            direction,
            // A negative result is an errno: the call moved nothing.
            bytes: if direction.is_some() { u64::try_from(self.ret).unwrap_or(0) } else { 0 },
            durations,
        }
    }
}

macro_rules! file_events {
    ($table:ty, $view:ident, $layer:expr) => {
        impl Events for $table {
            fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
                let view = $view::new(batch)?;
                for row in 0..view.rows {
                    fold.file_row(FileRow {
                        layer: $layer,
                        ts_ns: view.ts_ns.at(row),
                        dur_ns: view.dur_ns.at(row),
                        pid: view.pid.at(row),
                        comm: view.comm.at(row),
                        cgroup_id: view.cgroup_id.at(row),
                        op: view.op.at(row),
                        kind: view.fd_kind.at(row),
                        dev: view.dev.at(row),
                        ino: view.ino.at(row),
                        ret: view.ret.at(row),
                    });
                }
                Ok(())
            }
        }
    };
}

file_events!(SyscallTable, SyscallView, Layer::Syscall);
file_events!(VfsTable, VfsView, Layer::Vfs);

impl Events for FsTable {
    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = FsView::new(batch)?;
        for row in 0..view.rows {
            fold.partial.rows = fold.partial.rows.saturating_add(1);
            let op = view.op.at(row);
            let anomalies = &mut fold.partial.anomalies;
            let mut event =
                Event { layer: Layer::Fs, op, direction: op.direction(), bytes: 0, durations: Durations::default() };
            if !op.is_gathered() {
                event.durations.set(Phase::Total, view.dur_ns.at(row), anomalies);
            }
            event.bytes = bytes_of(view.bytes.at(row), anomalies);
            let slot = fold.slot(view.pid.at(row), view.ts_ns.at(row), view.comm.at(row));
            fold.partial.system(slot).update(&event);
            fold.pages(&view, row, slot, event.bytes);
        }
        Ok(())
    }
}

impl Fold<'_> {
    /// Pages of files in the cache, and those that an application touches through a mapping.
    fn pages(&mut self, view: &FsView, row: usize, slot: usize, bytes: u64) {
        let (op, via) = (view.op.at(row), view.via.at(row));
        let file = view.ino.at(row).map(|ino| (view.dev.at(row), ino));
        let belongs = self.belongs(view.pid.at(row), view.ts_ns.at(row), view.cgroup_id.at(row), file);
        let mapping = Step::Application(Path::Mapping);
        if view.fd_kind.at(row) == Some(FdKind::Regular) {
            let mapped = op == Op::Fill && via == Some(Via::Mapping);
            self.flow(slot, belongs, IoClass::Data, (op.direction(), Step::Cache { mapped }, bytes));
        }
        match (op, via) {
            (Op::Fault, _) => self.flow(slot, belongs, IoClass::Data, (Some(Direction::Read), mapping, bytes)),
            (Op::Dirty, Some(Via::Mapping)) => {
                self.flow(slot, belongs, IoClass::Data, (Some(Direction::Write), mapping, bytes));
            }
            _ => {}
        }
    }
}

impl Events for BlockTable {
    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = BlockView::new(batch)?;
        for row in 0..view.rows {
            fold.partial.rows = fold.partial.rows.saturating_add(1);
            let dev = view.dev.at(row);
            if !fold.takes(dev) {
                fold.leave_out(&view, row);
                continue;
            }
            let mut event = block_event(&view, row, &mut fold.partial.anomalies);
            let owned = bytes_of(view.owned_bytes.at(row), &mut fold.partial.anomalies);
            let shared = bytes_of(view.shared_bytes.at(row), &mut fold.partial.anomalies);
            let class = view.class.at(row);
            let rest = event.bytes.saturating_sub(shared);
            let (direction, evidence) = (event.direction, view.evidence.at(row));
            let nobodys = Belongs { device: Some(dev), ..Belongs::default() };
            let slot = match view.pid.at(row) {
                Some(pid) => fold.slot(pid, view.ts_ns.at(row), view.comm.at(row)),
                None => fold.partial.slot(without_owner(class)),
            };
            // A request without an owner may still say its cgroup and its file.
            let belongs = Belongs {
                process: view.pid.at(row).zip(view.start_ns.at(row)),
                cgroup: view.cgroup_id.at(row),
                file: view.file_dev.at(row).zip(view.ino.at(row)),
                ..nobodys
            };
            event.bytes = if view.pid.at(row).is_some() { owned.min(rest) } else { rest };
            fold.partial.system(slot).update(&event);
            fold.flow(slot, belongs, class, (direction, Step::Device(class, evidence), event.bytes));
            if rest > event.bytes {
                let slot = fold.partial.slot(without_owner(class));
                fold.partial.system(slot).add_bytes(direction, rest - event.bytes);
                let step = Step::Device(class, Evidence::None);
                fold.flow(slot, nobodys, class, (direction, step, rest - event.bytes));
            }
        }
        Ok(())
    }
}

impl Events for ShareTable {
    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = ShareView::new(batch)?;
        for row in 0..view.rows {
            fold.partial.rows = fold.partial.rows.saturating_add(1);
            // Of a request that is left out, all bytes were counted there.
            if !fold.takes(view.dev.at(row)) {
                continue;
            }
            let class = view.class.at(row);
            let slot = match view.pid.at(row) {
                Some(pid) => fold.slot(pid, view.ts_ns.at(row), view.comm.at(row)),
                None => fold.partial.slot(without_owner(class)),
            };
            let direction = counted_direction(view.op.at(row), view.flags.at(row));
            let bytes = bytes_of(view.bytes.at(row), &mut fold.partial.anomalies);
            fold.partial.system(slot).add_bytes(direction, bytes);
            let belongs = Belongs {
                process: view.pid.at(row).zip(view.start_ns.at(row)),
                cgroup: view.cgroup_id.at(row),
                file: view.file_dev.at(row).zip(view.ino.at(row)),
                device: Some(view.dev.at(row)),
            };
            fold.flow(slot, belongs, class, (direction, Step::Device(class, view.evidence.at(row)), bytes));
        }
        Ok(())
    }
}

/// Bytes that a row tells. What is negative cannot be true: it counts as nothing, and in `anomalies`.
fn bytes_of(bytes: i64, anomalies: &mut Anomalies) -> u64 {
    u64::try_from(bytes).unwrap_or_else(|_| {
        anomalies.negative_bytes = anomalies.negative_bytes.saturating_add(1);
        0
    })
}

fn block_event(view: &BlockView, row: usize, anomalies: &mut Anomalies) -> Event {
    let op = view.op.at(row);
    let direction = counted_direction(op, view.flags.at(row));
    let bytes = bytes_of(view.bytes.at(row), anomalies);
    let (dur_ns, queue_ns, insert_ns) = (view.dur_ns.at(row), view.queue_ns.at(row), view.insert_ns.at(row));
    let mut durations = Durations::default();
    durations.set(Phase::Total, dur_ns, anomalies);
    durations.set(Phase::Queue, queue_ns, anomalies);
    durations.set(Phase::Insert, insert_ns, anomalies);
    durations.set(Phase::Device, device_ns(dur_ns, queue_ns, insert_ns), anomalies);
    Event { layer: Layer::Block, op, direction, bytes, durations }
}

/// So that the total of all systems equals the kernel's read and write counters of the devices.
fn counted_direction(op: Op, flags: i32) -> Option<Direction> {
    op.direction().filter(|_| flags & NOT_IN_COUNTERS == 0)
}

/// D2C: what remains of the whole after the queue and the scheduler; unknown where a part of it is.
fn device_ns(dur_ns: Option<i64>, queue_ns: Option<i64>, insert_ns: Option<i64>) -> Option<i64> {
    // Sums of three 64-bit values need no more than 66 bits; a result beyond 64 is as impossible as a negative one.
    let left = i128::from(dur_ns?) - i128::from(queue_ns?) - i128::from(insert_ns.unwrap_or(0));
    Some(i64::try_from(left).unwrap_or(i64::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_phase_is_what_queue_and_scheduler_leave() {
        assert_eq!(device_ns(Some(10), Some(3), Some(2)), Some(5));
        assert_eq!(device_ns(Some(10), Some(3), None), Some(7));
        assert_eq!(device_ns(None, Some(3), Some(2)), None);
        assert_eq!(device_ns(Some(10), None, Some(2)), None);
        assert_eq!(device_ns(Some(i64::MIN), Some(i64::MAX), Some(i64::MAX)), Some(i64::MIN));
    }

    #[test]
    fn requests_outside_the_kernels_counters_have_no_direction() {
        assert_eq!(counted_direction(Op::Write, 1), Some(Direction::Write));
        assert_eq!(counted_direction(Op::Write, NOT_IN_COUNTERS | 1), None);
        assert_eq!(counted_direction(Op::Discard, 0), None);
        assert_eq!(counted_direction(Op::DeviceFlush, 0), None);
        assert_eq!(counted_direction(Op::Flush, 0), Some(Direction::Write));
    }

    #[test]
    fn a_failed_call_moves_nothing_and_a_directory_is_no_data() {
        let row = FileRow {
            layer: Layer::Syscall,
            ts_ns: 0,
            dur_ns: 1,
            pid: 1,
            comm: None,
            cgroup_id: 1,
            op: Op::Pread,
            kind: Some(FdKind::Regular),
            dev: None,
            ino: None,
            ret: -5,
        };
        let mut anomalies = Anomalies::default();
        let failed = row.event(&mut anomalies);
        assert_eq!((failed.direction, failed.bytes), (Some(Direction::Read), 0));
        for kind in [None, Some(FdKind::Directory)] {
            let none = FileRow { kind, ret: 7, ..row }.event(&mut anomalies);
            assert_eq!((none.direction, none.bytes), (None, 0));
        }
        FileRow { dur_ns: -1, ..row }.event(&mut anomalies);
        assert_eq!(anomalies, Anomalies { negative_durations: 1, negative_bytes: 0 });
    }
}
