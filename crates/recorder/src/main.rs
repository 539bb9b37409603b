//! `iostrata`: parse, build options, run, print one error.

#![deny(clippy::disallowed_methods)]

use std::process::ExitCode;

use anyhow::Context;
use iostrata_capture::exit::{INCOMPLETE, USAGE, Usage};
use iostrata_capture::message::{self, show, tell, tell_all};
use iostrata_recorder::cli::{Cli, Command};
use iostrata_recorder::record::{self, Outcome};
use iostrata_recorder::report;
use iostrata_recorder::{check, command, hist, limits, stat, status, top};

fn main() -> ExitCode {
    match run(message::parsed::<Cli>().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tell(&format!("iostrata: {error:#}\n"));
            if error.is::<Usage>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Checks and raises what loading BPF programs takes, once the arguments are valid.
fn prepare() -> anyhow::Result<()> {
    check::require_privilege()?;
    limits::raise_files();
    Ok(())
}

fn run(what: Command) -> anyhow::Result<u8> {
    match what {
        Command::Check => {
            let findings = check::run();
            print(&findings.text)?;
            Ok(u8::from(!findings.usable))
        }
        Command::Hist(arguments) => {
            let options = arguments.options()?;
            prepare()?;
            Ok(if hist::run(&options)? { 0 } else { INCOMPLETE })
        }
        Command::Snoop(arguments) => {
            let options = arguments.options()?;
            prepare()?;
            let outcome = record::run(&options)?;
            tell_all(&report::of_requests(&outcome));
            let is_cut = outcome.live.as_ref().is_some_and(|live| live.is_slow());
            Ok(match exit_code(&outcome) {
                0 if is_cut => INCOMPLETE,
                code => code,
            })
        }
        Command::Stat(arguments) => {
            let options = arguments.options()?;
            prepare()?;
            stat::run(&options)
        }
        Command::Top(arguments) => {
            let options = arguments.options()?;
            prepare()?;
            Ok(if top::run(&options)? { 0 } else { INCOMPLETE })
        }
        Command::Status(arguments) => {
            let (text, code) = status::run(&arguments.directory, arguments.format)?;
            print(&text)?;
            Ok(code)
        }
        Command::Launch { gate, files, command } => {
            Ok(u8::try_from(command::launch(&gate, &files, &command)).unwrap_or(1))
        }
        Command::Record(arguments) => {
            let options = arguments.options()?;
            prepare()?;
            let outcome = record::run(&options)?;
            let out = options.out.as_deref().map(|out| (out, outcome.size));
            tell_all(&report::text(&outcome.manifest, out, outcome.live.as_ref()));
            Ok(exit_code(&outcome))
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    show(text).context("cannot write to standard output")
}

fn exit_code(outcome: &Outcome) -> u8 {
    let manifest = &outcome.manifest;
    let whole = !manifest.is_filter_idle()
        && manifest.books.balanced()
        && manifest.books.lost() == 0
        && manifest.device_books.iter().all(|book| book.balanced)
        && outcome.error.is_none();
    match outcome.command {
        Some(code) if code != 0 => {
            tell(&format!("iostrata: the command ended with code {code}\n"));
            code
        }
        _ if outcome.live.as_ref().is_some_and(|live| live.failed) => 1,
        _ if !whole => INCOMPLETE,
        _ => 0,
    }
}
