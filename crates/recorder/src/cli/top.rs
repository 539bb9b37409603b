//! `iostrata top`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use iostrata_capture::exit::Usage;

use super::hist::interval;
use super::{OnlyArgs, duration, systems};
use crate::top::Top;
use crate::top::rows::{By, Sort};

/// Text after the help.
pub const HELP: &str = "Keys: Tab or 1 to 5 change the view (disk, system, process, cgroup, file), s and r the order; / d p show one name, disk or process; \
the arrow keys select a row, whose latency histogram is below the table; space pauses, ? helps, q quits.

Latencies are from queueing to completion (Q2C). QD is the average number of requests in flight in the interval, INFL that of its end, %UTIL the \
kernel's busy time, which the kernel samples. A request belongs to the process that wrote or asked for the data, as far as one process has changed the \
file since it was clean: (several) otherwise. Names in parentheses are requests without a process, such as (journal); with --pid, --cgroup or --comm they are not counted.

Examples:
  iostrata top
  iostrata top --by process --device nvme0n1
  iostrata top --batch --duration 60s --csv top.csv

Exit codes: 0 success; 1 error; 2 wrong usage; 3 some requests were not counted, or without their owner (one line says how many, and why).";

/// Arguments of `iostrata top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Time between two updates, in seconds or with a unit, such as 1, 500ms or 1m.
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Stop after this time, such as 60s, 5m or 2h.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// First view.
    #[arg(long, value_name = "VIEW", default_value = "disk")]
    by: By,
    /// First order.
    #[arg(long, value_name = "KEY", default_value = "iops")]
    sort: Sort,
    /// Print a table for each interval instead of a screen.
    #[arg(long)]
    batch: bool,
    /// Append the rows of each interval to this file.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Print or append at most this number of rows for each interval.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rows: Option<u32>,
    /// Rules that map processes to systems, ahead of the built-in ones (TOML).
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    #[command(flatten)]
    only: OnlyArgs,
}

impl TopArgs {
    /// Looks up and validates the arguments.
    ///
    /// # Errors
    /// If an argument is wrong, or there is no terminal.
    pub fn options(self) -> Result<Top> {
        let has_screen = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
        if !self.batch && !has_screen {
            bail!(Usage("top: standard input and output are no terminal, expected --batch".to_owned()));
        }
        Ok(Top {
            interval: self.interval,
            duration: self.duration,
            filter: self.only.filter(false)?,
            by: self.by,
            sort: self.sort,
            systems: systems(self.rules.as_deref())?,
            is_batch: self.batch,
            csv: self.csv,
            most_rows: self.rows.map(|rows| rows as usize),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn names_on_the_command_line_are_those_of_the_tables() {
        let by = By::value_variants().iter().map(|by| (by.to_possible_value(), by.name()));
        let sort = Sort::value_variants().iter().map(|sort| (sort.to_possible_value(), sort.name()));
        for (value, name) in by.chain(sort) {
            assert_eq!(value.expect("a name").get_name(), name);
        }
    }
}
