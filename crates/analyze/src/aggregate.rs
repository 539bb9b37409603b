//! Aggregates: what a scan keeps of the rows it has seen.
//!
//! Rows are folded into aggregates part by part, and aggregates are combined in whatever order threads (or machines)
//! finish. Each has `combine`, which is therefore associative and commutative: what comes of it in the end depends on the
//! multiset of rows only. Property tests hold every aggregate to that.

pub mod activity;
pub mod count;
pub mod flow;
pub mod latency;
pub mod sample;
pub mod sizes;
pub mod sparse;
pub mod timeline;

use iostrata_capture::op::Layer;

/// By layer: events that were lost. Any of them may have been of any row of that layer.
pub type LostByLayer = [u64; Layer::ALL.len()];

/// What the user may choose about aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How percentiles are kept.
    pub precision: Precision,
    /// How long the windows of a timeline are, where there is to be one.
    pub window_ns: Option<i64>,
    /// Whether sizes are counted.
    pub sizes: bool,
    /// Whether it is counted what each process, cgroup, file and disk did.
    pub activity: bool,
}

impl Settings {
    /// Nothing beside operations, bytes and durations.
    pub const fn new(precision: Precision) -> Settings {
        Settings { precision, window_ns: None, sizes: false, activity: false }
    }
}

/// How the values of a distribution are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// All values, however many: memory grows with the capture.
    Exact,
    /// All values up to so many, then a histogram with three significant digits.
    Histogram {
        /// The greatest number of values that are kept as they are.
        above: usize,
    },
}

impl Precision {
    /// What is used unless the user asks for exact values. A histogram of durations up to a second takes about 180 KiB,
    /// this many values 8 KiB: most pairs of system and operation never need more.
    pub const DEFAULT: Precision = Precision::Histogram { above: 512 };

    /// How many values are kept before they become a histogram.
    pub(crate) fn limit(self) -> usize {
        match self {
            Precision::Exact => usize::MAX,
            Precision::Histogram { above } => above,
        }
    }
}
