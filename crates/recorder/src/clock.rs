//! The two clocks: monotonic, which the kernel side stamps with, and wall.

use iostrata_capture::manifest::{Clock, ClockPair};
use rustix::time::{ClockId, Timespec, clock_gettime};

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// `CLOCK_MONOTONIC` now.
pub fn monotonic_ns() -> i64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Both clocks at one moment: of several readings, the one that took least time.
pub fn pair() -> ClockPair {
    let read = || {
        let before = monotonic_ns();
        let wall_ns = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = monotonic_ns();
        (after - before, ClockPair { monotonic_ns: before + (after - before) / 2, wall_ns })
    };
    let mut best = read();
    for _ in 0..8 {
        let next = read();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

/// CPU time that all threads of this process have taken.
pub fn process_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime)).cast_unsigned()
}

/// Time since boot, sleep included, when `pair` was read: a moment ago, since when the machine has not slept.
pub fn boot_ns_at(pair: &ClockPair) -> i64 {
    let monotonic_ns = monotonic_ns();
    nanoseconds(clock_gettime(ClockId::Boottime)) - (monotonic_ns - pair.monotonic_ns)
}

/// The clock of a capture that starts now.
pub fn start() -> Clock {
    let pair = pair();
    Clock { offset_ns: pair.wall_ns - pair.monotonic_ns, pairs: vec![pair] }
}
