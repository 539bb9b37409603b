//! The parameters of a capture.

use std::path::PathBuf;

/// A capture that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The directory, which does not exist yet or is empty.
    pub out: PathBuf,
    /// Rows of the layers' tables, all together: the last operation may bring a few more.
    pub events: u64,
    /// What chance is made of.
    pub seed: u64,
    /// Rows in a second of the capture's time.
    pub events_per_second: f64,
    /// Processes, which are of the systems of [`crate::profile::PROFILES`] in turn.
    pub processes: u32,
    /// Threads of each process. As many operations are under way at once at most.
    pub threads: u32,
    /// Files, each of one process.
    pub files: u32,
    /// The size of a file.
    pub file_bytes: u64,
    /// How much more often a process uses one of its files than the next (Zipf's exponent); 0 is all the same.
    pub skew: f64,
    /// Disks, over which files are spread.
    pub devices: u32,
    /// Reads through the page cache that find what they want there.
    pub hit_ratio: f64,
    /// Processes beside those, each of which reads a file once and ends. Their rows are not among `events`.
    pub short_lived: u32,
    /// The command name of all short-lived processes; without it each has a name, an executable and a cgroup of its own.
    pub short_lived_name: Option<String>,
    /// A part is closed when it has this size.
    pub part_bytes: u64,
}
