//! Kernel counters of processes during the recording.

use serde::{Deserialize, Serialize};

/// Kernel counters of the processes that existed at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessCounters {
    /// Processes with the highest counts.
    pub processes: Vec<ProcessBook>,
    /// Number of further processes that transferred bytes by calls; their counts are unknown or not kept.
    pub others: u64,
    /// Reason why no counters were read; none if they were.
    pub why_not: Option<String>,
}

/// Kernel counters of a process: increase of `rchar` and `wchar` of `/proc/PID/io` from start to end, over all of its threads.
/// They include transfers by calls on any files, sockets and pipes, but not splice, mappings, Linux aio and io_uring
/// (`add_rchar()` and `add_wchar()` in fs/read_write.c).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessBook {
    /// Process (thread group) ID.
    pub pid: i32,
    /// Start time, as in table `process`.
    pub start_ns: i64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
}
