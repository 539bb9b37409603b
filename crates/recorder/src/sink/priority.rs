//! Scheduling priority of the writer relative to the recorded workload.

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// Niceness that yields to the workload: on a contended CPU the thread gets a tenth, which is still enough for some
/// 500,000 rows per second.
const POLITE: i32 = 10;

/// Default niceness.
const EQUAL: i32 = 0;

/// Lowers the priority of the calling thread for good: printing matters less than the workload.
pub fn give_way() {
    set_niceness(POLITE);
}

fn set_niceness(niceness: i32) {
    // Refused only without CAP_SYS_NICE; the niceness then stays as it is.
    let _ = setpriority_process(Some(gettid()), niceness);
}

/// Niceness of the calling thread. It yields by default, because encoding comes in bursts of milliseconds that would
/// stall the kernel threads of a loaded device. It does not yield while batches pile up, because a lost batch is worse
/// than a delay.
pub struct Priority {
    niceness: Option<i32>,
    limit: u64,
}

impl Priority {
    /// Creates the state for a queue of `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        Priority { niceness: None, limit: capacity / 2 }
    }

    /// Adapts the niceness. Must be called on the same thread, before each batch; `waiting` bytes are in the queue.
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
        let mut courtesy = Priority::new(4);
        for (waiting, wanted) in [(0, POLITE), (1, POLITE), (2, EQUAL), (4, EQUAL), (1, POLITE)] {
            courtesy.adapt(waiting);
            assert_eq!(courtesy.niceness, Some(wanted), "{waiting}");
        }
    }
}
