//! The layers of application and operating system: system calls and operations of the VFS.

use arrow::array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{FdKind, Layer, Op};
use iostrata_capture::tables::{SyscallTable, VfsTable, syscall, vfs};
use iostrata_capture::view;

use super::{Events, Fold};
use crate::aggregate::Aggregate;
use crate::aggregate::flow::{Path, Step};
use crate::event::{Anomalies, Durations, Event, Phase};

view! {
    /// System calls.
    Calls of syscall { ts_ns, dur_ns, pid, comm, cgroup_id, op, fd_kind, dev, ino, ret, weight }
}

view! {
    /// Operations of the VFS. Whose bytes they move, system calls tell.
    Operations of vfs { ts_ns, dur_ns, pid, comm, op, fd_kind, ret, weight }
}

/// What system calls and VFS operations have in common.
struct FileRow {
    layer: Layer,
    ts_ns: i64,
    dur_ns: i64,
    op: Op,
    kind: Option<FdKind>,
    ret: i64,
    weight: i32,
}

impl FileRow {
    #[inline]
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

impl Fold<'_> {
    /// The event of a row that is in the totals. What is on a file in memory is in no system.
    #[inline]
    fn event(&mut self, row: &FileRow) -> Option<Event> {
        if !self.counts(row.ts_ns, Some(row.dur_ns)) {
            return None;
        }
        let event = Event { weight: self.weight(row.weight), ..row.event(&mut self.partial.anomalies) };
        if row.kind == Some(FdKind::Memory) {
            self.partial.memory.update(&event);
            return None;
        }
        Some(event)
    }
}

impl Events for SyscallTable {
    const COLUMNS: &'static [&'static str] = Calls::COLUMNS;

    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = Calls::new(batch)?;
        for row in 0..view.rows {
            let (ts_ns, pid, comm) = (view.ts_ns.at(row), view.pid.at(row), view.comm.at(row));
            let kind = view.fd_kind.at(row);
            let file_row = FileRow {
                layer: Layer::Syscall,
                ts_ns,
                dur_ns: view.dur_ns.at(row),
                op: view.op.at(row),
                kind,
                ret: view.ret.at(row),
                weight: view.weight.at(row),
            };
            let Some(event) = fold.event(&file_row) else { continue };
            if event.direction.is_none() {
                let slot = fold.whose.caller(&mut fold.partial, pid, ts_ns, comm);
                fold.partial.system(slot).update(&event);
                continue;
            }
            let file = (view.dev.at(row), view.ino.at(row), kind);
            let told = fold.whose.done((pid, view.cgroup_id.at(row)), file);
            let (slot, group) = fold.whose(&told, ts_ns, comm);
            fold.partial.system(slot).update(&event);
            fold.flow(group, (event.direction, Step::Application(Path::of(event.op)), event.all_bytes()));
        }
        Ok(())
    }
}

impl Events for VfsTable {
    const COLUMNS: &'static [&'static str] = Operations::COLUMNS;

    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = Operations::new(batch)?;
        for row in 0..view.rows {
            let file_row = FileRow {
                layer: Layer::Vfs,
                ts_ns: view.ts_ns.at(row),
                dur_ns: view.dur_ns.at(row),
                op: view.op.at(row),
                kind: view.fd_kind.at(row),
                ret: view.ret.at(row),
                weight: view.weight.at(row),
            };
            if let Some(event) = fold.event(&file_row) {
                let slot = fold.whose.caller(&mut fold.partial, view.pid.at(row), file_row.ts_ns, view.comm.at(row));
                fold.partial.system(slot).update(&event);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iostrata_capture::op::Direction;

    #[test]
    fn a_failed_call_moves_nothing_and_a_directory_is_no_data() {
        let row = FileRow {
            layer: Layer::Syscall,
            ts_ns: 0,
            dur_ns: 1,
            op: Op::Pread,
            kind: Some(FdKind::Regular),
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
