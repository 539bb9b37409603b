//! Folds one part of one table into a [`Partial`], one batch at a time.

mod pages;
mod requests;

use std::collections::HashMap;

use arrow::array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Direction, FdKind, IoClass, Layer, Op};
use iostrata_capture::part::{PartFile, PartReader};
use iostrata_capture::system::without_owner;
use iostrata_capture::table::Table;
use iostrata_capture::tables::{BlockTable, FsTable, ShareTable, SyscallTable, SyscallView, VfsTable, VfsView};
use iostrata_capture::{Capture, Result};

use crate::aggregate::Aggregate;
use crate::aggregate::flow::{Path, Step};
use crate::disks::Disks;
use crate::entity::{Belongs, FileId};
use crate::event::{Anomalies, Durations, Event, Phase};
use crate::files::Files;
use crate::levels::Choice;
use crate::loss::Losses;
use crate::loss::during::Windows;
use crate::owners::{Owners, Span};
use crate::partial::Partial;

/// What every part of a capture is scanned with.
pub struct Scan<'a> {
    /// The number of the capture, which tells its devices from those of other captures.
    pub capture: usize,
    /// Its processes.
    pub owners: &'a Owners<'a>,
    /// Its files.
    pub files: &'a Files,
    /// The disk whose requests are what is done to each of its file systems and devices, by device number.
    pub disks: &'a Disks,
    /// The devices whose requests are in the totals.
    pub choice: &'a Choice,
    /// When something of its tables was lost.
    pub losses: &'a Losses,
    /// Rows of events that began until then are left out, because some tables lack them ([`PartList::removed_until_ns`]).
    ///
    /// [`PartList::removed_until_ns`]: iostrata_capture::list::PartList::removed_until_ns
    pub removed_until_ns: Option<i64>,
}

