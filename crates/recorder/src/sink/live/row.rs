//! One printed row, from the columns of the batch that it came in.

use std::sync::Arc;

use arrow::array::RecordBatch;
use iostrata_capture::TableId;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Evidence, FdKind, IoClass, Layer, Op, Via};
use iostrata_capture::system::without_owner;
use iostrata_capture::tables::{BlockView, FsView, SyscallView, VfsView};
use serde::Serialize;

use super::processes::Processes;

/// The unit of sector numbers.
const SECTOR_BYTES: i64 = 512;

/// A completed operation. `None` is not known or not applicable. The JSON objects have its fields, in this order; those that
/// are columns of the capture too have the column's name.
#[derive(Debug, Serialize)]
pub struct Row<'a> {
    /// When it began, since the Unix epoch.
    pub ts_ns: i64,
    /// The system that it belongs to.
    pub system: &'a str,
    /// Layer and operation, such as `BLOCK_WRITE`.
    pub event: &'a str,
    /// The layer.
    pub layer: Layer,
    /// What it did.
    pub op: Op,
    /// The process; of a block request, the owner.
    pub pid: Option<i32>,
    /// The thread; of a block request, the owner's.
    pub tid: Option<i32>,
    /// The thread's command name.
    pub comm: Option<&'a str>,
    /// Bytes done, of operations that move data and did not fail; bytes completed of a block request.
    pub bytes: Option<i64>,
    /// Where in the file, or on the disk.
    pub offset_bytes: Option<i64>,
    /// How long it took; of a block request, queueing to completion. None of what was gathered over a while.
    pub lat_ns: Option<i64>,
    /// What it returned, or a negative errno; of a block request 0 or a negative errno; 0 in a file system.
    pub ret: i64,
    /// For how many operations it stands, where that is more than one (`--cpu-limit`).
    #[serde(skip_serializing_if = "is_one")]
    pub weight: i32,
    /// What the layer has beside that.
    #[serde(flatten)]
    pub more: More<'a>,
}

/// What not every layer has, by the names of the capture's columns.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum More<'a> {
    /// Of system calls and the VFS.
    File { fd_kind: Option<FdKind>, dev: Option<i32>, ino: Option<i64>, requested_bytes: Option<i64> },
    /// Of file systems.
    Fs {
        fs: Option<&'a str>,
        via: Option<Via>,
        fd_kind: Option<FdKind>,
        dev: i32,
        ino: Option<i64>,
        events: i64,
        blocks: Option<i64>,
    },
    /// Of block requests.
    Block {
        dev: i32,
        class: IoClass,
        evidence: Evidence,
        owned_bytes: i64,
        shared_bytes: i64,
        submitter_pid: Option<i32>,
        submitter_comm: Option<&'a str>,
        file_dev: Option<i32>,
        ino: Option<i64>,
        queue_ns: Option<i64>,
        insert_ns: Option<i64>,
    },
}

// serde wants a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_one(weight: &i32) -> bool {
    *weight == 1
}

/// Whether rows of `table` are operations, which are shown.
pub fn is_operation(table: TableId) -> bool {
    matches!(table, TableId::Syscall | TableId::Vfs | TableId::Fs | TableId::Block)
}

