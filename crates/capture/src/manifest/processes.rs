//! Processes, and what the kernel counted of each while it was recorded.

use serde::{Deserialize, Serialize};

/// What the kernel counted of the processes that were there at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessCounters {
    /// Those of which it counted most.
    pub processes: Vec<ProcessBook>,
    /// How many more moved something by calls, of which it is not known or not kept how much.
    pub others: u64,
    /// Why nothing was read; none where it was.
    pub why_not: Option<String>,
}

/// What the kernel counted of a process: `rchar` and `wchar` of `/proc/PID/io` at the end less those at the start, all of its threads
/// together. They have what calls moved in any files, sockets and pipes, but for splice, mappings, Linux aio and io_uring
/// (`add_rchar()` and `add_wchar()` in fs/read_write.c).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessBook {
    /// Process (thread group) id.
    pub pid: i32,
    /// When it started, as the table `process` has it.
    pub start_ns: i64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
}