/// Declares the tables that are scanned, each with the layer that it belongs to.
macro_rules! sources {
    ($($source:ident: $table:ty => $layer:expr;)+) => {
        /// A table that is scanned.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
            pub fn parts(self, capture: &Capture) -> Result<Vec<PartFile>> {
                match self { $(Source::$source => capture.parts::<$table>(),)+ }
            }
        }

        impl Scan<'_> {
            /// Folds a part of `source` into `partial`. After an error `partial` is of no use: it holds some of
            /// the part's rows.
            pub fn fold(&self, source: Source, part: &PartFile, partial: &mut Partial) -> Result<()> {
                let mut fold = Fold::new(self, source, partial);
                match source { $(Source::$source => fold.part::<$table>(part)?,)+ }
                fold.finish(source);
                Ok(())
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

impl Source {
    /// Whether its rows tell when something ended. A part of a request does not.
    pub const fn tells_ends(self) -> bool {
        !matches!(self, Source::Share)
    }
}

/// A table whose rows are events.
trait Events: Table {
    /// Adds the rows of `batch`, or says which column is wrong and how.
    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String>;
}

/// No recorder lets a row stand for more.
const MOST_WEIGHT: u64 = 1 << 15;

/// Process id and start of whom a request belongs to, as far as they are known.
type Owner = (Option<i32>, Option<i64>);

/// A partial that is being filled, and what makes finding the system of a row cheap.
struct Fold<'a> {
    scan: &'a Scan<'a>,
    partial: &'a mut Partial,
    /// Slots in the partial by index of the process table's system.
    slots: Vec<Option<usize>>,
    /// Slots of those who are not in the process table.
    by_comm: HashMap<String, usize>,
    /// Times in which something of this table was lost.
    windows: Option<&'a Windows>,
    /// Rows that ended in them.
    during: Vec<u64>,
}

impl<'a> Fold<'a> {
    fn new(scan: &'a Scan<'a>, source: Source, partial: &'a mut Partial) -> Self {
        let slots = vec![None; scan.owners.systems()];
        let windows = scan.losses.windows(source);
        let during = vec![0; windows.map_or(0, Windows::places)];
        Fold { scan, partial, slots, by_comm: HashMap::new(), windows, during }
    }

    fn finish(self, source: Source) {
        if self.windows.is_some() {
            self.partial.during.add(self.scan.capture, source, self.during);
        }
    }

    /// Counts what began at `ts_ns` in the time in which it ended, if something was lost then: the rows of a table and what it
    /// lost are told apart when an event is over.
    fn count_end(&mut self, ts_ns: i64, dur_ns: Option<i64>) {
        if let Some(windows) = self.windows {
            let end_ns = ts_ns.saturating_add(dur_ns.unwrap_or_default().max(0));
            if let Some(count) = self.during.get_mut(windows.place(end_ns)) {
                *count = count.saturating_add(1);
            }
        }
    }

    fn part<T: Events>(&mut self, part: &PartFile) -> Result<()> {
        PartReader::open::<T>(part)?.each(|batch| T::fold(batch, self))
    }

    fn slot(&mut self, pid: i32, ts_ns: i64, comm: Option<&str>) -> usize {
        self.slot_of(self.scan.owners.find(pid, ts_ns), comm)
    }

    /// Of an owner, whose request may be long after its end; without one, of what is nobody's of `class`.
    fn slot_of_owner(&mut self, owner: Owner, ts_ns: i64, comm: Option<&str>, class: IoClass) -> usize {
        match owner {
            (Some(pid), Some(start_ns)) => self.slot_of(self.scan.owners.find_started(pid, start_ns, ts_ns), comm),
            (Some(pid), None) => self.slot(pid, ts_ns, comm),
            (None, _) => self.partial.slot(without_owner(class)),
        }
    }

    fn slot_of(&mut self, span: Option<&Span>, comm: Option<&str>) -> usize {
        let owners = self.scan.owners;
        let Some(system) = span.map(|span| span.system) else { return self.slot_by_comm(comm) };
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

    /// Whether what began at `ts_ns` is in the totals, as far as that decides.
    fn is_whole_at(&self, ts_ns: i64) -> bool {
        self.scan.removed_until_ns.is_none_or(|until_ns| ts_ns > until_ns)
    }

    /// Whether requests of device `dev` are in the totals.
    fn takes(&self, dev: i32) -> bool {
        self.scan.choice.takes(self.scan.capture, dev)
    }

    fn file_row(&mut self, row: FileRow) {
        self.partial.rows = self.partial.rows.saturating_add(1);
        self.count_end(row.ts_ns, Some(row.dur_ns));
        let event = Event { weight: self.weight(row.weight), ..row.event(&mut self.partial.anomalies) };
        if row.kind == Some(FdKind::Memory) {
            return self.partial.memory.update(&event);
        }
        let slot = self.slot(row.pid, row.ts_ns, row.comm);
        self.partial.system(slot).update(&event);
        if row.layer == Layer::Syscall {
            let file = self.file(row.dev, row.ino, row.ts_ns, row.kind);
            let belongs = self.belongs(row.pid, row.ts_ns, row.cgroup_id, row.dev, file);
            let step = Step::Application(Path::of(row.op));
            self.flow(slot, belongs, IoClass::Data, (event.direction, step, event.all_bytes()));
        }
    }

    /// For how many events a row stands. What cannot be is one, and counts in `anomalies`.
    fn weight(&mut self, weight: i32) -> u64 {
        match u64::try_from(weight) {
            Ok(1) => 1,
            Ok(weight @ 2..=MOST_WEIGHT) => {
                self.partial.sampled.add(weight);
                weight
            }
            _ => {
                let anomalies = &mut self.partial.anomalies;
                anomalies.bad_weights = anomalies.bad_weights.saturating_add(1);
                1
            }
        }
    }

    /// The file of a row, where it has one. A block device is none: its requests name no file.
    fn file(&self, dev: Option<i32>, ino: Option<i64>, ts_ns: i64, kind: Option<FdKind>) -> Option<FileId> {
        (kind != Some(FdKind::Block)).then_some(self.scan.files.find(dev?, ino?, ts_ns))
    }

    /// Whose what a process does is.
    fn belongs(&self, pid: i32, ts_ns: i64, cgroup_id: i64, dev: Option<i32>, file: Option<FileId>) -> Belongs {
        let start_ns = self.scan.owners.find(pid, ts_ns).map_or(0, |span| span.start_ns);
        Belongs {
            process: Some((pid, start_ns)),
            cgroup: Some(cgroup_id),
            file,
            device: dev.and_then(|dev| self.scan.disks.get(&dev).copied()),
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
    weight: i32,
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
            weight: 1,
        }
    }
}

macro_rules! file_events {
    ($table:ty, $view:ident, $layer:expr) => {
        impl Events for $table {
            fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
                let view = $view::new(batch)?;
                for row in 0..view.rows {
                    if !fold.is_whole_at(view.ts_ns.at(row)) {
                        continue;
                    }
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
                        weight: view.weight.at(row),
                    });
                }
                Ok(())
            }
        }
    };
}

file_events!(SyscallTable, SyscallView, Layer::Syscall);
file_events!(VfsTable, VfsView, Layer::Vfs);

/// Bytes that a row tells. What is negative cannot be true: it counts as nothing, and in `anomalies`.
fn bytes_of(bytes: i64, anomalies: &mut Anomalies) -> u64 {
    u64::try_from(bytes).unwrap_or_else(|_| {
        anomalies.negative_bytes = anomalies.negative_bytes.saturating_add(1);
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            weight: 1,
        };
        let mut anomalies = Anomalies::default();
        let failed = row.event(&mut anomalies);
        assert_eq!((failed.direction, failed.bytes), (Some(Direction::Read), 0));
        for kind in [None, Some(FdKind::Directory)] {
            let none = FileRow { kind, ret: 7, ..row }.event(&mut anomalies);
            assert_eq!((none.direction, none.bytes), (None, 0));
        }
        FileRow { dur_ns: -1, ..row }.event(&mut anomalies);
        assert_eq!(anomalies, Anomalies { negative_durations: 1, ..Anomalies::default() });
    }
}
