//! Page cache, writeback, journal and sync.

use crate::column::Comm;
use crate::op::{FdKind, Op, Via};
use crate::table::table;

table! {
    /// One file system event. Pages that enter the page cache or become dirty are aggregated: one row per process, file,
    /// operation, access path (`via`) and CPU, for at most one second.
    FsTable of Fs, row FsRow, builder FsBuilder, view FsView {
        /// Time at which the event began, in ns.
        ts_ns: i64 => Split,
        /// Duration in ns; for aggregated rows, the time from the first event to the last. Null where the kernel does not
        /// report it.
        dur_ns: Option<i64> => Split,
        /// Operation.
        op: Op => Dictionary,
        /// Process (thread group) ID, in the initial PID namespace, of the process that was current at the event.
        pid: i32 => Split,
        /// Thread ID of the first event.
        tid: i32 => Split,
        /// Command name of the thread.
        comm: Comm => Dictionary,
        /// Cgroup v2 ID (inode number of the cgroup directory).
        cgroup_id: i64 => Delta,
        /// Access path of the process to the page: system call or mapping. Null for kernel threads, and before Linux 5.15,
        /// which does not report it.
        via: Option<Via> => Dictionary,
        /// File system type, as in /proc/filesystems; `bdev` for a block device itself; null for a journal.
        fs: Comm => Dictionary,
        /// File type. `block` includes blocks that a file system keeps in the page cache of its device. Null for an
        /// internal inode of the file system (ext4's block groups, btrfs's trees).
        fd_kind: Option<FdKind> => Dictionary,
        /// Device number of the file's file system; for a block device, its own device number.
        dev: i32 => Delta,
        /// Inode number of the file; null for a journal or a whole file system.
        ino: Option<i64> => Split,
        /// File offset in bytes; for aggregated rows, the lowest.
        offset_bytes: Option<i64> => Split,
        /// Bytes of the pages; for a commit, bytes of the blocks.
        bytes: i64 => Split,
        /// Number of events in the row: folios or page faults; 1 where nothing is aggregated.
        events: i64 => Delta,
        /// Number of blocks that a commit logged.
        blocks: Option<i64> => Delta,
        /// Number of events that the row represents: 1, or more where `--cpu-limit` recorded only a sample of time slices.
        /// Sums over rows are then estimates; multiply each row by its weight.
        weight: i32 => Delta,
    }
}
