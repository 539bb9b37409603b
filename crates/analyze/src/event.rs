//! One row of any layer, reduced to what the aggregates need.

use iostrata_capture::op::{Direction, Layer, Op};

/// Declares the phases of an operation once: name on disk and meaning.
macro_rules! phases {
    ($($(#[doc = $doc:literal])+ $phase:ident = $name:literal,)+) => {
        /// A stretch of time within an operation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Phase { $($(#[doc = $doc])+ $phase,)+ }

        impl Phase {
            /// Every phase, in order of declaration.
            pub const ALL: &'static [Phase] = &[$(Phase::$phase,)+];

            /// The phase's name in `latency.csv`.
            pub const fn name(self) -> &'static str {
                match self { $(Phase::$phase => $name,)+ }
            }

            /// The phase's meaning.
            pub const fn doc(self) -> &'static str {
                match self { $(Phase::$phase => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

phases! {
    /// The whole operation: entry to return of a call, queueing to completion of a block request (Q2C).
    Total = "total",
    /// Of a block request: queueing to the first of insertion into the scheduler and issue.
    Queue = "queue",
    /// Of a block request: insertion into the scheduler to issue (I2D); not counted where it went past the scheduler.
    Insert = "insert",
    /// Of a block request: issue to completion (D2C), in the driver and the device.
    Device = "device",
}

impl Phase {
    /// The phases that operations of `layer` have.
    pub const fn of(layer: Layer) -> &'static [Phase] {
        match layer {
            Layer::Block => Phase::ALL,
            Layer::Syscall | Layer::Vfs | Layer::Fs => &[Phase::Total],
        }
    }
}

/// How long each phase took, in nanoseconds; a phase that is not known is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durations([Option<u64>; Phase::ALL.len()]);

impl Durations {
    /// The duration of `phase`.
    pub fn get(&self, phase: Phase) -> Option<u64> {
        self.0[phase as usize]
    }

    /// Whether `phase` took its time and nobody knows how much. A request without [`Phase::Insert`] went past the scheduler, if
    /// the rest of it is known.
    pub fn is_unknown(&self, phase: Phase) -> bool {
        self.get(phase).is_none() && (phase != Phase::Insert || self.get(Phase::Total).is_none())
    }

    /// Sets the duration of `phase`. What is negative cannot be true: it stays unknown and is counted in `anomalies`.
    pub fn set(&mut self, phase: Phase, ns: Option<i64>, anomalies: &mut Anomalies) {
        let Some(ns) = ns else { return };
        match u64::try_from(ns) {
            Ok(ns) => self.0[phase as usize] = Some(ns),
            Err(_) => anomalies.negative_durations = anomalies.negative_durations.saturating_add(1),
        }
    }
}

/// Values that cannot be true and were therefore not used. The rows that hold them still count as operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Anomalies {
    /// Durations, or differences of durations, below zero.
    pub negative_durations: u64,
    /// Byte counts below zero.
    pub negative_bytes: u64,
    /// Rows that stand for no event, or for more than any can.
    pub bad_weights: u64,
}

impl Anomalies {
    /// Adds the counts of `other`.
    pub fn combine(&mut self, other: Anomalies) {
        self.negative_durations = self.negative_durations.saturating_add(other.negative_durations);
        self.negative_bytes = self.negative_bytes.saturating_add(other.negative_bytes);
        self.bad_weights = self.bad_weights.saturating_add(other.bad_weights);
    }
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// The layer whose table holds the row.
    pub layer: Layer,
    /// What it did.
    pub op: Op,
    /// Which way it counts in reads and writes; `None` where it counts in neither.
    pub direction: Option<Direction>,
    /// Bytes moved; of calls that failed, 0.
    pub bytes: u64,
    /// How long it took.
    pub durations: Durations,
    /// For how many events of its kind it stands.
    pub weight: u64,
}

impl Event {
    /// Bytes of all events that it stands for.
    pub fn all_bytes(&self) -> u64 {
        self.bytes.saturating_mul(self.weight)
    }
}
