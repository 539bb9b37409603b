//! `iostrata hist`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use iostrata_capture::exit::Usage;

use super::{OnlyArgs, duration, in_range, size};
use crate::groups::block_latency::Latency;
use crate::hist::lines::{STANDARD, Writing};
use crate::hist::{By, Hist};

/// Text after the help.
pub const HELP: &str = "Each line of the output file is a JSON object: timestamp (seconds), iso_timestamp, interval_s, latency_histogram \
(device_id, device_name, total, and for each bucket slot, count, bucket_low and bucket_high in µs, both inclusive) and inflight \
(device_id, device_name, count). With --by there is a histogram for each operation (op) or process (pid, comm) of a disk. With --pid, --cgroup or --comm, \
requests without a process (journal, metadata, flushes) are not counted.

Examples:
  iostrata hist                                  # all disks, every 5 s, also to hist.jsonl
  iostrata hist --device nvme0n1 --interval 1 --no-output
  iostrata hist --queued --by op --output - | jq .inflight
  iostrata hist --by process --comm postgres

Exit codes: 0 success; 1 error; 2 wrong usage; 3 some requests are in no histogram (one line says how many, and why).";

/// Arguments of `iostrata hist`.
#[derive(Debug, Args)]
pub struct HistArgs {
    /// Time between two histograms, in seconds or with a unit, such as 1, 500ms or 1m.
    #[arg(long, value_name = "TIME", default_value = "5", value_parser = interval)]
    interval: Duration,
    /// Stop after this time, such as 60s, 5m or 2h.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Count from queueing to completion (Q2C), not from issue to completion (D2C): includes the time in the scheduler.
    #[arg(long)]
    queued: bool,
    /// Divide the requests of each disk.
    #[arg(long, value_name = "KEY")]
    by: Option<By>,
    /// Append to this file, a JSON object per line; - is standard output, without histograms on the terminal.
    #[arg(long, value_name = "PATH", default_value = "hist.jsonl")]
    output: PathBuf,
    /// Write no file.
    #[arg(long, conflicts_with_all = ["output", "flush_every", "fsync", "rotate_size"])]
    no_output: bool,
    /// Write after this number of intervals.
    #[arg(long, value_name = "N", default_value = "12", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    flush_every: u32,
    /// Wait after each write until it is on the disk.
    #[arg(long)]
    fsync: bool,
    /// Compress the file with zstd under another name when it has this size, and begin a new one.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    rotate_size: Option<u64>,
    /// Show bounds in ms on the terminal. The file has µs.
    #[arg(long)]
    milliseconds: bool,
    #[command(flatten)]
    only: OnlyArgs,
}

/// Parses a time; a bare number is seconds.
pub fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => {
            let time = Duration::try_from_secs_f64(seconds);
            time.map_err(|_| "expected seconds, or a time such as 500ms or 1m".to_owned()).and_then(in_range)
        }
        Err(_) => duration(text),
    }
}

impl HistArgs {
    /// Looks up and validates the arguments.
    ///
    /// # Errors
    /// If there is no such disk.
    pub fn options(self) -> Result<Hist> {
        if self.rotate_size.is_some() && self.output.as_os_str() == STANDARD {
            bail!(Usage("hist: --rotate-size: the output is the standard output, expected a file".to_owned()));
        }
        let writing = Writing {
            path: self.output,
            flush_every: self.flush_every as usize,
            is_synced: self.fsync,
            rotate_bytes: self.rotate_size,
        };
        Ok(Hist {
            interval: self.interval,
            duration: self.duration,
            filter: self.only.filter(false)?,
            latency: if self.queued { Latency::Q2c } else { Latency::D2c },
            by: self.by,
            output: (!self.no_output).then_some(writing),
            in_ms: self.milliseconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_seconds() {
        let ms = |text| interval(text).map(|time| time.as_millis());
        assert_eq!(["5", "5.0", "0.5", "500ms", "1m"].map(ms), [5_000, 5_000, 500, 500, 60_000].map(Ok));
        for wrong in ["", "0", "0.01", "-1", "nan", "inf", "1e300", "soon"] {
            assert!(ms(wrong).is_err(), "{wrong}");
        }
    }
}
