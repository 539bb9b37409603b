//! Termination of a program by a signal, or for lack of memory: unfinished output is removed.

use std::io;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::dir::undo::undo_all;

/// Locked for good by the thread that ends the program.
static ENDING: Mutex<()> = Mutex::new(());

/// Installs handlers of terminating signals: the program ends after its unfinished output ([`crate::dir::Undo`]) is removed. A
/// signal that was ignored at the start of the program, as with `nohup`, stays ignored. A file that reaches the size limit
/// (`ulimit -f`) is a failed write and does not end the program.
///
/// # Errors
/// Returns an error if the handlers cannot be installed.
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

/// Removes unfinished output. The caller ends the program: all other threads block before they create something or report their
/// outcome ([`wait`]).
pub fn begin() {
    mem::forget(ENDING.lock().unwrap_or_else(PoisonError::into_inner));
    undo_all();
}

/// Blocks while the program is being ended. Must be called before the program reports its outcome, because a failure may then
/// be caused by the termination alone.
pub fn wait() {
    drop(ENDING.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Returns the ignored signals, one bit each (`SigIgn` of proc_pid_status(5)); 0 if unknown.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
