//! Requests to a running recording: signals and status queries.

use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;

/// A request to a running recording.
#[derive(Debug)]
pub enum Told {
    /// Stop, with the reason.
    Stop(&'static str),
    /// Close the open parts, so that everything recorded so far is in finished ones.
    Rotate,
    /// Print the status on standard error.
    Status,
    /// Send the status to a client.
    Asked(UnixStream),
}

fn meaning(signal: i32) -> Told {
    match signal {
        SIGHUP => Told::Rotate,
        SIGUSR1 => Told::Status,
        SIGINT => Told::Stop("SIGINT"),
        _ => Told::Stop("SIGTERM"),
    }
}

/// Caught signals that have not been read yet.
pub struct Caught(Signals);

/// Keeps signals from ending the process. They wait until [`Caught::listen`].
pub fn catch() -> Result<Caught> {
    // A part that reaches the file size limit (`ulimit -f`) must be a failed write, not the end. SIGXFSZ is handled and not
    // ignored, because the command would inherit an ignored signal.
    Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXFSZ]).map(Caught).context("cannot listen for signals")
}

impl Caught {
    /// Receives the requests from signals, and those sent to the returned sender.
    pub fn listen(self) -> Result<(Sender<Told>, Receiver<Told>)> {
        let Caught(mut signals) = self;
        let (send, receive) = crossbeam_channel::unbounded();
        let teller = send.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever().filter(|signal| *signal != SIGXFSZ) {
                    if teller.send(meaning(signal)).is_err() {
                        break;
                    }
                }
            })
            .context("cannot start the signal thread")?;
        Ok((send, receive))
    }
}
