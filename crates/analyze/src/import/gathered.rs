//! What is gathered while a trace is read: the rows, and what the manifest needs.

use anyhow::Result;
use iostrata_capture::author::{PartsId, Rows};
use iostrata_capture::tables::BlockTable;

use super::disks::Disks;
use super::traced::Traced;

/// The rows on their way, and what is known of them.
pub struct Gathered {
    block: Rows<BlockTable>,
    /// What parts are to have in their footers, and how that begins.
    id: (PartsId, &'static str),
    /// Of all so far.
    pub known: Known,
}

/// What is known of a trace when all of it was read.
#[derive(Debug, Default)]
pub struct Known {
    /// Requests.
    pub rows: u64,
    /// From the first beginning to the last end, since 1970.
    pub span_ns: Option<(i64, i64)>,
    /// Their disks.
    pub disks: Disks,
    /// What is added to a time of the trace for the time since 1970, where it has a clock of its own.
    pub offset_ns: Option<i64>,
    /// Requests of which nobody saw how they were queued.
    pub unidentified: u64,
    /// What it does not tell, by the words for it in manifests.
    pub without: Vec<&'static str>,
    /// Whether the trace itself shows that some of it is missing.
    pub incomplete: bool,
    /// Whether it was cut off.
    pub is_cut_off: bool,
    /// Where it was: up to when all is there, since 1970; none where that is not known.
    pub whole_until_ns: Option<i64>,
    /// What else is to be said.
    pub remarks: Vec<String>,
}

impl Known {
    /// A file was cut off, which has all until then; none where it has nothing.
    pub fn cut_off(&mut self, until_ns: Option<i64>) {
        self.whole_until_ns = match self.is_cut_off {
            true => self.whole_until_ns.zip(until_ns).map(|(one, other)| one.min(other)),
            false => until_ns,
        };
        self.is_cut_off = true;
    }
}

impl Gathered {
    /// Begins with no row. The first one says what parts have in their footers, after what that begins with: the same trace makes the same
    /// parts.
    pub fn new(block: Rows<BlockTable>, id: (PartsId, &'static str)) -> Gathered {
        Gathered { block, id, known: Known::default() }
    }

    /// Takes in a request.
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

    /// The rows, and what is known of them.
    pub fn into_parts(self) -> (Rows<BlockTable>, Known) {
        (self.block, self.known)
    }
}
