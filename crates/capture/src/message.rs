//! Output of all messages, of every program. They quote texts that others chose, on a command line or on a recorded machine, so
//! control and invisible characters are escaped ([`plain`]).

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Write};

use clap::{Error, Parser};

use crate::plain;

/// Prints a message on standard error, on a line of its own. A closed standard error is ignored.
pub fn tell(message: &str) {
    tell_all(&format!("{}\n", plain::visible(message.trim_end_matches('\n'))));
}

/// Prints lines on standard error.
pub fn tell_all(text: &str) {
    #[allow(clippy::disallowed_methods, reason = "the one place that writes to standard error")]
    let _ = io::stderr().write_all(plain::lines(text).as_bytes());
}

/// Prints the requested output on standard output. A closed pipe is not an error.
///
/// # Errors
/// Returns an error if the text cannot be written.
pub fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    match out.write_all(plain::lines(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Parses the command line of this process. Prints help, the version, or a usage error, and exits in these cases.
pub fn parsed<C: Parser>() -> C {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match C::try_parse_from(&arguments) {
        Ok(command) => command,
        Err(error) => end(&error, C::try_parse_from(arguments.iter().map(|word| visible(word))).err()),
    }
}

fn visible(word: &OsStr) -> String {
    plain::visible(&word.to_string_lossy()).into_owned()
}

/// Ends the process with clap's message. To keep its colors without unescaped input, the arguments are parsed again in escaped
/// form: if that fails in the same manner, the message of the escaped arguments is printed, else that of the original ones without
/// colors.
fn end(error: &Error, escaped: Option<Error>) -> ! {
    let is_harmless = |error: &Error| {
        let text = error.render().to_string();
        plain::lines(&text) == text
    };
    let code = error.exit_code();
    // Without a reader of the message, the exit code still reports the error.
    match escaped.filter(|escaped| escaped.kind() == error.kind() && is_harmless(escaped)) {
        Some(escaped) => drop(escaped.print()),
        None if error.use_stderr() => tell_all(&error.render().to_string()),
        None => drop(show(&error.render().to_string())),
    }
    std::process::exit(code)
}
