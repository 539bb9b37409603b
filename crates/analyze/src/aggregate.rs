//! Aggregates: the results that a scan keeps of its rows.
//!
//! Rows are folded into aggregates part by part, and aggregates are combined in any order in which threads (or machines) finish.
//! `combine` of each aggregate is therefore associative and commutative: the final result depends only on the multiset of rows. Property tests check
//! this for every aggregate.

pub mod activity;
pub mod arrivals;
pub mod count;
pub mod crossing;
pub mod flow;
pub mod footprint;
pub mod heatmap;
pub mod latency;
pub mod packed;
pub mod pattern;
pub mod queue;
pub mod reuse;
pub mod sample;
pub mod sequence;
pub mod sizes;
pub mod spans;
pub mod sparse;
pub mod timeline;

use iostrata_capture::op::Layer;
use serde::{Deserialize, Serialize};
use timeline::Windows;

/// Number of lost events by layer. Each of them may have belonged to any row of that layer.
pub type LostByLayer = [u64; Layer::ALL.len()];

/// Settings of aggregates that users can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Precision of percentiles.
    pub precision: Precision,
    /// Windows of the timeline, if requested.
    pub windows: Option<Windows>,
    /// Whether rows are attributed to cgroups, files and disks.
    pub entities: bool,
    /// Whether sizes are counted.
    pub sizes: bool,
    /// Whether the activity of each process, cgroup, file and disk is counted.
    pub activity: bool,
    /// Whether operations are counted by time, duration and offset.
    pub heatmap: bool,
    /// Whether touched blocks are counted.
    pub footprint: bool,
    /// Maximum number of individual operations to keep, if requested.
    pub spans: Option<usize>,
    /// Requested results that depend on the order of operations.
    pub ordered: Ordered,
    /// Whether operations, bytes and durations are counted. If not, an earlier scan counted them, and rows are read again for results
    /// that depend on their order.
    pub counts: bool,
    /// Approximate number of rows per time range. Results do not depend on it; memory use does.
    pub stretch_rows: u64,
}

/// Results that depend on the order of operations in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// Access pattern.
    pub pattern: bool,
    /// Interarrival times.
    pub arrivals: bool,
    /// Queue depth.
    pub queue: bool,
    /// Reuse distances: by layer, how often the number of sampled blocks is halved.
    pub reuse: Option<[u32; Layer::ALL.len()]>,
    /// Latency breakdown of calls by layer.
    pub crossing: bool,
}

impl Ordered {
    /// Whether any result is requested.
    pub fn any(self) -> bool {
        self != Ordered::default()
    }

    /// Whether any result of a single layer is requested.
    pub fn of_layers(self) -> bool {
        Ordered { crossing: false, ..self }.any()
    }
}

impl Settings {
    /// Settings for operations, bytes and durations only.
    pub const fn new(precision: Precision) -> Settings {
        let ordered = Ordered { pattern: false, arrivals: false, queue: false, reuse: None, crossing: false };
        Settings {
            precision,
            windows: None,
            entities: true,
            sizes: false,
            activity: false,
            heatmap: false,
            footprint: false,
            spans: None,
            ordered,
            counts: true,
            // Twice as many take the same time and an eighth more memory.
            stretch_rows: 1 << 15,
        }
    }

    /// Whether rows are counted or processed in time order. If not, they are only used for the latency breakdown of calls.
    pub fn folds(&self) -> bool {
        self.counts || self.ordered.of_layers()
    }

    /// Whether offsets in files and on disks are needed.
    pub fn positions(&self) -> bool {
        self.heatmap || self.footprint || self.spans.is_some() || self.ordered.of_layers()
    }
}

/// Representation of the values of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// All values, however many: memory grows with the capture.
    Exact,
    /// All values up to a maximum number, then a histogram with three significant digits.
    Histogram {
        /// Maximum number of values that are kept exactly.
        above: usize,
    },
}

impl Precision {
    /// Default, unless the user requests exact values. A histogram of durations up to one second takes about 180 KiB, this number of values
    /// 8 KiB: most pairs of system and operation never need more.
    pub const DEFAULT: Precision = Precision::Histogram { above: 512 };

    /// Returns the number of values that are kept before they become a histogram.
    pub(crate) fn limit(self) -> usize {
        match self {
            Precision::Exact => usize::MAX,
            Precision::Histogram { above } => above,
        }
    }
}
