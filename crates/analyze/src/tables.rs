//! The tables that can be written, and which command writes which.

use iostrata_capture::Capture;
use polars::prelude::{DataFrame, PolarsResult};

use crate::load::Known;
use crate::loss::report as lost;
use crate::names::Names;
use crate::options::Analysis;
use crate::partial::Finished;
use crate::top::By;
use crate::trust::Trust;
use crate::{amplification, frame, latency, quality, sizes, summary, timeline, top};

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
    /// [`quality`].
    Quality,
    /// [`top`].
    Top(By, usize),
    /// [`lost`].
    Loss,
}

impl Table {
    /// The tables that `analysis` writes.
    pub fn of(analysis: Analysis) -> Vec<Table> {
        match analysis {
            Analysis::Summary => vec![Table::Summary, Table::Amplification, Table::Latency, Table::Loss],
            Analysis::Amplification => vec![Table::Amplification, Table::Loss],
            Analysis::Latency => vec![Table::Latency, Table::Loss],
            Analysis::Timeline => vec![Table::Timeline, Table::Loss],
            Analysis::Sizes => vec![Table::Sizes, Table::Loss],
            Analysis::Quality => vec![Table::Quality, Table::Loss],
            Analysis::Top(by, most) => vec![Table::Top(by, most), Table::Loss],
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
            Table::Quality => "quality.csv",
            Table::Top(..) => "top.csv",
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
            Table::Quality => {
                frame::frame(&quality::columns(), &quality::rows(captures, &known.losses, finished, trust))
            }
            Table::Top(by, most) => frame::frame(&top::columns(), &top::rows(finished, names, trust, (by, most))),
            Table::Loss => frame::frame(&lost::columns(), &lost::rows(captures, &known.losses, finished, trust)),
        }
    }
}
