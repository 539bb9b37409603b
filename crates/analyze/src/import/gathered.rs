//! Data collected while a trace is read: the rows, and the contents of the manifest.

use anyhow::Result;
use iostrata_capture::capture_writer::{PartsId, Rows};
use iostrata_capture::tables::BlockTable;

use super::disks::Disks;
use super::traced::Traced;

/// Rows in progress, and the data about them.
pub struct Gathered {
    block: Rows<BlockTable>,
    /// Id of the parts in their footers, and its prefix.
    id: (PartsId, &'static str),
    /// Data about all requests so far.
    pub known: Known,
}

/// Data about a trace.
#[derive(Debug, Default)]
pub struct Known {
    /// Number of requests.
    pub rows: u64,
    /// First start and last end, since 1970.
    pub span_ns: Option<(i64, i64)>,
    /// Their disks.
    pub disks: Disks,
    /// Offset from times of the trace to times since 1970, if the trace has its own clock.
    pub offset_ns: Option<i64>,
    /// Number of requests without recorded queueing.
    pub unidentified: u64,
    /// Data that the trace lacks, in the words of manifests.
    pub without: Vec<&'static str>,
    /// Whether records are missing from the trace.
    pub incomplete: bool,
    /// Whether it was truncated.
    pub is_cut_off: bool,
    /// Time up to which a truncated trace is complete, since 1970; none if unknown.
    pub whole_until_ns: Option<i64>,
    /// Other remarks.
    pub remarks: Vec<String>,
}

impl Known {
    /// Notes a truncated file that is complete until `until_ns`; none if it has nothing.
    pub fn cut_off(&mut self, until_ns: Option<i64>) {
        self.whole_until_ns = match self.is_cut_off {
            true => self.whole_until_ns.zip(until_ns).map(|(one, other)| one.min(other)),
            false => until_ns,
        };
        self.is_cut_off = true;
    }
}

impl Gathered {
    /// Begins without rows. The id of the parts is the prefix and the first row, so that the same trace makes the same
    /// parts.
    pub fn new(block: Rows<BlockTable>, id: (PartsId, &'static str)) -> Gathered {
        Gathered { block, id, known: Known::default() }
    }

    /// Adds a request.
    pub fn push(&mut self, traced: &Traced) -> Result<()> {
        let (id, kind) = &self.id;
        id.get_or_init(|| {
            format!("{kind}-{}-{}-{}-{}", traced.ts_ns, traced.dev, traced.sector.unwrap_or(0), traced.bytes)
        });
        let end_ns = traced.ts_ns.saturating_add(traced.dur_ns.unwrap_or(0));
        let (first, last) = self.known.span_ns.unwrap_or((traced.ts_ns, end_ns));
        self.known.span_ns = Some((first.min(traced.ts_ns), last.max(end_ns)));
        self.known.rows += 1;
        Ok(self.block.push(traced.row())?)
    }

    /// Returns the rows and the data about them.
    pub fn into_parts(self) -> (Rows<BlockTable>, Known) {
        (self.block, self.known)
    }
}
