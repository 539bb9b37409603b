//! How much of the CPU the writer claims from the work that is being recorded.

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// Gives way to what is recorded: where both want the same CPU it gets a tenth of it, which is still enough for some
/// 500,000 rows a second.
const POLITE: i32 = 10;

/// As anyone else.
const EQUAL: i32 = 0;

/// Makes the calling thread give way for good: to be printed is worth less than what is recorded.
pub fn give_way() {
    set_niceness(POLITE);
}

fn set_niceness(niceness: i32) {
    // Refused only without CAP_SYS_NICE; then the thread stays as polite as it is.
    let _ = setpriority_process(Some(gettid()), niceness);
}

/// The calling thread's niceness: polite while there is time, because encoding comes in bursts of milliseconds that would
/// stall a loaded device's own kernel threads; equal while batches pile up, because a lost batch is worse than a delay.
pub struct Courtesy {
    niceness: Option<i32>,
    limit: u64,
}

impl Courtesy {
    /// For a queue that holds `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        Courtesy { niceness: None, limit: capacity / 2 }
    }

    /// To be called on the same thread, before each batch; `waiting` bytes are in the queue.
    pub fn adapt(&mut self, waiting: u64) {
        let wanted = if waiting >= self.limit { EQUAL } else { POLITE };
        if self.niceness != Some(wanted) {
            set_niceness(wanted);
            self.niceness = Some(wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_way_until_half_the_queue_is_full() {
        let mut courtesy = Courtesy::new(4);
        for (waiting, wanted) in [(0, POLITE), (1, POLITE), (2, EQUAL), (4, EQUAL), (1, POLITE)] {
            courtesy.adapt(waiting);
            assert_eq!(courtesy.niceness, Some(wanted), "{waiting}");
        }
    }
}
