//! Command line, converted to [`crate::options`].

use std::path::PathBuf;

use clap::Parser;
use iostrata_capture::message;

use crate::options::Options;

/// Generate a capture of any size from a seed, for benchmarks and tests of readers. The same parameters give the same rows.
#[derive(Debug, Parser)]
#[command(name = "iostrata-generate", version)]
struct Cli {
    /// Output directory, new or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Total number of rows in the tables syscall, vfs, fs and block; the last operation may add a few more.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Seed of the random number generator.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Average number of rows per second of capture time.
    #[arg(long, value_name = "N", default_value_t = 50_000.0, value_parser = positive)]
    events_per_second: f64,
    /// Number of processes, of the systems minio, ceph, etcd, postgres, glusterfs and fio in turn.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    processes: u32,
    /// Threads per process: the maximum number of its operations in flight.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    threads: u32,
    /// Number of files; each file belongs to one process.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    files: u32,
    /// Size of a file.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = file_size)]
    file_size: u64,
    /// Zipf exponent of the choice of a file by its process; 0 is uniform.
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = not_negative)]
    skew: f64,
    /// Number of disks; files are distributed over all disks.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    devices: u32,
    /// Hit ratio of reads through the page cache, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.7, value_parser = share)]
    hit_ratio: f64,
    /// Number of additional processes that start evenly over the capture time, read a file once and exit; their rows do not count in --events.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    short_lived: u32,
    /// Command name of all short-lived processes; without it each has its own name, executable and cgroup; command lines always differ.
    #[arg(long, value_name = "NAME")]
    short_lived_name: Option<String>,
    /// Close a part at this size.
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = part_size)]
    part_size: u64,
}

/// Parses the command line. Prints help or a usage error and exits if required.
pub fn parse() -> Options {
    let cli: Cli = message::parsed();
    Options {
        out: cli.out,
        events: cli.events,
        seed: cli.seed,
        events_per_second: cli.events_per_second,
        processes: cli.processes,
        threads: cli.threads,
        files: cli.files,
        file_bytes: cli.file_size,
        skew: cli.skew,
        devices: cli.devices,
        hit_ratio: cli.hit_ratio,
        short_lived: cli.short_lived,
        short_lived_name: cli.short_lived_name,
        part_bytes: cli.part_size,
    }
}

fn size(text: &str, least: bytesize::ByteSize, most: bytesize::ByteSize) -> Result<u64, String> {
    let size: bytesize::ByteSize = text.parse().map_err(|_| "expected a size such as 64MiB".to_owned())?;
    let expected = || format!("expected a size from {least} to {most}");
    (least..=most).contains(&size).then(|| size.as_u64()).ok_or_else(expected)
}

/// Parses a file size. The minimum is not below the largest I/O size of any profile, so that each operation fits into a file.
fn file_size(text: &str) -> Result<u64, String> {
    size(text, bytesize::ByteSize::mib(2), bytesize::ByteSize::pib(1))
}

fn part_size(text: &str) -> Result<u64, String> {
    size(text, bytesize::ByteSize::kib(64), bytesize::ByteSize::gib(64))
}

fn number(text: &str, expected: &str, holds: impl Fn(f64) -> bool) -> Result<f64, String> {
    text.parse().ok().filter(|number| holds(*number)).ok_or_else(|| format!("expected {expected}"))
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, "a number from 1 to 1e9", |number| (1.0..=1e9).contains(&number))
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, "a number from 0 to 10", |number| (0.0..=10.0).contains(&number))
}

fn share(text: &str) -> Result<f64, String> {
    number(text, "a share from 0 to 1", |number| (0.0..=1.0).contains(&number))
}
