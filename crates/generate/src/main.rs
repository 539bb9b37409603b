//! `iostrata-generate`: see `iostrata-generate --help`.

#![deny(clippy::disallowed_methods)]

use std::process::ExitCode;

use anyhow::Context;
use iostrata_capture::ending;
use iostrata_capture::message::{show, tell};
use iostrata_generate::{cli, generate};

fn main() -> ExitCode {
    let options = cli::parse();
    let outcome = ending::on_signals().context("cannot listen for signals").and_then(|()| generate::run(&options));
    ending::wait();
    match outcome {
        Ok(made) => {
            let _ = show(&format!("{made}\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&format!("iostrata-generate: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}
