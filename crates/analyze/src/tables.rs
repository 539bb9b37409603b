//! The tables that can be written, and which command writes which.

use iostrata_capture::Capture;
use polars::prelude::{DataFrame, PolarsResult};

use crate::load::Known;
use crate::loss::report as lost;
use crate::names::Names;
use crate::options::Analysis;
use crate::partial::Finished;
use crate::trust::Trust;
use crate::{amplification, frame, latency, sizes, summary, timeline};

/// What tables are made from.
pub struct Results<'a> {
    /// The captures.
    pub captures: &'a [Capture],
    /// What is known of them beside their events.
    pub known: &'a Known<'a>,
    /// What their entities are called.
    pub names: &'a Names<'a>,
    /// What their events come to.
    pub finished: Finished,
    /// What that is worth.
    pub trust: Trust,
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// [`summary`].
    Summary,
    /// [`amplification`].
    Amplification,
    /// [`latency`].
    Latency,
    /// [`timeline`].
    Timeline,
    /// [`sizes`].
    Sizes,
    /// [`lost`].
    Loss,
}

impl Table {
    /// The tables that `analysis` writes.
    pub const fn of(analysis: Analysis) -> &'static [Table] {
        match analysis {
            Analysis::Summary => &[Table::Summary, Table::Amplification, Table::Latency, Table::Loss],
            Analysis::Amplification => &[Table::Amplification, Table::Loss],
            Analysis::Latency => &[Table::Latency, Table::Loss],
            Analysis::Timeline => &[Table::Timeline, Table::Loss],
            Analysis::Sizes => &[Table::Sizes, Table::Loss],
        }
    }

    /// The name of its file.
    pub const fn file(self) -> &'static str {
        match self {
            Table::Summary => "summary.csv",
            Table::Amplification => "amplification.csv",
            Table::Latency => "latency.csv",
            Table::Timeline => "timeline.csv",
            Table::Sizes => "sizes.csv",
            Table::Loss => "loss.csv",
        }
    }

    /// The table of `results`.
    pub fn frame(self, results: &Results) -> PolarsResult<DataFrame> {
        let Results { captures, known, names, finished, trust } = results;
        match self {
            Table::Summary => frame::frame(&summary::columns(trust.lost_io), &summary::rows(finished, trust)),
            Table::Amplification => {
                let rows = amplification::rows(finished, names, &known.disks, trust);
                frame::frame(&amplification::columns(), &rows)
            }
            Table::Latency => frame::frame(&latency::columns(), &latency::rows(finished, trust)),
            Table::Timeline => frame::frame(&timeline::columns(), &timeline::rows(finished, &known.losses, trust)),
            Table::Sizes => frame::frame(&sizes::columns(), &sizes::rows(finished, trust)),
            Table::Loss => frame::frame(&lost::columns(), &lost::rows(captures, &known.losses, finished, trust)),
        }
    }
}
