//! What a recording is told from outside.

use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;

/// What a recording is told.
#[derive(Debug)]
pub enum Told {
    /// To end, and why.
    Stop(&'static str),
    /// To close the open parts, so that what was recorded until now is in finished ones.
    Rotate,
    /// To say how it is on standard error.
    Status,
    /// To say it to somebody who has asked.
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

/// Signals that wait to be read.
pub struct Caught(Signals);

/// Keeps signals from ending the process. What they mean waits until it is listened to.
pub fn catch() -> Result<Caught> {
    // A part that reaches the limit of file sizes (`ulimit -f`) is a write that fails, not the end. Handled and not ignored: the
    // command inherits what is ignored.
    Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXFSZ]).map(Caught).context("cannot listen for signals")
}

impl Caught {
    /// What the signals tell, as they come, and what is sent to the first.
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
