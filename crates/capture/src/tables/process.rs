//! Processes.

use crate::column::Comm;
use crate::table::table;

table! {
    /// A process at its first recorded I/O, again after each exec, and once in each cgroup in which it does I/O. An event
    /// belongs to the row of its `pid` with the maximum `ts_ns` that is not later than the event. A process that does I/O
    /// during exec, such as reading its own program, has a row for that without a command line, and one nanosecond later
    /// the row that applies.
    ProcessTable of Process, row ProcessRow, builder ProcessBuilder, view ProcessView {
        /// Time of the observation, in ns.
        ts_ns: i64 => Delta,
        /// Process (thread group) ID in the initial PID namespace.
        pid: i32 => Delta,
        /// Process ID of the parent.
        ppid: i32 => Delta,
        /// Start time of the process in ns; with `pid` it identifies one process within the capture.
        start_ns: i64 => Delta,
        /// Command name of the process, which is that of its first thread.
        comm: Comm => Dictionary,
        /// True for a kernel thread.
        kernel_thread: bool => Plain,
        /// Cgroup v2 ID (inode number of the cgroup directory).
        cgroup_id: i64 => Delta,
        /// Path of the executable from the root of the process's mount namespace. Without a leading `/` only the end of the
        /// path is known (longer than 512 bytes, or more than 64 names and mounts deep).
        exe: Option<String> => Plain,
        /// Command line, arguments separated by spaces. If longer than 768 bytes, the first 512 and the last 256 bytes with
        /// ` … ` between them. Null also if the process was seen only before its arguments were set, and for kernel
        /// threads.
        cmdline: Option<String> => Plain,
        /// Path of the cgroup below the cgroup v2 mount. Null if the cgroup is not below it, or if the path is longer than
        /// 512 bytes.
        cgroup: Option<String> => Plain,
    }
}
