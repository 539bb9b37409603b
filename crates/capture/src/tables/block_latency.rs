//! Latency histograms of block requests.

use crate::op::Op;
use crate::table::table;

table! {
    /// One bucket of the latency histogram of a disk's requests in one interval, from issue to completion (D2C). A bucket
    /// without requests has no row. A request counts in the interval in which it completes. The histogram is counted in the
    /// kernel, so it costs no row for each request.
    BlockLatencyTable of BlockLatency, row BlockLatencyRow, builder BlockLatencyBuilder, view BlockLatencyView {
        /// End of the interval, in ns.
        ts_ns: i64 => Delta,
        /// Start of the interval, in ns.
        since_ns: i64 => Delta,
        /// Device number of the whole disk.
        dev: i32 => Delta,
        /// Operation, as in `block`.
        op: Op => Dictionary,
        /// Minimum latency of the bucket in whole µs (rounded down), inclusive.
        low_us: i64 => Delta,
        /// Maximum latency of the bucket in whole µs (rounded down), inclusive.
        high_us: i64 => Delta,
        /// Number of requests.
        requests: i64 => Delta,
        /// Bytes of the requests.
        bytes: i64 => Split,
        /// Sum of the latencies of the requests, in ns.
        dur_ns: i64 => Split,
    }
}
