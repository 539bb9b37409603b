//! `iostrata snoop`.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use iostrata_capture::op::Layer;

use super::{OnlyArgs, RecordArgs, duration, latency};
use crate::options::Record;
use crate::sink::live::{Form, Shape};

/// Text after the help.
pub const HELP: &str = "One line for each completed block request. PID and COMM are its owner's, the process that wrote or asked for the data, where \
it is known; else COMM is the class of the data in parentheses. TIME is the time of queueing, in UTC. LAT is the time from queueing to completion (Q2C), Q2D its part \
before the issue to the driver. OFFSET is in bytes on the disk. FILE is the file of its first data; where another process queued the request (writeback), that \
process follows in parentheses, and so does an error. Unknown values are -, in JSON null, in CSV empty. JSON and CSV have times in ns, and no summary; \
docs/reference/options.md lists their fields.

Requests are printed after completion, in batches of about 250 ms, each sorted by TIME: a slow request comes after later ones. If the reader of the output is \
too slow, lines are dropped and counted. After COMMAND has ended, snoop continues until its data are written back, at most 40 s.

Examples:
  iostrata snoop --device nvme0n1
  iostrata snoop --min-latency 10ms              # other requests are only counted, in the kernel
  iostrata snoop --format json --duration 60s > requests.jsonl

Exit codes: that of COMMAND if it failed; else 0 success; 1 error; 2 wrong usage; 3 events were lost, lines were dropped, the event accounting is \
inconsistent, or no request matched the filters (without --min-latency).";

/// Arguments of `iostrata snoop`.
#[derive(Debug, Args)]
pub struct SnoopArgs {
    /// Show only requests that took at least this long from queueing to completion, such as 10ms, and requests of unknown latency. The others are
    /// only counted, in the kernel.
    #[arg(long, value_name = "TIME", value_parser = latency)]
    min_latency: Option<Duration>,
    /// Output format.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: ShapeName,
    /// Stop after this time, such as 60s, 5m or 2h [default: at Ctrl-C].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    only: OnlyArgs,
    /// Run this command, and show only its requests and those of its children. As with --pid, --cgroup and --comm, requests not attributable to a
    /// process (journal, metadata, flushes) are included, on --device or else on the disks that the process uses.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Name of an output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShapeName {
    /// A table, and at the end the latencies of each process.
    Text,
    /// One JSON object per line.
    Json,
    /// CSV with a header.
    Csv,
}

impl SnoopArgs {
    /// Looks up and validates the arguments.
    ///
    /// # Errors
    /// If an argument is wrong.
    pub fn options(self) -> Result<Record> {
        let shape = match self.format {
            ShapeName::Text => Shape::Text,
            ShapeName::Json => Shape::Json,
            ShapeName::Csv => Shape::Csv,
        };
        let SnoopArgs { min_latency, duration, only, command, .. } = self;
        let layers = vec![Layer::Block.name().to_owned()];
        let recorded =
            RecordArgs { live: true, layers, duration, only, min_latency, command, ..RecordArgs::defaults()? };
        let mut record = recorded.options()?;
        record.live.iter_mut().for_each(|live| live.form = Form::Requests(shape));
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_has_a_unit_and_is_above_zero() {
        assert_eq!(latency("10ms"), Ok(Duration::from_millis(10)));
        for wrong in ["", "0ms", "10", "2h", "soon"] {
            assert!(latency(wrong).is_err(), "{wrong}");
        }
    }
}
