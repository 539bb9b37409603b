//! System calls.

use crate::column::Comm;
use crate::op::{FdKind, Op};
use crate::table::table;

table! {
    /// One I/O system call on a regular file or a block device, recorded at its return.
    SyscallTable of Syscall, row SyscallRow, builder SyscallBuilder, view SyscallView {
        /// Time of entry into the call, in ns.
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
        /// System call.
        op: Op => Dictionary,
        /// File type; null for `sync` and for a failed open.
        fd_kind: Option<FdKind> => Dictionary,
        /// Device number of the file's file system; for a block device, its own device number.
        dev: Option<i32> => Delta,
        /// Inode number of the file.
        ino: Option<i64> => Delta,
        /// File offset in bytes at which the operation began: the argument, or the file position for read and write. Null
        /// where it is uncertain: for Linux aio appends, and where the file position was moved concurrently.
        offset_bytes: Option<i64> => Split,
        /// Bytes requested; null where the call requests none or the vector was too long to sum.
        requested_bytes: Option<i64> => Split,
        /// Part of `dur_ns` in which the thread was runnable but not running (run-queue latency), in ns: it was preempted,
        /// or woken and waiting for a CPU. On kernels that stop a thread inside a call once its cgroup has used up its CPU
        /// quota, this time is included. Null without `record --run-queue`, for aio and io_uring, for calls that a signal
        /// interrupted and the kernel restarted, and where the kernel did not report every state change (counted in
        /// `unmeasured_calls` in the manifest).
        runnable_ns: Option<i64> => Delta added,
        /// Return value of the call: bytes transferred, a descriptor, 0, or a negative errno.
        ret: i64 => Delta,
        /// Open flags of the file (`O_DIRECT`, `O_SYNC`, `O_APPEND`, …), as in fcntl.h; null without a file.
        flags: Option<i32> => Delta,
        /// Number of events that the row represents: 1, or more where `--cpu-limit` recorded only a sample of time slices.
        /// Sums over rows are then estimates; multiply each row by its weight.
        weight: i32 => Delta,
    }
}
