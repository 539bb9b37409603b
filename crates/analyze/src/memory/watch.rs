//! Ends the program if it far exceeds its memory limit. Code that reads or merges a lot checks the limit itself ([`Budget::check`]), but a table
//! may be built in one step.

use std::process::exit;
use std::thread;
use std::time::Duration;

use bytesize::ByteSize;
use iostrata_capture::ending;
use iostrata_capture::message::tell;

use super::Budget;
use crate::output::one_line;

/// Excess over the limit that is left to the checks in the code.
const SLACK: ByteSize = ByteSize(32 << 20);

/// Interval between checks. In that time a program writes to some tens of MiB of new memory.
const PERIOD: Duration = Duration::from_millis(5);

/// Exit code of a command that failed.
const FAILURE: i32 = 1;

/// Starts a thread that ends the program soon after it exceeds `budget`, with the message of [`Budget::check`] and without unfinished output.
pub fn begin(budget: Budget) {
    if budget == Budget::ANY {
        return;
    }
    let watch = move || {
        loop {
            thread::sleep(PERIOD);
            if let Some(why) = budget.refusal_beyond(SLACK) {
                ending::begin();
                // Without standard error, only the exit code reports the failure. Threads that hold memory cannot be waited for.
                tell(&format!("iostrata-analyze: {}\n", one_line(&why)));
                exit(FAILURE);
            }
        }
    };
    // Without this thread, the checks in the code still refuse most excess in time.
    drop(thread::Builder::new().name("memory".to_owned()).spawn(watch));
}
