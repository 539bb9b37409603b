//! `iostrata`: parse, build options, run, print one error.

use std::process::ExitCode;

use clap::Parser;
use iostrata_recorder::cli::{Cli, Command};
use iostrata_recorder::{check, command, record, report};

/// The capture is finished but not complete.
const INCOMPLETE: u8 = 3;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("iostrata: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: Command) -> anyhow::Result<u8> {
    match what {
        Command::Check => {
            let findings = check::run();
            print!("{}", findings.text);
            Ok(u8::from(!findings.usable))
        }
        Command::Launch { gate, command } => Ok(u8::try_from(command::launch(&gate, &command)).unwrap_or(1)),
        Command::Record(arguments) => {
            let options = arguments.options()?;
            check::require_privilege()?;
            let outcome = record::run(&options)?;
            eprint!("{}", report::text(&outcome.manifest, &options.out));
            let manifest = &outcome.manifest;
            let whole = manifest.books.balanced()
                && manifest.books.lost() == 0
                && manifest.device_books.iter().all(|book| book.balanced)
                && outcome.error.is_none();
            match outcome.command {
                Some(code) if code != 0 => {
                    eprintln!("iostrata: the command ended with code {code}");
                    Ok(code)
                }
                _ => Ok(if whole { 0 } else { INCOMPLETE }),
            }
        }
    }
}
