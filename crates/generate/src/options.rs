//! Parameters of a generated capture.

use std::path::PathBuf;

/// Parameters of a generated capture.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Output directory, new or empty.
    pub out: PathBuf,
    /// Total number of rows in the tables of the layers; the last operation may add a few more.
    pub events: u64,
    /// Seed of the random number generator.
    pub seed: u64,
    /// Rows per second of capture time.
    pub events_per_second: f64,
    /// Number of processes. Process n has profile n of [`crate::profile::PROFILES`], modulo the number of profiles.
    pub processes: u32,
    /// Threads per process: the maximum number of its operations in flight.
    pub threads: u32,
    /// Number of files. Each file belongs to one process.
    pub files: u32,
    /// Size of a file.
    pub file_bytes: u64,
    /// Zipf exponent of the choice of a file by its process; 0 is uniform.
    pub skew: f64,
    /// Number of disks. Files are distributed over all disks.
    pub devices: u32,
    /// Hit ratio of reads through the page cache.
    pub hit_ratio: f64,
    /// Number of additional processes that read a file once and exit. Their rows do not count in `events`.
    pub short_lived: u32,
    /// Command name of all short-lived processes; without it each has its own name, executable and cgroup.
    pub short_lived_name: Option<String>,
    /// Size at which a part is closed.
    pub part_bytes: u64,
}
