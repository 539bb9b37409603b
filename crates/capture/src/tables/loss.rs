//! Lost events.

use crate::column::Comm;
use crate::table::table;

table! {
    /// Events that were seen and lost in one interval, of at most one second unless the recording was paused. No row means
    /// no loss. `books` in the manifest has the sums.
    LossTable of Loss, row LossRow, builder LossBuilder, view LossView {
        /// End of the interval, in ns.
        ts_ns: i64 => Delta,
        /// Start of the interval, in ns: the previous reading of the counters.
        since_ns: i64 => Delta,
        /// Table that the events belong to.
        class: Comm => Dictionary,
        /// CPU on which the events completed.
        cpu: i32 => Delta,
        /// Cause of the loss, as in `books`: `ring_full`, `inflight_full`, `missed_return`, `channel_full`, `write_failed`,
        /// `disk_full`, `undecodable`, `unseen_end`.
        cause: Comm => Dictionary,
        /// Number of events lost.
        events: i64 => Delta,
    }
}
