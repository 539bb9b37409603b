//! VFS operations.

use crate::column::Comm;
use crate::op::{FdKind, Op};
use crate::table::table;

table! {
    /// One read, write or sync in the virtual file system (VFS), recorded at its return.
    VfsTable of Vfs, row VfsRow, builder VfsBuilder, view VfsView {
        /// Time of entry into the VFS function, in ns.
        ts_ns: i64 => Delta,
        /// Time from entry to return in ns.
        dur_ns: i64 => Split,
        /// Process (thread group) ID in the initial PID namespace.
        pid: i32 => Delta,
        /// Thread ID.
        tid: i32 => Split,
        /// Command name of the thread.
        comm: Comm => Dictionary,
        /// Cgroup v2 ID (inode number of the cgroup directory).
        cgroup_id: i64 => Delta,
        /// `read`, `write` or `fsync`.
        op: Op => Dictionary,
        /// File type.
        fd_kind: Option<FdKind> => Dictionary,
        /// Device number of the file's file system; for a block device, its own device number.
        dev: Option<i32> => Delta,
        /// Inode number of the file.
        ino: Option<i64> => Delta,
        /// File offset in bytes at which the operation began.
        offset_bytes: Option<i64> => Split,
        /// Bytes requested.
        requested_bytes: Option<i64> => Split,
        /// Bytes transferred, 0, or a negative errno.
        ret: i64 => Delta,
        /// Number of events that the row represents: 1, or more where `--cpu-limit` recorded only a sample of time slices.
        /// Sums over rows are then estimates; multiply each row by its weight.
        weight: i32 => Delta,
    }
}
