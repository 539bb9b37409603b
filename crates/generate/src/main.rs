//! `iostrata-generate`: see `iostrata-generate --help`.

use std::io::Write;
use std::process::ExitCode;

use iostrata_generate::{cli, generate};

fn main() -> ExitCode {
    let options = cli::parse();
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    match generate::run(&options) {
        Ok(made) => {
            let _ = writeln!(out, "{made}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(err, "iostrata-generate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
