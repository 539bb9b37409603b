//! What a recording is told from outside.

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

/// What a recording is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// To end, and why.
    Stop(&'static str),
    /// To close the open parts, so that what was recorded until now is in finished ones.
    Rotate,
    /// To say how it is.
    Status,
}

fn meaning(signal: i32) -> Told {
    match signal {
        SIGHUP => Told::Rotate,
        SIGUSR1 => Told::Status,
        SIGINT => Told::Stop("SIGINT"),
        _ => Told::Stop("SIGTERM"),
    }
}

/// What the signals tell, as they come, and what is sent to the first.
pub fn listen() -> Result<(Sender<Told>, Receiver<Told>)> {
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1]).context("cannot listen for signals")?;
    let (send, receive) = crossbeam_channel::unbounded();
    let teller = send.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if teller.send(meaning(signal)).is_err() {
                    break;
                }
            }
        })
        .context("cannot start the signal thread")?;
    Ok((send, receive))
}
