//! Tables of results and the commands that write them. Each table has a module with its columns.

pub mod amplification;
pub mod arrivals;
pub mod cache;
pub mod compare;
pub mod footprint;
pub mod heatmap;
pub mod latency;
pub mod loss;
pub mod path;
pub mod pattern;
pub mod quality;
pub mod queue;
pub mod reuse;
pub mod sizes;
pub mod subject;
pub mod summary;
pub mod sync;
pub mod timeline;
pub mod top;

use anyhow::Result;
use iostrata_capture::Capture;
use polars::prelude::{DataFrame, PolarsResult};

use crate::format::Format;
use crate::frame::{self, ResultColumn};
use crate::load::Known;
use crate::names::Names;
use crate::options::Analysis;
use crate::partial::Finished;
use crate::trust::Trust;
use loss as lost;
use top::By;

/// Version of all tables: of the columns and their meaning.
pub const VERSION: u32 = 1;

/// Rows of each scope and layer in the `top` table of a report.
const TOP: usize = 100;

/// Input of all tables.
pub struct Results<'a> {
    /// Captures.
    pub captures: &'a [Capture],
    /// Data of the captures other than events.
    pub known: &'a Known<'a>,
    /// Names of their entities.
    pub names: &'a Names<'a>,
    /// Aggregates of their events.
    pub finished: Finished,
    /// Completeness and reliability of the captures.
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
    /// [`heatmap`], by time and duration.
    HeatmapLatency,
    /// [`heatmap`], by time and device offset.
    HeatmapOffset,
    /// [`footprint`].
    Footprint,
    /// [`footprint`], by time window.
    FootprintWindows,
    /// [`reuse`].
    Reuse,
    /// [`pattern`].
    Pattern,
    /// [`arrivals`].
    Arrivals,
    /// [`queue`].
    Queue,
    /// [`queue`], time at each queue depth.
    QueueDepth,
    /// [`path`].
    Path,
    /// [`sync`].
    Sync,
    /// [`cache`].
    Cache,
    /// [`top`].
    Top(By, usize),
    /// [`lost`].
    Loss,
}

impl Table {
    /// Tables that `analysis` writes.
    pub fn of(analysis: Analysis) -> Vec<Table> {
        match analysis {
            Analysis::Summary => vec![Table::Summary, Table::Amplification, Table::Latency, Table::Loss],
            Analysis::Amplification => vec![Table::Amplification, Table::Loss],
            Analysis::Latency => vec![Table::Latency, Table::Loss],
            Analysis::Timeline => vec![Table::Timeline, Table::Loss],
            Analysis::Sizes => vec![Table::Sizes, Table::Loss],
            Analysis::Heatmap => vec![Table::HeatmapLatency, Table::HeatmapOffset, Table::Loss],
            Analysis::Footprint => vec![Table::Footprint, Table::FootprintWindows, Table::Reuse, Table::Loss],
            Analysis::Pattern => vec![Table::Pattern, Table::Loss],
            Analysis::Arrivals => vec![Table::Arrivals, Table::Loss],
            Analysis::Queue => vec![Table::Queue, Table::QueueDepth, Table::Loss],
            Analysis::Path => vec![Table::Path, Table::Loss],
            Analysis::Sync => vec![Table::Sync, Table::Loss],
            Analysis::Cache => vec![Table::Cache, Table::Loss],
            Analysis::Report => {
                let top = |table| if matches!(table, Table::Top(..)) { Table::Top(By::Bytes, TOP) } else { table };
                Table::ALL.map(top).to_vec()
            }
            // Its own output is not a table.
            Analysis::Trace(_) => vec![Table::Loss],
            // Its table is in [`compare`], which is not a `Table`.
            Analysis::Compare => Vec::new(),
            Analysis::Quality => vec![Table::Quality, Table::Loss],
            Analysis::Top(by, most) => vec![Table::Top(by, most), Table::Loss],
        }
    }

