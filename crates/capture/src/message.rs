//! The way out of all messages, of every program: what they quote was chosen by others, on a command line or on a recorded machine, so what a
//! terminal would obey or not show is escaped ([`plain`]).

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Write};

use clap::{Error, Parser};

use crate::plain;

/// Prints a message on standard error, on a line of its own. That nobody may be listening there is no reason to end.
pub fn tell(message: &str) {
    tell_all(&format!("{}\n", plain::visible(message.trim_end_matches('\n'))));
}

/// Prints lines on standard error.
pub fn tell_all(text: &str) {
    #[allow(clippy::disallowed_methods, reason = "this is the way out")]
    let _ = io::stderr().write_all(plain::lines(text).as_bytes());
}

/// Prints on standard output what was asked for. A reader that has seen enough is no error.
///
/// # Errors
/// Where it cannot be written.
pub fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    match out.write_all(plain::lines(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// The command line of this process. Prints help, the version, or what is wrong with it, and ends the process where that is what it takes.
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

/// Ends the process with what clap says. To have its colors, but nothing of the words that were typed, the same words are parsed once more with
/// all in them escaped: where that goes wrong in the same way, the message is that of the escaped words, else that of the typed ones without colors.
fn end(error: &Error, escaped: Option<Error>) -> ! {
    let is_harmless = |error: &Error| {
        let text = error.render().to_string();
        plain::lines(&text) == text
    };
    let code = error.exit_code();
    // Where there is nobody to read it the code says it.
    match escaped.filter(|escaped| escaped.kind() == error.kind() && is_harmless(escaped)) {
        Some(escaped) => drop(escaped.print()),
        None if error.use_stderr() => tell_all(&error.render().to_string()),
        None => drop(show(&error.render().to_string())),
    }
    std::process::exit(code)
}
