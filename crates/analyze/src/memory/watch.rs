//! Ends the program where it takes much more memory than it may: whoever reads or merges a lot asks for itself ([`Budget::check`]), but a table of all
//! there is may be made in one go.

use std::process::exit;
use std::thread;
use std::time::Duration;

use bytesize::ByteSize;
use iostrata_capture::ending;
use iostrata_capture::message::tell;

use super::Budget;
use crate::output::one_line;

/// By so much more than the budget is left to those that ask for themselves.
const SLACK: ByteSize = ByteSize(32 << 20);

/// As often it is looked at. In that time a program writes to some tens of MiB of new memory.
const PERIOD: Duration = Duration::from_millis(5);

/// The exit code of a command that failed.
const FAILURE: i32 = 1;

/// From now on the program ends with the message of [`Budget::check`], and without what is not finished, soon after it takes more than `budget`.
pub fn begin(budget: Budget) {
    if budget == Budget::ANY {
        return;
    }
    let watch = move || {
        loop {
            thread::sleep(PERIOD);
            if let Some(why) = budget.refusal_beyond(SLACK) {
                ending::begin();
                // Where even standard error is gone, the exit code is all that is left to say it with. Whoever holds memory cannot be waited for.
                tell(&format!("iostrata-analyze: {}\n", one_line(&why)));
                exit(FAILURE);
            }
        }
    };
    // Without it, too, most is refused in time.
    drop(thread::Builder::new().name("memory".to_owned()).spawn(watch));
}
