//! `iostrata-analyze`: see `iostrata-analyze --help`.

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use iostrata_analyze::commands::{self, Outcome};
use iostrata_analyze::memory::allocator::give_back_large_pieces;
use iostrata_analyze::memory::watch;
use iostrata_analyze::{cli, output, terminal};
use iostrata_capture::ending;
use iostrata_capture::exit::{INCOMPLETE, USAGE, Usage};
use iostrata_capture::message::tell;

fn main() -> ExitCode {
    give_back_large_pieces();
    let command = cli::parse();
    watch::begin(command.memory());
    terminal::fit::to_terminal();
    let outcome = ending::on_signals()
        .context("cannot listen for signals")
        .and_then(|()| commands::run(&command, &mut io::stdout().lock(), &mut io::stderr()));
    ending::wait();
    match outcome {
        Ok(Outcome::Complete) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::from(INCOMPLETE),
        Err(error) => {
            // Without standard error, only the exit code reports the failure.
            tell(&format!("iostrata-analyze: {}\n", output::message(&error)));
            if error.is::<Usage>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}
