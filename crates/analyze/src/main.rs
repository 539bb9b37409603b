//! `iostrata-analyze`: see `iostrata-analyze --help`.

use std::io::{self, Write};
use std::process::ExitCode;

use iostrata_analyze::commands::{self, Outcome};
use iostrata_analyze::memory::allocator::give_back_large_pieces;
use iostrata_analyze::memory::watch;
use iostrata_analyze::{cli, output};

/// A result that is there but incomplete.
const INCOMPLETE: u8 = 3;

fn main() -> ExitCode {
    give_back_large_pieces();
    let command = cli::parse();
    watch::begin(command.memory());
    match commands::run(&command, &mut io::stdout().lock(), &mut io::stderr()) {
        Ok(Outcome::Complete) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::from(INCOMPLETE),
        Err(error) => {
            // Where even standard error is gone, the exit code is all that is left to say it with.
            let _ = writeln!(io::stderr(), "iostrata-analyze: {}", output::message(&error));
            ExitCode::FAILURE
        }
    }
}
