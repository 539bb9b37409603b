//! The command line, and how it becomes [`crate::options`].

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::aggregate::Precision;
use crate::levels::Wanted;
use crate::options;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  an input or output is wrong; one line on standard error says which
  2  the command line is wrong
  3  done, but the capture is incomplete: it was cut off, events were lost, or its books do not balance";

/// Turns captures of `iostrata record` into amplification, latency and per-system tables.
#[derive(Debug, Parser)]
#[command(name = "iostrata-analyze", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print operations and amplification by system; with --out also write CSV files.
    #[command(after_help = EXIT_CODES)]
    Summary(Summary),
    /// Make captures whole whose recorder was killed or cut off: unfinished parts become ordinary Parquet files, up to what
    /// had been flushed.
    #[command(after_help = EXIT_CODES)]
    Recover(Recover),
    /// Print the documentation of all tables and CSV columns as Markdown.
    Schema,
}

#[derive(Debug, Args)]
struct Recover {
    /// Capture directories.
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Summary {
    /// Capture directories; several are merged into one result.
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    /// Write summary.csv, amplification.csv, latency.csv and loss.csv into this directory, which is created if needed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Rules (TOML) that say which system a process belongs to, asked before the built-in ones.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Which level of stacked devices (loop, dm, md) requests and ratios are taken at: `lowest` of those recorded, or a
    /// number; 0 are disks that stand on no other.
    #[arg(long, value_name = "N", default_value = "lowest", value_parser = level)]
    level: Wanted,
    /// Threads that scan [default: one for each CPU].
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Keep every duration for exact percentiles, in memory that grows with the capture: 16 bytes for each.
    #[arg(long)]
    exact: bool,
}

fn level(typed: &str) -> Result<Wanted, String> {
    match (typed, typed.parse()) {
        ("lowest", _) => Ok(Wanted::Lowest),
        (_, Ok(level)) if level >= 0 => Ok(Wanted::Level(level)),
        _ => Err("expected `lowest` or a number such as 0".to_owned()),
    }
}

/// What the user typed, as options. Prints help or a usage error and ends the process where that is what it takes.
pub fn parse() -> options::Command {
    Cli::parse().command.into()
}

impl From<Command> for options::Command {
    fn from(command: Command) -> Self {
        match command {
            Command::Summary(summary) => options::Command::Summary(summary.into()),
            Command::Recover(recover) => options::Command::Recover(recover.captures),
            Command::Schema => options::Command::Schema,
        }
    }
}

impl From<Summary> for options::Summary {
    fn from(typed: Summary) -> Self {
        let available = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        options::Summary {
            captures: typed.captures,
            out: typed.out,
            rules: typed.rules,
            level: typed.level,
            threads: typed.threads.unwrap_or_else(available),
            precision: if typed.exact { Precision::Exact } else { Precision::DEFAULT },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_option_has_help() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
            for argument in sub.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", sub.get_name(), argument.get_id());
            }
        }
    }
}
