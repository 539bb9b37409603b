//! A printed row, built from the columns of its batch.

use std::sync::Arc;

use arrow_array::RecordBatch;
use iostrata_capture::TableId;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Evidence, FdKind, IoClass, Layer, Op, Via};
use iostrata_capture::system::without_owner;
use iostrata_capture::tables::{BlockView, FsView, SyscallView, VfsView};
use serde::Serialize;

use super::processes::Processes;

/// Unit of sector numbers.
const SECTOR_BYTES: i64 = 512;

/// A completed operation. `None` is unknown or not applicable. The JSON objects have these fields, in this order. A field
/// that is also a column of the capture has the column's name.
#[derive(Debug, Serialize)]
pub struct Row<'a> {
    /// Start of the operation, since the Unix epoch.
    pub ts_ns: i64,
    /// System of the operation.
    pub system: &'a str,
    /// Layer and operation, such as `BLOCK_WRITE`.
    pub event: &'a str,
    /// The layer.
    pub layer: Layer,
    /// Operation.
    pub op: Op,
    /// The process; of a block request, the owner.
    pub pid: Option<i32>,
    /// The thread; of a block request, the owner's.
    pub tid: Option<i32>,
    /// The thread's command name.
    pub comm: Option<&'a str>,
    /// Bytes completed, for operations that move data and did not fail, and for block requests.
    pub bytes: Option<i64>,
    /// Position in the file, or on the disk.
    pub offset_bytes: Option<i64>,
    /// Latency; for a block request, from queueing to completion. None for rows aggregated over time.
    pub lat_ns: Option<i64>,
    /// Return value, or a negative errno; for a block request 0 or a negative errno; 0 in a file system.
    pub ret: i64,
    /// Weight: number of operations that the row represents, if more than one (`--cpu-limit`).
    #[serde(skip_serializing_if = "is_one")]
    pub weight: i32,
    /// Other columns of the layer.
    #[serde(flatten)]
    pub more: More<'a>,
}

/// Fields that not every layer has, with the names of the capture's columns.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum More<'a> {
    /// Fields of system calls and the VFS.
    File { fd_kind: Option<FdKind>, dev: Option<i32>, ino: Option<i64>, requested_bytes: Option<i64> },
    /// Fields of file systems.
    Fs {
        fs: Option<&'a str>,
        via: Option<Via>,
        fd_kind: Option<FdKind>,
        dev: i32,
        ino: Option<i64>,
        events: i64,
        blocks: Option<i64>,
    },
    /// Fields of block requests.
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

// serde requires a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_one(weight: &i32) -> bool {
    *weight == 1
}

/// Whether rows of `table` are operations, and therefore shown.
pub fn is_operation(table: TableId) -> bool {
    matches!(table, TableId::Syscall | TableId::Vfs | TableId::Fs | TableId::Block)
}

/// Columns of a batch of operations.
pub enum Operations<'a> {
    Syscall(SyscallView<'a>),
    Vfs(VfsView<'a>),
    Fs(FsView<'a>),
    Block(BlockView<'a>),
}

/// Row of either file layer's view.
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
    /// Columns of `rows`; none if they are not operations.
    pub fn new(table: TableId, rows: &'a RecordBatch) -> Option<Self> {
        // The recorder created the batch, so it has the columns.
        match table {
            TableId::Syscall => SyscallView::new(rows).ok().map(Operations::Syscall),
            TableId::Vfs => VfsView::new(rows).ok().map(Operations::Vfs),
            TableId::Fs => FsView::new(rows).ok().map(Operations::Fs),
            TableId::Block => BlockView::new(rows).ok().map(Operations::Block),
            _ => None,
        }
    }

    /// Start time of each row.
    pub fn times(&self) -> &'a [i64] {
        match self {
            Operations::Syscall(view) => view.ts_ns,
            Operations::Vfs(view) => view.ts_ns,
            Operations::Fs(view) => view.ts_ns,
            Operations::Block(view) => view.ts_ns,
        }
    }

    /// System of `row`.
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

    /// Builds a row that belongs to `system`.
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

/// Combined names of layer and operation.
pub struct Events(Vec<Vec<String>>);

impl Events {
    /// Creates all names.
    pub fn new() -> Self {
        let of = |layer: &Layer| Op::ALL.iter().map(|op| format!("{layer}_{op}").to_ascii_uppercase()).collect();
        Events(Layer::ALL.iter().map(of).collect())
    }

    fn name(&self, layer: Layer, op: Op) -> &str {
        &self.0[layer as usize][op as usize]
    }
}
