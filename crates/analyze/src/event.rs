//! What the analyses know of an event: the phases of an operation.

use iostrata_capture::op::Layer;
use serde::{Deserialize, Serialize};

/// Declares the phases of an operation once: name on disk and meaning.
macro_rules! phases {
    ($($(#[doc = $doc:literal])+ $phase:ident = $name:literal,)+) => {
        /// A stretch of time within an operation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// How many phases an operation has at most.
pub const PHASES: usize = Phase::ALL.len();

/// How long each phase took, in nanoseconds, or [`UNKNOWN`].
pub type Durations = [u64; PHASES];

/// In place of a duration that nobody knows; no clock of 63 bits tells one that long.
pub const UNKNOWN: u64 = u64::MAX;
