//! Aggregates: what a scan keeps of the rows it has seen.
//!
//! Rows are folded into aggregates part by part, and aggregates are combined in whatever order threads (or machines)
//! finish. Each has `combine`, which is therefore associative and commutative: what comes of it in the end depends on the
//! multiset of rows only. Property tests hold every aggregate to that.

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

/// By layer: events that were lost. Any of them may have been of any row of that layer.
pub type LostByLayer = [u64; Layer::ALL.len()];

/// What the user may choose about aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How percentiles are kept.
    pub precision: Precision,
    /// The windows of a timeline, where there is to be one.
    pub windows: Option<Windows>,
    /// Whether it matters which cgroup, file and disk something is of.
    pub entities: bool,
    /// Whether sizes are counted.
    pub sizes: bool,
    /// Whether it is counted what each process, cgroup, file and disk did.
    pub activity: bool,
    /// Whether it is counted where operations are in time, duration and place.
    pub heatmap: bool,
    /// Whether it is counted which blocks are touched.
    pub footprint: bool,
    /// How many operations are kept one by one, where they are.
    pub spans: Option<usize>,
    /// What is asked for that depends on the order of operations.
    pub ordered: Ordered,
    /// Whether operations, bytes and durations are counted, or were, and rows are read again for what depends on their order.
    pub counts: bool,
    /// About how many rows are looked at together where it depends on their order. The result does not depend on it, memory does.
    pub stretch_rows: u64,
}

/// What depends on the order of operations in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// Where they are, one after the other.
    pub pattern: bool,
    /// When they begin, one after the other.
    pub arrivals: bool,
    /// How many are under way.
    pub queue: bool,
    /// How far back blocks were touched before: by layer, how often the number of blocks that are looked at is halved.
    pub reuse: Option<[u32; Layer::ALL.len()]>,
    /// What calls wait for.
    pub crossing: bool,
}

impl Ordered {
    /// Whether anything is asked for.
    pub fn any(self) -> bool {
        self != Ordered::default()
    }

    /// Whether anything is asked for of each layer by itself.
    pub fn of_layers(self) -> bool {
        Ordered { crossing: false, ..self }.any()
    }
}

impl Settings {
    /// Nothing beside operations, bytes and durations.
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
            // With twice as many it takes as long, and an eighth more memory.
            stretch_rows: 1 << 15,
        }
    }

    /// Whether rows are counted, or looked at one after the other; if not, only what calls wait for is.
    pub fn folds(&self) -> bool {
        self.counts || self.ordered.of_layers()
    }

    /// Whether it is looked at where in files and on disks operations are.
    pub fn positions(&self) -> bool {
        self.heatmap || self.footprint || self.spans.is_some() || self.ordered.of_layers()
    }
}

/// How the values of a distribution are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
