//! Monotonic clock, used for the BPF programs' timestamps, and wall clock.

use std::fs;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use iostrata_capture::manifest::{Clock, ClockPair};
use rustix::time::{ClockId, Timespec, clock_gettime};

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// Offset of this process's monotonic clock from that of the initial time namespace, which the BPF programs use.
static AHEAD_NS: AtomicI64 = AtomicI64::new(0);

/// Sets the offset of this process's monotonic clock. Must be called before any time is taken.
pub fn set_ahead_ns(ahead_ns: i64) {
    AHEAD_NS.store(ahead_ns, Relaxed);
}

/// Returns when the next of the readings at an `interval` is due, after the one at `due`. After a pause of the machine the missed readings are one.
pub fn next_due(due: Instant, interval: Duration) -> Instant {
    let (next, now) = (due + interval, Instant::now());
    if next > now { next } else { now + interval }
}

/// Returns `CLOCK_MONOTONIC` of the initial time namespace.
pub fn monotonic_ns() -> i64 {
    local_monotonic_ns() - AHEAD_NS.load(Relaxed)
}

/// Returns `CLOCK_MONOTONIC` of this process.
pub fn local_monotonic_ns() -> i64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Returns the offset of a clock of this process's time namespace from the initial one, as reported by the kernel; none if
/// the kernel does not report it.
pub fn namespace_offset_ns(clock: &str) -> Option<i64> {
    // The file describes the namespace of future children.
    if fs::read_link("/proc/self/ns/time").ok()? != fs::read_link("/proc/self/ns/time_for_children").ok()? {
        return None;
    }
    offset_in(&fs::read_to_string("/proc/self/timens_offsets").ok()?, clock)
}

/// Offset of `clock` in a text in the format of /proc/PID/timens_offsets: name, seconds, nanoseconds.
fn offset_in(text: &str, clock: &str) -> Option<i64> {
    let of_clock = |line: &str| {
        let mut words = line.split_whitespace();
        let is_asked = words.next()? == clock;
        let (seconds, nanoseconds): (i64, i64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        is_asked.then(|| seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
    };
    text.lines().find_map(of_clock)
}

/// Reads the monotonic clock and another clock at the same time: the fastest of several readings.
fn beside(other: ClockId) -> (i64, i64) {
    let read = || {
        let before = monotonic_ns();
        let other_ns = nanoseconds(clock_gettime(other));
        let after = monotonic_ns();
        (after - before, (before + (after - before) / 2, other_ns))
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

/// Reads both clocks at the same time.
pub fn pair() -> ClockPair {
    let (monotonic_ns, wall_ns) = beside(ClockId::Realtime);
    ClockPair { monotonic_ns, wall_ns }
}

/// CPU time of all threads of this process.
pub fn process_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime)).cast_unsigned()
}

/// Time since boot, suspend included, at the time of `pair`. The pair must be recent, with no suspend since.
pub fn boot_ns_at(pair: &ClockPair) -> i64 {
    let ahead_ns = namespace_offset_ns("boottime").unwrap_or(0);
    let (monotonic_ns, boot_ns) = beside(ClockId::Boottime);
    boot_ns - ahead_ns - (monotonic_ns - pair.monotonic_ns)
}

/// Clock of a capture that starts now.
pub fn start() -> Clock {
    let pair = pair();
    Clock { offset_ns: pair.wall_ns - pair.monotonic_ns, pairs: vec![pair] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_that_a_pause_missed_are_one() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        assert_eq!(next_due(now, second), now + second);
        let late = next_due(now.checked_sub(5 * second).expect("five seconds"), second);
        assert!(late >= now + second, "{late:?}");
    }

    #[test]
    fn offsets_of_a_time_namespace_are_read_by_clock() {
        let text = "monotonic           -3         5\nboottime        100000         0\n";
        assert_eq!(offset_in(text, "monotonic"), Some(-2_999_999_995));
        assert_eq!(offset_in(text, "boottime"), Some(100_000_000_000_000));
        assert_eq!(offset_in("", "monotonic"), None);
    }
}