    /// Name of the CSV file.
    pub const fn file(self) -> &'static str {
        match self {
            Table::Summary => "summary.csv",
            Table::Amplification => "amplification.csv",
            Table::Latency => "latency.csv",
            Table::Timeline => "timeline.csv",
            Table::Sizes => "sizes.csv",
            Table::Quality => "quality.csv",
            Table::HeatmapLatency => "heatmap_latency.csv",
            Table::HeatmapOffset => "heatmap_offset.csv",
            Table::Footprint => "footprint.csv",
            Table::FootprintWindows => "footprint_windows.csv",
            Table::Reuse => "reuse.csv",
            Table::Pattern => "pattern.csv",
            Table::Arrivals => "arrivals.csv",
            Table::Queue => "queue.csv",
            Table::QueueDepth => "queue_depth.csv",
            Table::Path => "path.csv",
            Table::Sync => "sync.csv",
            Table::Cache => "cache.csv",
            Table::Top(..) => "top.csv",
            Table::Loss => "loss.csv",
        }
    }

    /// All tables.
    pub const ALL: [Table; 20] = [
        Table::Summary,
        Table::Amplification,
        Table::Latency,
        Table::Timeline,
        Table::Sizes,
        Table::HeatmapLatency,
        Table::HeatmapOffset,
        Table::Footprint,
        Table::FootprintWindows,
        Table::Reuse,
        Table::Pattern,
        Table::Arrivals,
        Table::Queue,
        Table::QueueDepth,
        Table::Path,
        Table::Sync,
        Table::Cache,
        Table::Quality,
        Table::Top(By::Bytes, 0),
        Table::Loss,
    ];

    /// Documentation of the table.
    pub const fn doc(self) -> &'static str {
        match self {
            Table::Summary => summary::DOC,
            Table::Amplification => amplification::DOC,
            Table::Latency => latency::DOC,
            Table::Timeline => timeline::DOC,
            Table::Sizes => sizes::DOC,
            Table::HeatmapLatency => heatmap::LATENCY_DOC,
            Table::HeatmapOffset => heatmap::OFFSET_DOC,
            Table::Footprint => footprint::DOC,
            Table::FootprintWindows => footprint::WINDOWS_DOC,
            Table::Reuse => reuse::DOC,
            Table::Pattern => pattern::DOC,
            Table::Arrivals => arrivals::DOC,
            Table::Queue => queue::DOC,
            Table::QueueDepth => queue::DEPTH_DOC,
            Table::Path => path::DOC,
            Table::Sync => sync::DOC,
            Table::Cache => cache::DOC,
            Table::Quality => quality::DOC,
            Table::Top(..) => top::DOC,
            Table::Loss => lost::DOC,
        }
    }

    /// Documentation of the columns, in Markdown.
    pub fn columns(self) -> String {
        match self {
            Table::Summary => frame::markdown(&summary::columns(Default::default())),
            Table::Amplification => frame::markdown(&amplification::columns()),
            Table::Latency => frame::markdown(&latency::columns()),
            Table::Timeline => frame::markdown(&timeline::columns()),
            Table::Sizes => frame::markdown(&sizes::columns()),
            Table::HeatmapLatency => frame::markdown(&heatmap::duration_columns()),
            Table::HeatmapOffset => frame::markdown(&heatmap::place_columns()),
            Table::Footprint => frame::markdown(&footprint::columns()),
            Table::FootprintWindows => frame::markdown(&footprint::window_columns()),
            Table::Reuse => frame::markdown(&reuse::columns()),
            Table::Pattern => frame::markdown(&pattern::columns()),
            Table::Arrivals => frame::markdown(&arrivals::columns()),
            Table::Queue => frame::markdown(&queue::columns()),
            Table::QueueDepth => frame::markdown(&queue::depth_columns()),
            Table::Path => frame::markdown(&path::columns()),
            Table::Sync => frame::markdown(&sync::columns()),
            Table::Cache => frame::markdown(&cache::columns()),
            Table::Quality => frame::markdown(&quality::columns()),
            Table::Top(..) => frame::markdown(&top::columns()),
            Table::Loss => frame::markdown(&lost::columns()),
        }
    }

    /// Name of the file in `format`.
    pub fn file_in(self, format: Format) -> String {
        let file = self.file();
        format!("{}.{}", file.strip_suffix(".csv").unwrap_or(file), format.extension())
    }

    /// Passes the rows of the table to `take`, in one or several frames. Tables with a row for each system, process, cgroup or file are split,
    /// because all their rows may not fit in memory.
    ///
    /// # Errors
    /// The error of `take`.
    pub fn frames(self, results: &Results, take: &mut dyn FnMut(DataFrame) -> Result<()>) -> Result<()> {
        let Results { known, names, finished, trust, .. } = results;
        match self {
            Table::Summary => some_at_a_time(&summary::columns(trust.lost_io), summary::rows(finished, trust), take),
            Table::Amplification => {
                let rows = amplification::rows(finished, names, &known.disks, trust);
                some_at_a_time(&amplification::columns(), rows, take)
            }
            Table::Latency => some_at_a_time(&latency::columns(), latency::rows(finished, trust), take),
            _ => take(self.frame(results)?),
        }
    }

    /// Builds the whole table in one frame.
    pub fn frame(self, results: &Results) -> PolarsResult<DataFrame> {
        let Results { captures, known, names, finished, trust } = results;
        match self {
            Table::Summary => all(&summary::columns(trust.lost_io), summary::rows(finished, trust)),
            Table::Amplification => {
                let rows = amplification::rows(finished, names, &known.disks, trust);
                all(&amplification::columns(), rows)
            }
            Table::Latency => all(&latency::columns(), latency::rows(finished, trust)),
            Table::Timeline => frame::frame(&timeline::columns(), &timeline::rows(finished, &known.losses, trust)),
            Table::Sizes => frame::frame(&sizes::columns(), &sizes::rows(finished, trust)),
            Table::HeatmapLatency => frame::frame(&heatmap::duration_columns(), &heatmap::durations(finished, trust)),
            Table::HeatmapOffset => frame::frame(&heatmap::place_columns(), &heatmap::places(finished, names, trust)),
            Table::Footprint => frame::frame(&footprint::columns(), &footprint::rows(finished, names, trust)),
            Table::FootprintWindows => frame::frame(&footprint::window_columns(), &footprint::windows(finished, trust)),
            Table::Reuse => frame::frame(&reuse::columns(), &reuse::rows(finished, names, trust)),
            Table::Pattern => frame::frame(&pattern::columns(), &pattern::rows(finished, names, trust)),
            Table::Arrivals => frame::frame(&arrivals::columns(), &arrivals::rows(finished, names, trust)),
            Table::Queue => frame::frame(&queue::columns(), &queue::rows(finished, names, trust)),
            Table::QueueDepth => frame::frame(&queue::depth_columns(), &queue::depths(finished, names, trust)),
            Table::Path => frame::frame(&path::columns(), &path::rows(finished, names, trust)),
            Table::Sync => frame::frame(&sync::columns(), &sync::rows(finished, names, trust)),
            Table::Cache => frame::frame(&cache::columns(), &cache::rows(finished, names, &known.disks, trust)),
            Table::Quality => frame::frame(&quality::columns(), &quality::rows(captures, known, finished, trust)),
            Table::Top(by, most) => frame::frame(&top::columns(), &top::rows(finished, names, trust, (by, most))),
            Table::Loss => frame::frame(&lost::columns(), &lost::rows(captures, &known.losses, finished, trust)),
        }
    }
}

/// Rows per frame.
const ROWS: usize = 1 << 14;

fn all<R>(columns: &[ResultColumn<R>], rows: impl Iterator<Item = R>) -> PolarsResult<DataFrame> {
    frame::frame(columns, &rows.collect::<Vec<R>>())
}

/// Passes at least one frame; without rows it is an empty one.
fn some_at_a_time<R>(
    columns: &[ResultColumn<R>],
    mut rows: impl Iterator<Item = R>,
    take: &mut dyn FnMut(DataFrame) -> Result<()>,
) -> Result<()> {
    let mut some = Vec::new();
    loop {
        some.clear();
        some.extend(rows.by_ref().take(ROWS));
        let is_last = some.len() < ROWS;
        take(frame::frame(columns, &some)?)?;
        if is_last {
            return Ok(());
        }
    }
}
