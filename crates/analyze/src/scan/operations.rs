//! Layers of application and operating system: system calls and VFS operations.

use arrow_array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Direction, FdKind, Layer, Op};
use iostrata_capture::tables::{SyscallTable, VfsTable, syscall, vfs};
use iostrata_capture::view;

use super::attribution::RowAttribution;
use super::chunk::OpAmounts;
use super::kind::{Counted, Kind};
use super::{Events, Fold, Inclusion, Reach};
use crate::aggregate::flow::Step;
use crate::event::UNKNOWN;
use crate::valid::Checked;

view! {
    /// System calls.
    Calls of syscall { ts_ns, dur_ns, pid, comm, op, fd_kind, ret, weight }
}

view! {
    /// Entities of system calls besides the process.
    CallEntities of syscall { cgroup_id, dev, ino }
}

view! {
    /// VFS operations.
    Operations of vfs { ts_ns, dur_ns, pid, comm, op, fd_kind, ret, weight }
}

view! {
    /// Entities of VFS operations besides the process.
    OperationEntities of vfs { cgroup_id, dev, ino }
}

view! {
    /// Offsets of system calls.
    CallPlaces of syscall { offset_bytes }
}

view! {
    /// Offsets of VFS operations.
    OperationPlaces of vfs { offset_bytes }
}

/// Builds a [`FileRow`] from the columns that both tables have.
macro_rules! file_row {
    ($layer:expr, $view:expr, $entities:expr, $places:expr, $row:expr) => {
        FileRow {
            layer: $layer,
            row: $row,
            ts_ns: $view.ts_ns.at($row),
            dur_ns: $view.dur_ns.at($row),
            process: ($view.pid.at($row), $entities.as_ref().map(|entities| entities.cgroup_id.at($row))),
            op: $view.op.at($row),
            kind: $view.fd_kind.at($row),
            file: $entities.as_ref().map_or((None, None), |entities| (entities.dev.at($row), entities.ino.at($row))),
            ret: $view.ret.at($row),
            weight: $view.weight.at($row),
            offset_bytes: $places.as_ref().and_then(|places| places.offset_bytes.at($row)),
        }
    };
}

impl Events for SyscallTable {
    const COLUMNS: &'static [&'static str] = Calls::COLUMNS;
    const OF_ENTITIES: &'static [&'static str] = CallEntities::COLUMNS;
    const OF_PLACES: &'static [&'static str] = CallPlaces::COLUMNS;
    const OF_CROSSING: &'static [&'static str] = super::crossing::Calls::COLUMNS;
    const HAS_ORDER: bool = true;
    const REACH: Reach = Reach::Through;

    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = Calls::new(batch)?;
        let entities = fold.settings.entities.then(|| CallEntities::new(batch)).transpose()?;
        let places = fold.settings.positions().then(|| CallPlaces::new(batch)).transpose()?;
        let take = |fold: &mut Fold, row| fold.operation(&file_row!(Layer::Syscall, view, entities, places, row));
        fold.rows((Layer::Syscall, view.rows), |row| view.comm.at(row), take);
        Ok(())
    }

    fn cross(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        fold.cross_calls(batch)
    }
}

impl Events for VfsTable {
    const COLUMNS: &'static [&'static str] = Operations::COLUMNS;
    const OF_ENTITIES: &'static [&'static str] = OperationEntities::COLUMNS;
    const OF_PLACES: &'static [&'static str] = OperationPlaces::COLUMNS;
    const HAS_ORDER: bool = true;
    const REACH: Reach = Reach::Never;

    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = Operations::new(batch)?;
        let entities = fold.settings.entities.then(|| OperationEntities::new(batch)).transpose()?;
        let places = fold.settings.positions().then(|| OperationPlaces::new(batch)).transpose()?;
        let take = |fold: &mut Fold, row| fold.operation(&file_row!(Layer::Vfs, view, entities, places, row));
        fold.rows((Layer::Vfs, view.rows), |row| view.comm.at(row), take);
        Ok(())
    }
}

