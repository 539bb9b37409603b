//! Conversion of BPF records to rows. Pure: the same record gives the same row. Each group adds the conversion of its own records.

use anyhow::{Result, anyhow};
use iostrata_capture::column::Comm;
use iostrata_capture::op::{Evidence, FdKind, IoClass, Op, PathOrigin, Via};

use crate::bpf::types;
use crate::privacy::Redaction;
use crate::sampling::Rates;
use crate::session::Words;

/// `MISSING` of `bpf/core/events.h`.
pub(crate) const MISSING: i64 = i64::MIN;

/// State for the conversion of records to rows.
pub struct Decoder {
    /// Offset added to monotonic times.
    pub clock_offset_ns: i64,
    pub(crate) ops: Vec<Option<Op>>,
    pub(crate) io_classes: Vec<IoClass>,
    pub(crate) evidences: Vec<Evidence>,
    pub(crate) vias: Vec<Option<Via>>,
    path_origins: Vec<Option<PathOrigin>>,
    pub(crate) veil: Redaction,
    /// Sampling rates; set if recording may be sampled.
    rates: Option<Rates>,
}

/// Command name in a record.
pub(crate) fn comm(chars: &[i8; 16]) -> Comm {
    Comm(chars.map(|c| c as u8))
}

/// A value, unless it is missing.
pub(crate) fn known(value: i64) -> Option<i64> {
    (value != MISSING).then_some(value)
}

/// Result as seen by the program: EINTR instead of the kernel's internal restart codes (include/linux/errno.h).
pub(crate) fn result_of(ret: i64) -> i64 {
    const EINTR: i64 = 4;
    if matches!(ret, -514..=-512 | -516) { -EINTR } else { ret }
}

/// File type in a record.
pub(crate) fn fd_kind(kind: u8) -> Option<FdKind> {
    match types::fd_kind(u32::from(kind)) {
        types::fd_kind::FD_REGULAR => Some(FdKind::Regular),
        types::fd_kind::FD_BLOCK => Some(FdKind::Block),
        types::fd_kind::FD_MEMORY => Some(FdKind::Memory),
        types::fd_kind::FD_DIRECTORY => Some(FdKind::Directory),
        _ => None,
    }
}

fn known_word<T>(word: &str, parse: fn(&str) -> Option<T>) -> Result<T> {
    parse(word)
        .ok_or_else(|| anyhow!("unknown name {word:?} in the BPF object: recorder and capture schema are out of sync"))
}

fn word_or_none<T>(word: &str, parse: fn(&str) -> Option<T>) -> Result<Option<T>> {
    if word.is_empty() { Ok(None) } else { known_word(word, parse).map(Some) }
}

impl Decoder {
    /// Creates a decoder for the names that the BPF programs use. `veil` redacts command lines and paths. `rates` gives the weight of a row if
    /// recording may be sampled.
    pub fn new(clock_offset_ns: i64, words: &Words, veil: Redaction, rates: Option<Rates>) -> Result<Self> {
        Ok(Decoder {
            clock_offset_ns,
            ops: words.ops.iter().map(|word| word_or_none(word, Op::parse)).collect::<Result<_>>()?,
            io_classes: words.io_classes.iter().map(|word| known_word(word, IoClass::parse)).collect::<Result<_>>()?,
            evidences: words.evidences.iter().map(|word| known_word(word, Evidence::parse)).collect::<Result<_>>()?,
            vias: words.vias.iter().map(|word| word_or_none(word, Via::parse)).collect::<Result<_>>()?,
            path_origins: words
                .path_origins
                .iter()
                .map(|word| word_or_none(word, PathOrigin::parse))
                .collect::<Result<_>>()?,
            veil,
            rates,
        })
    }

    pub(crate) fn op(&self, head: &types::event_head) -> Option<Op> {
        self.ops.get(usize::from(head.op)).copied().flatten()
    }

    pub(crate) fn weight(&self, head: &types::event_head) -> i32 {
        self.rates.as_ref().map_or(1, |rates| rates.weight_at(head.start_ns))
    }

    /// Decodes a path and its origin.
    pub(crate) fn path(&self, names: &[i8], components: u8, origin: u8) -> Option<(String, PathOrigin)> {
        let origin = (*self.path_origins.get(usize::from(origin))?)?;
        let path = match (path_of(names, components), origin) {
            // A truncated path does not start at a root.
            (Some(path), PathOrigin::Cut) => path.trim_start_matches('/').to_owned(),
            // Without any name, the path is the root itself.
            (None, PathOrigin::Namespace | PathOrigin::Filesystem) => "/".to_owned(),
            (path, _) => path?,
        };
        Some((path, origin))
    }
}

/// Builds a path from its names. The BPF programs store them from the file up to the root.
pub(crate) fn path_of(chars: &[i8], components: u8) -> Option<String> {
    let bytes: Vec<u8> = chars.iter().map(|c| *c as u8).collect();
    let mut names: Vec<&[u8]> = bytes.split(|b| *b == 0).take(usize::from(components)).collect();
    if names.is_empty() {
        return None;
    }
    names.reverse();
    Some(names.iter().map(|name| format!("/{}", String::from_utf8_lossy(name))).collect())
}

#[cfg(test)]
pub(crate) mod tests;
