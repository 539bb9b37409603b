//! Aggregates: the results that a scan keeps of its rows.
//!
//! Rows are folded into aggregates part by part, and aggregates are combined in any order in which threads (or machines) finish.
//! `combine` of each aggregate is therefore associative and commutative: the final result depends only on the multiset of rows. Property tests check
//! this for every aggregate. An analysis brings aggregates [of any order](any_order) or [of time order](in_order); here is what several of them need.

pub mod activity;
pub mod any_order;
pub mod count;
pub mod crossing;
pub mod flow;
pub mod in_order;
pub mod latency;
pub mod packed;
pub mod requests;
pub mod results;
pub mod sample;
pub mod sequence;
pub mod sparse;
pub mod states;
pub mod windowed;

use any_order::InAnyOrder;
use in_order::InTimeOrder;
use iostrata_capture::op::Layer;
use serde::{Deserialize, Serialize};

/// Number of lost events by layer. Each of them may have belonged to any row of that layer.
pub type LostByLayer = [u64; Layer::ALL.len()];

/// Settings of a scan: what is aggregated of the rows, and how.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// Precision of percentiles.
    pub precision: Precision,
    /// Whether rows are attributed to cgroups, files and disks.
    pub entities: bool,
    /// Whether the activity of each process, cgroup, file and disk is counted.
    pub activity: bool,
    /// Requested aggregates of rows in any order.
    pub any_order: InAnyOrder,
    /// Requested aggregates of operations in time order.
    pub in_order: InTimeOrder,
    /// Whether requests are matched to calls, for the latency breakdown of calls by layer.
    pub crossing: bool,
    /// Whether operations, bytes and durations are counted. If not, an earlier scan counted them, and rows are read again for results
    /// that depend on their order.
    pub counts: bool,
    /// Approximate number of rows per time range. Results do not depend on it; memory use does.
    pub stretch_rows: u64,
}

impl Settings {
    /// Settings for operations, bytes and durations only.
    pub fn new(precision: Precision) -> Settings {
        Settings {
            precision,
            entities: true,
            activity: false,
            any_order: InAnyOrder::default(),
            in_order: InTimeOrder::default(),
            crossing: false,
            counts: true,
            // Twice as many take the same time and an eighth more memory.
            stretch_rows: 1 << 15,
        }
    }

    /// Settings for another scan of the same rows, which were counted before: nothing is aggregated yet.
    pub fn again(&self) -> Settings {
        Settings { counts: false, stretch_rows: self.stretch_rows, ..Settings::new(self.precision) }
    }

    /// Whether any requested result depends on the order of operations.
    pub fn has_order(&self) -> bool {
        self.crossing || !self.in_order.is_empty()
    }

    /// Whether rows are counted or processed in time order. If not, they are only used for the latency breakdown of calls.
    pub fn folds(&self) -> bool {
        self.counts || !self.in_order.is_empty()
    }

    /// Whether offsets in files and on disks are needed.
    pub fn positions(&self) -> bool {
        !self.in_order.is_empty() || self.any_order.need(|needs| needs.positions)
    }

    /// Whether the number of bios of requests is needed.
    pub fn bios(&self) -> bool {
        self.any_order.need(|needs| needs.bios)
    }

    /// Iterates over the memory of the requested aggregates in bytes: once, and for each thread.
    pub fn memory_bytes(&self) -> impl Iterator<Item = (u64, u64)> {
        let (any, ordered) = (self.any_order.iter(), self.in_order.iter());
        any.map(|of| of.needs.memory_bytes).chain(ordered.map(|of| of.needs.memory_bytes))
    }

    /// Whether all requested results can be stored.
    pub fn are_stored(&self) -> bool {
        !self.any_order.need(|needs| !needs.is_stored) && !self.in_order.need(|needs| !needs.is_stored)
    }

    /// Whether operations are needed in the time range in which they ended, too.
    pub fn ends(&self) -> bool {
        self.in_order.need(|needs| needs.ends)
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