/// Fields common to system calls and VFS operations.
struct FileRow {
    layer: Layer,
    row: usize,
    ts_ns: i64,
    dur_ns: i64,
    /// Process id, and cgroup if needed.
    process: (i32, Option<i64>),
    op: Op,
    kind: Option<FdKind>,
    /// Device and inode number, if needed.
    file: (Option<i32>, Option<i64>),
    ret: i64,
    weight: i32,
    offset_bytes: Option<i64>,
}

impl FileRow {
    /// Returns the direction in which data move.
    #[inline]
    fn direction(&self) -> Option<Direction> {
        let moves_data = matches!(self.kind, Some(FdKind::Regular | FdKind::Block | FdKind::Memory));
        self.op.direction().filter(|_| moves_data)
    }

    /// Returns the number of bytes moved.
    #[inline]
    fn moved(&self, checked: &mut Checked) -> u64 {
        // A negative result is an errno: the call moved nothing.
        if self.direction().is_some() { checked.bytes(self.ret.max(0)) } else { 0 }
    }

    #[inline]
    fn told(&self, direction: Option<Direction>) -> RowAttribution {
        let counted = match (self.kind, self.layer) {
            (Some(FdKind::Memory), _) => Counted::Memory,
            // Bytes of VFS operations are attributed by the rows of their system calls.
            (_, Layer::Syscall) if direction.is_some() => Counted::Whole(Some(Step::of(self.op))),
            _ => Counted::Whole(None),
        };
        let told = RowAttribution::done(self.process, self.file, Kind { layer: self.layer, direction, counted });
        match self.kind {
            // Requests of a block device have no file.
            Some(FdKind::Block) => RowAttribution { file: None, ..told },
            _ => told,
        }
    }
}

impl Fold<'_> {
    #[inline]
    fn operation(&mut self, row: &FileRow) {
        let direction = row.direction();
        match self.counts(row.ts_ns, Some(row.dur_ns)) {
            Inclusion::Whole => {}
            Inclusion::End => {
                let told = row.told(direction);
                return self.end(row.layer, (row.row, row.ts_ns), &told, (row.op, Some(row.dur_ns)));
            }
            Inclusion::Nothing => return,
        }
        let ops = self.weight(row.weight);
        let checked = &mut self.partial.checked;
        let (bytes, total) = (row.moved(checked), checked.duration(row.ts_ns, Some(row.dur_ns)).unwrap_or(UNKNOWN));
        let (moved, position) = (bytes.saturating_mul(u64::from(ops)), row.offset_bytes.filter(|offset| *offset >= 0));
        let done = OpAmounts { bytes: moved, ops, op: row.op, direction, bios: 0, size: bytes, position };
        let durations = [total, UNKNOWN, UNKNOWN, UNKNOWN];
        self.chunk.push(row.layer, (row.row, row.ts_ns), &row.told(direction), done, &durations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_moves_nothing_and_a_directory_is_no_data() {
        let row = FileRow {
            layer: Layer::Syscall,
            row: 0,
            ts_ns: 0,
            dur_ns: 1,
            process: (1, Some(1)),
            op: Op::Pread,
            kind: Some(FdKind::Regular),
            file: (Some(1), Some(1)),
            ret: -5,
            weight: 1,
            offset_bytes: None,
        };
        let mut checked = Checked::default();
        assert_eq!((row.direction(), row.moved(&mut checked)), (Some(Direction::Read), 0));
        for kind in [None, Some(FdKind::Directory)] {
            let row = FileRow { kind, ret: 7, ..row };
            assert_eq!((row.direction(), row.moved(&mut checked)), (None, 0));
        }
    }

    #[test]
    fn what_is_on_a_file_in_memory_is_in_no_system() {
        let row = FileRow {
            layer: Layer::Vfs,
            row: 0,
            ts_ns: 0,
            dur_ns: 1,
            process: (1, Some(1)),
            op: Op::Read,
            kind: Some(FdKind::Memory),
            file: (None, None),
            ret: 5,
            weight: 1,
            offset_bytes: None,
        };
        assert!(!row.told(row.direction()).kind.is_systems());
        assert!(FileRow { kind: None, ..row }.told(None).kind.is_systems());
    }
}
