//! `iostrata stat`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::{OnlyArgs, RecordArgs, duration};
use crate::host;
use crate::stat::{Stat, analyzer};

/// Text after the help.
pub const HELP: &str = "COMMAND and its children are recorded, as with `iostrata record -- COMMAND`, by the same user (root under sudo). When its \
data are written back, the summary of `iostrata-analyze stat` is printed on standard error: operations, rates and latency of reads, writes and syncs, amplification, queue \
depth, utilization and page-cache hits. A percentile of too few operations is -.

Examples:
  iostrata stat -- dd if=/dev/zero of=file bs=1M count=100 conv=fdatasync
  iostrata stat --out run1 -- pgbench -T 60          # keeps the capture, for `iostrata-analyze report run1`

Exit codes: 1 if the recording or its analysis failed (the capture is kept then); else that of COMMAND if it failed; else 0 success; 2 wrong usage; \
3 events were lost, or the capture is incomplete in another way.";

/// Arguments of `iostrata stat`.
#[derive(Debug, Args)]
pub struct StatArgs {
    /// Keep the capture in this directory, which must be new or empty. Without it, it is made in TMPDIR (/tmp) and removed: a large capture can fill that disk.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Count only I/O on this disk, such as nvme0n1 (repeatable).
    #[arg(long, value_name = "DISK")]
    device: Vec<String>,
    /// End the recording after this time, such as 60s, 5m or 2h. A COMMAND that still runs gets SIGTERM, its
    /// children do not, and its data are not waited for.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// After COMMAND has ended, wait until its data is written back, but no longer than this [default: 40s].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait_writeback: Option<Duration>,
    /// Command to run.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl StatArgs {
    /// Looks up and validates the arguments.
    ///
    /// # Errors
    /// If an argument is wrong, or the analyzer cannot be found.
    pub fn options(self) -> Result<Stat> {
        let analyzer = analyzer()?;
        let is_kept = self.out.is_some();
        // A random name, so that nobody can create the directory in advance.
        let temporary =
            || std::env::temp_dir().join(format!("iostrata-stat-{}", host::line("/proc/sys/kernel/random/uuid")));
        let place = std::env::temp_dir();
        if !is_kept && !place.is_dir() {
            bail!("TMPDIR {}: is not a directory, expected one for the capture, or --out", place.display());
        }
        let out = self.out.unwrap_or_else(temporary);
        let defaults = RecordArgs::defaults()?;
        let recorded = RecordArgs {
            out: Some(out.clone()),
            only: OnlyArgs { device: self.device, ..OnlyArgs::default() },
            duration: self.duration,
            wait_writeback: self.wait_writeback.unwrap_or(defaults.wait_writeback),
            command: self.command,
            ..defaults
        };
        Ok(Stat { record: recorded.options()?, out, is_kept, analyzer })
    }
}
