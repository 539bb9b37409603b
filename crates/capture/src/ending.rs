//! How a program ends that a signal, or a lack of memory, ends in the middle of what it does: without what it made so far.

use std::io;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::dir::undo::undo_all;

/// Held for ever by whoever ends the program.
static ENDING: Mutex<()> = Mutex::new(());

/// From now on signals that end the program do so when what it made and has not kept ([`crate::dir::Undo`]) is gone. One that the program was
/// begun with ignored, as with `nohup`, stays ignored. A file that reaches the limit of sizes (`ulimit -f`) is a write that fails, and not the end.
///
/// # Errors
/// Where signals cannot be listened for.
pub fn on_signals() -> io::Result<()> {
    let ignored = ignored();
    let ending = [SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals = Signals::new(ending.chain([SIGXFSZ]))?;
    let wait = move || {
        if let Some(signal) = signals.forever().find(|signal| *signal != SIGXFSZ) {
            begin();
            let _ = emulate_default_handler(signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}

/// Takes away what the program made and has not kept. Whoever calls this ends the program: all others stop where they would make something, or
/// say how it ended ([`wait`]).
pub fn begin() {
    mem::forget(ENDING.lock().unwrap_or_else(PoisonError::into_inner));
    undo_all();
}

/// Waits for the end of the program, if it is ended: to be called before it says how it ended, since what fails by then may fail for that
/// reason alone.
pub fn wait() {
    drop(ENDING.lock().unwrap_or_else(PoisonError::into_inner));
}

/// The signals that are ignored, a bit each (`SigIgn` of proc_pid_status(5)); none, where that is not told.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