/// The columns of a batch of operations.
pub enum Operations<'a> {
    Syscall(SyscallView<'a>),
    Vfs(VfsView<'a>),
    Fs(FsView<'a>),
    Block(BlockView<'a>),
}

/// The same of both file layers' views.
macro_rules! file_row {
    ($view:expr, $row:expr, $layer:expr, $events:expr, $system:expr) => {{
        let (view, row) = ($view, $row);
        let (op, ret) = (view.op.at(row), view.ret.at(row));
        Row {
            ts_ns: view.ts_ns.at(row),
            system: $system,
            event: $events.name($layer, op),
            layer: $layer,
            op,
            pid: Some(view.pid.at(row)),
            tid: Some(view.tid.at(row)),
            comm: view.comm.at(row),
            bytes: op.direction().filter(|_| ret >= 0).map(|_| ret),
            offset_bytes: view.offset_bytes.at(row),
            lat_ns: Some(view.dur_ns.at(row)),
            ret,
            weight: view.weight.at(row),
            more: More::File {
                fd_kind: view.fd_kind.at(row),
                dev: view.dev.at(row),
                ino: view.ino.at(row),
                requested_bytes: view.requested_bytes.at(row),
            },
        }
    }};
}

impl<'a> Operations<'a> {
    /// The columns of `rows`; none where they are not operations.
    pub fn new(table: TableId, rows: &'a RecordBatch) -> Option<Self> {
        // The recorder made the batch: it has the columns.
        match table {
            TableId::Syscall => SyscallView::new(rows).ok().map(Operations::Syscall),
            TableId::Vfs => VfsView::new(rows).ok().map(Operations::Vfs),
            TableId::Fs => FsView::new(rows).ok().map(Operations::Fs),
            TableId::Block => BlockView::new(rows).ok().map(Operations::Block),
            _ => None,
        }
    }

    /// When each row began.
    pub fn times(&self) -> &'a [i64] {
        match self {
            Operations::Syscall(view) => view.ts_ns,
            Operations::Vfs(view) => view.ts_ns,
            Operations::Fs(view) => view.ts_ns,
            Operations::Block(view) => view.ts_ns,
        }
    }

    /// The system of `row`.
    pub fn system(&self, row: usize, processes: &mut Processes) -> Arc<str> {
        match self {
            Operations::Syscall(view) => processes.system_of(view.pid.at(row), view.ts_ns.at(row), view.comm.at(row)),
            Operations::Vfs(view) => processes.system_of(view.pid.at(row), view.ts_ns.at(row), view.comm.at(row)),
            Operations::Fs(view) => processes.system_of(view.pid.at(row), view.ts_ns.at(row), view.comm.at(row)),
            Operations::Block(view) => match view.pid.at(row) {
                Some(pid) => processes.system_of(pid, view.ts_ns.at(row), view.comm.at(row)),
                None => without_owner(view.class.at(row)).into(),
            },
        }
    }

    /// The row, which belongs to `system`.
    pub fn row<'b>(&'b self, row: usize, system: &'b str, events: &'b Events) -> Row<'b> {
        match self {
            Operations::Syscall(view) => file_row!(view, row, Layer::Syscall, events, system),
            Operations::Vfs(view) => file_row!(view, row, Layer::Vfs, events, system),
            Operations::Fs(view) => fs_row(view, row, system, events),
            Operations::Block(view) => block_row(view, row, system, events),
        }
    }
}

fn fs_row<'a>(view: &'a FsView, row: usize, system: &'a str, events: &'a Events) -> Row<'a> {
    let op = view.op.at(row);
    Row {
        ts_ns: view.ts_ns.at(row),
        system,
        event: events.name(Layer::Fs, op),
        layer: Layer::Fs,
        op,
        pid: Some(view.pid.at(row)),
        tid: Some(view.tid.at(row)),
        comm: view.comm.at(row),
        bytes: Some(view.bytes.at(row)),
        offset_bytes: view.offset_bytes.at(row),
        lat_ns: view.dur_ns.at(row).filter(|_| !op.is_gathered()),
        ret: 0,
        weight: view.weight.at(row),
        more: More::Fs {
            fs: view.fs.at(row),
            via: view.via.at(row),
            fd_kind: view.fd_kind.at(row),
            dev: view.dev.at(row),
            ino: view.ino.at(row),
            events: view.events.at(row),
            blocks: view.blocks.at(row),
        },
    }
}

fn block_row<'a>(view: &'a BlockView, row: usize, system: &'a str, events: &'a Events) -> Row<'a> {
    let op = view.op.at(row);
    Row {
        ts_ns: view.ts_ns.at(row),
        system,
        event: events.name(Layer::Block, op),
        layer: Layer::Block,
        op,
        pid: view.pid.at(row),
        tid: view.tid.at(row),
        comm: view.comm.at(row),
        bytes: Some(view.bytes.at(row)),
        offset_bytes: view.sector.at(row).and_then(|sector| sector.checked_mul(SECTOR_BYTES)),
        lat_ns: view.dur_ns.at(row),
        ret: i64::from(view.error.at(row)),
        weight: view.weight.at(row),
        more: More::Block {
            dev: view.dev.at(row),
            class: view.class.at(row),
            evidence: view.evidence.at(row),
            owned_bytes: view.owned_bytes.at(row),
            shared_bytes: view.shared_bytes.at(row),
            submitter_pid: view.submitter_pid.at(row),
            submitter_comm: view.submitter_comm.at(row),
            file_dev: view.file_dev.at(row),
            ino: view.ino.at(row),
            queue_ns: view.queue_ns.at(row),
            insert_ns: view.insert_ns.at(row),
        },
    }
}

/// The words for layer and operation together.
pub struct Events(Vec<Vec<String>>);

impl Events {
    /// All there are.
    pub fn new() -> Self {
        let of = |layer: &Layer| Op::ALL.iter().map(|op| format!("{layer}_{op}").to_ascii_uppercase()).collect();
        Events(Layer::ALL.iter().map(of).collect())
    }

    fn name(&self, layer: Layer, op: Op) -> &str {
        &self.0[layer as usize][op as usize]
    }
}
