//! Phases of an operation.

use iostrata_capture::op::Layer;
use serde::{Deserialize, Serialize};

/// Declares the phases of an operation once: name on disk and meaning.
macro_rules! phases {
    ($($(#[doc = $doc:literal])+ $phase:ident = $name:literal,)+) => {
        /// Phase of an operation.
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
    /// The whole operation: from entry to return of a call, from queueing to completion of a block request (Q2C).
    Total = "total",
    /// Block request: from queueing to insertion into the scheduler or issue, whichever is first.
    Queue = "queue",
    /// Block request: from insertion into the scheduler to issue (I2D); not counted if it bypassed the scheduler.
    Insert = "insert",
    /// Block request: from issue to completion (D2C), in the driver and the device.
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

/// Maximum number of phases of an operation.
pub const PHASES: usize = Phase::ALL.len();

/// Duration of each phase in nanoseconds, or [`UNKNOWN`].
pub type Durations = [u64; PHASES];

/// Unknown duration; no 63-bit clock measures one this long.
pub const UNKNOWN: u64 = u64::MAX;
