//! The command line, and how it becomes [`crate::options`].

use std::path::PathBuf;

use clap::Parser;
use iostrata_capture::message;

use crate::options::Options;

/// Makes a capture of any size out of a seed, for benchmarks and tests of readers. The same parameters give the same rows.
#[derive(Debug, Parser)]
#[command(name = "iostrata-generate", version)]
struct Cli {
    /// Where the capture goes: a new directory, or an empty one.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Rows of the tables syscall, vfs, fs and block together; the last operation may bring a few more.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// What chance is made of.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Rows in a second of the capture's time, on average.
    #[arg(long, value_name = "N", default_value_t = 50_000.0, value_parser = positive)]
    events_per_second: f64,
    /// Processes, of the systems minio, ceph, etcd, postgres, glusterfs and fio in turn.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    processes: u32,
    /// Threads of each process: as many of its operations are under way at once at most.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    threads: u32,
    /// Files, each of one process.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    files: u32,
    /// The size of a file.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = file_size)]
    file_size: u64,
    /// How much more often a process uses one of its files than the next (Zipf's exponent); 0 is all the same.
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = not_negative)]
    skew: f64,
    /// Disks, over which files are spread.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    devices: u32,
    /// The share of reads through the page cache that find what they want there.
    #[arg(long, value_name = "SHARE", default_value_t = 0.7, value_parser = share)]
    hit_ratio: f64,
    /// Processes beside those, spread over the time of the capture, each of which reads a file once and ends. Their rows are not among --events.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    short_lived: u32,
    /// The command name of all short-lived processes. Without it each has a name, an executable and a cgroup of its own; command lines always differ.
    #[arg(long, value_name = "NAME")]
    short_lived_name: Option<String>,
    /// Close a part when it has grown to this size.
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = part_size)]
    part_size: u64,
}

/// What the user typed, as options. Prints help or a usage error and ends the process where that is what it takes.
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

/// No less than a request of the largest profile, so that each has room in a file.
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
