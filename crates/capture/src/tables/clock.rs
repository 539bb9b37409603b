//! Clock readings.

use crate::table::table;

table! {
    /// Monotonic clock, wall clock and boot clock, read at the same time. One row every ten seconds, and one within a tenth
    /// of a second of a step of the wall clock. `wall_ns - ts_ns` is the change of the wall clock, by steps and drift,
    /// since the start of the recording; it applies until the next row.
    ClockTable of Clock, row ClockRow, builder ClockBuilder, view ClockView {
        /// Time of the reading in ns of capture time: never set back, and at the same rate as the kernel's timestamps.
        ts_ns: i64 => Delta,
        /// Wall clock (`CLOCK_REALTIME`) in ns since the Unix epoch.
        wall_ns: i64 => Delta,
        /// Time since boot (`CLOCK_BOOTTIME`) in ns. Where it advances faster than `ts_ns`, the machine was suspended.
        boot_ns: i64 => Delta,
    }
}
