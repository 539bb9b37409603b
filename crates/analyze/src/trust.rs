//! Reliability of a result: layers not captured, lost events, inconsistent event accounting.
//!
//! [`Trust`] is derived from manifests, lists of parts and the table `loss`. It is made before the scan, which skips layers that were not captured.

mod books;
mod devices;
pub mod filter;
mod gaps;
mod missing;
mod rows;
pub mod tail;

use std::path::Path;

use iostrata_capture::Capture;
use iostrata_capture::TableId;
use iostrata_capture::capture::Unfinished;
use iostrata_capture::ledger::{Amounts, EventAccounting, Followed};
use iostrata_capture::manifest::{
    LayerState, Manifest, State, WITHOUT_DURATIONS, WITHOUT_IO_URING, WITHOUT_MAPPINGS, WITHOUT_QUEUEING,
};
use iostrata_capture::op::{Direction, Layer};
use iostrata_capture::without_row::UnseenKind;

use crate::aggregate::count::Counts;
use crate::aggregate::flow::Path as FlowPath;
use crate::loss::Losses;
use crate::select::Window;
use crate::time::utc;

pub use missing::Missing;
pub use rows::PartialRows;

/// Reliability of one or several merged captures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trust {
    /// Whether every capture has the layer, by layer. A sum over some of the captures would not be a total.
    pub captured: [bool; Layer::ALL.len()],
    /// Upper bound of the I/O of lost events, by layer; `None` if unknown.
    pub lost_io: [Option<Amounts>; Layer::ALL.len()],
    /// Whether every capture has the path, by path of application bytes.
    pub told: [bool; FlowPath::ALL.len()],
    /// Number of lost events of all captures and tables; `None` if a recording was interrupted, because it has no count.
    pub lost_events: Option<u64>,
    /// Missing rows, by layer.
    pub missing: [Missing; Layer::ALL.len()],
    /// Whether a capture was sampled (`--cpu-limit`), so that operations, bytes and percentiles are estimates.
    pub sampled: bool,
    /// Whether a capture lacks unowned I/O, without which there is no total of a device.
    pub lacks_unowned: bool,
    /// Whether a time window is selected.
    pub is_windowed: bool,
    /// Whether other filters are set.
    pub is_selected: bool,
    /// Whether a captured layer is excluded because of missing or surplus rows.
    pub withholds: bool,
    /// Whether existing rows are analyzed although some are missing: then there is no machine total.
    pub is_partial: bool,
    /// Present and expected row counts, one line for each table that is not as it was written.
    pub rows_there: Vec<String>,
    /// Whether every capture is finished, lost no events and has consistent event accounting.
    pub complete: bool,
    /// Notes for readers of the result, one per line.
    pub notes: Vec<String>,
    /// Warnings for users, one per line.
    pub warnings: Vec<String>,
}

impl Trust {
    /// Derives it from `captures` with these `losses`, for these times of each.
    pub fn of(captures: &[Capture], losses: &[Losses], windows: &[Window]) -> Trust {
        let mut trust = Trust {
            captured: by_layer(|layer| captures.iter().all(|c| state(c, layer).is_some_and(|s| s.captured))),
            lost_io: by_layer(|layer| lost_io(captures, layer)),
            told: std::array::from_fn(|index| captures.iter().all(|capture| tells(capture, FlowPath::ALL[index]))),
            lost_events: Some(0),
            missing: by_layer(|layer| missing::of(captures, losses, windows, layer)),
            sampled: captures.iter().any(|capture| capture.manifest.greatest_weight() > 1),
            lacks_unowned: captures.iter().any(|capture| capture.manifest.lacks_unowned()),
            complete: losses.iter().all(|of| of.excess.is_empty()),
            ..Trust::default()
        };
        for layer in Layer::ALL {
            trust.notes.extend(not_captured(captures, *layer));
        }
        for capture in captures {
            trust.judge(capture, &about(captures, capture));
        }
        trust.notes.extend(gaps::lines(captures));
        trust
    }

    /// Excludes the layers for which `wanted` is false, as if they were not captured.
    pub fn keep(&mut self, wanted: impl Fn(Layer) -> bool) {
        Layer::ALL.iter().for_each(|layer| self.captured[*layer as usize] &= wanted(*layer));
        FlowPath::ALL.iter().for_each(|path| self.told[*path as usize] &= self.captured[told_by(*path) as usize]);
    }

    /// Treats events that may match the filters (owner or name unknown) as lost when computing bounds.
    pub fn doubt(&mut self, doubtful: &Counts) {
        for layer in Layer::ALL {
            let missing = &mut self.missing[*layer as usize].at_least;
            *missing = missing.saturating_add(doubtful.ops(*layer));
            let moved = |direction| doubtful.moved(*layer, direction);
            let (read, write) = (moved(Direction::Read), moved(Direction::Write));
            let amounts =
                Amounts { read_ops: read.ops, read_bytes: read.bytes, write_ops: write.ops, write_bytes: write.bytes };
            self.lost_io[*layer as usize].iter_mut().for_each(|lost| lost.add(&amounts));
        }
    }

    /// Number of missing events of a layer; `None` if unknown.
    pub fn known_lost(&self, layer: Layer) -> Option<u64> {
        let Missing { at_least, more } = self.missing[layer as usize];
        (!more).then_some(at_least)
    }

    /// Returns [`Trust::captured`] for a total. It has no device side if an owner filter excluded unowned I/O, and nothing if rows are missing.
    pub fn captured_of_total(&self) -> [bool; Layer::ALL.len()] {
        match self {
            Trust { is_partial: true, .. } => [false; Layer::ALL.len()],
            Trust { lacks_unowned: true, .. } => self.captured_without(Layer::Block),
            _ => self.captured,
        }
    }

    /// Returns [`Trust::captured`] without one layer.
    pub fn captured_without(&self, layer: Layer) -> [bool; Layer::ALL.len()] {
        by_layer(|of| of != layer && self.captured[of as usize])
    }

    fn judge(&mut self, capture: &Capture, about: &str) {
        let manifest = &capture.manifest;
        self.notes.extend(filter::line(manifest).map(|line| format!("{about}{line}")));
        self.complete &= !manifest.is_filter_idle();
        if manifest.state != State::Complete {
            self.complete = false;
            self.lost_events = None;
            self.warnings.push(cut_off(capture));
        }
        let lost = books::lost(&manifest.books);
        if lost > 0 {
            self.complete = false;
            self.lost_events = self.lost_events.map(|sum| sum.saturating_add(lost));
            self.notes.push(format!("{about}lost {}: {}", events(lost), books::by_class(&manifest.books)));
        }
        self.notes.extend(untold(capture).map(|line| format!("{about}{line}")));
        self.notes.extend(not_recorded(manifest).into_iter().map(|line| format!("{about}{line}")));
        self.notes.extend(removed(capture).map(|line| format!("{about}{line}")));
        let unbalanced: Vec<String> =
            books::unbalanced(&manifest.books).chain(devices::unbalanced(&manifest.device_books)).collect();
        self.complete &= unbalanced.is_empty();
        self.notes.extend(unbalanced.into_iter().map(|line| format!("{about}{line}")));
    }
}

/// Returns a line for each class of events with inconsistent accounting.
pub fn unbalanced_books(manifest: &Manifest) -> Vec<String> {
    books::unbalanced(&manifest.books).collect()
}

/// Returns a line for each device with rows that differ from the kernel's counters.
pub fn unbalanced_devices(manifest: &Manifest) -> Vec<String> {
    devices::unbalanced(&manifest.device_books).collect()
}

/// Whether `layer` of a capture was captured without `what`.
pub fn lacks(capture: &Capture, layer: Layer, what: &str) -> bool {
    state(capture, layer).is_some_and(|state| state.lacks(what))
}

/// Describes the times of requests that an imported trace lacks.
fn untold(capture: &Capture) -> Option<&'static str> {
    let lines = [
        (
            WITHOUT_QUEUEING,
            "not known: queueing times of requests; requests begin at insertion or issue, and have only the phase device (D2C)",
        ),
        (WITHOUT_DURATIONS, "not known: durations of requests, which the trace lacks"),
    ];
    lines.into_iter().find(|(what, _)| lacks(capture, Layer::Block, what)).map(|(_, line)| line)
}

/// Returns remarks on devices that are consistent with the kernel's counters, as far as the kernel counted.
pub fn device_remarks(manifest: &Manifest) -> Vec<String> {
    devices::remarks(&manifest.device_books)
}

/// Returns a line for each kind of calls without a row.
fn not_recorded(manifest: &Manifest) -> Vec<String> {
    let mut lines: Vec<String> =
        manifest.books.without_row.iter().map(|without| format!("not recorded: {}", without.text())).collect();
    let calls = manifest.books.incomplete.compat_calls;
    if calls > 0 {
        lines.push(format!("not recorded: {}, of any kind: {calls}", UnseenKind::Compat.doc()));
    }
    let earlier = manifest.books.incomplete.earlier_calls;
    if earlier > 0 {
        lines.push(format!("not recorded: calls in flight when the recording began: {earlier}"));
    }
    let unfinished = manifest.books.incomplete.unfinished_async;
    if unfinished > 0 {
        lines.push(format!("not recorded: aio and io_uring operations in flight at the stop: {unfinished}"));
    }
    let unfinished = manifest.books.incomplete.unfinished_calls;
    if unfinished > 0 {
        lines.push(format!("not recorded: system calls in flight at the stop: {unfinished}"));
    }
    lines
}

/// Describes the removal of the oldest parts of a capture. The capture is complete from then on.
fn removed(capture: &Capture) -> Option<String> {
    let until = utc(capture, capture.list.removed_until_ns()?);
    let rows = capture.list.removed().fold(0u64, |sum, removed| sum.saturating_add(removed.rows));
    Some(format!(
        "excluded: events that began until {until}: {rows} rows were removed to keep the capture within --max-disk"
    ))
}

/// Describes an incomplete capture.
fn cut_off(capture: &Capture) -> String {
    let directory = capture.directory.display();
    let missing = "unflushed rows are missing, and the losses at its end are unknown";
    if let Some(from) = capture.manifest.imported_from() {
        return format!(
            "warning: {directory}: {from} that was truncated: the rest is missing, and its size is unknown"
        );
    }
    if capture.manifest.state == State::Recovered {
        return format!(
            "warning: {directory}: the capture was interrupted and recovered: rows at its end are missing, and the losses there are unknown"
        );
    }
    let torn = match capture.unfinished {
        Unfinished { parts: 0, .. } => String::new(),
        Unfinished { parts, rows } => {
            format!(
                "; {rows} rows are in {parts} unfinished part{}, which `iostrata-analyze recover` repairs",
                if parts == 1 { "" } else { "s" }
            )
        }
    };
    format!("warning: {directory}: the recording was interrupted or is still running: {missing}{torn}")
}

fn by_layer<T>(of: impl Fn(Layer) -> T) -> [T; Layer::ALL.len()] {
    std::array::from_fn(|index| of(Layer::ALL[index]))
}

fn state(capture: &Capture, layer: Layer) -> Option<&LayerState> {
    capture.manifest.layers.get(&layer)
}

/// Returns the name of `capture` before a line about it; empty if there is only one.
pub fn about(captures: &[Capture], capture: &Capture) -> String {
    if captures.len() > 1 { format!("{}: ", capture.directory.display()) } else { String::new() }
}

/// Formats a number of events: `1 event`, `2 events`.
pub fn events(count: u64) -> String {
    crate::output::count(count, "event")
}

fn not_captured(captures: &[Capture], layer: Layer) -> Option<String> {
    let missing: Vec<(&Path, &str)> = captures
        .iter()
        .filter_map(|capture| match state(capture, layer) {
            Some(state) if state.captured => None,
            Some(state) => Some((capture.directory.as_path(), state.how.as_str())),
            None => Some((capture.directory.as_path(), "the manifest does not name this layer")),
        })
        .collect();
    let (directory, why) = missing.first()?;
    Some(match (captures.len(), missing.len()) {
        (1, _) => format!("not captured: {layer} ({why})"),
        (all, some) if all == some => format!("not captured: {layer} ({}: {why})", directory.display()),
        _ => format!("excluded: {layer}, not captured in {} ({why})", directory.display()),
    })
}

/// Returns the layer with the rows of application bytes on `path`.
const fn told_by(path: FlowPath) -> Layer {
    match path {
        FlowPath::Call | FlowPath::Aio | FlowPath::IoUring => Layer::Syscall,
        FlowPath::Mapping => Layer::Fs,
    }
}

/// Whether `capture` has application bytes on `path`.
fn tells(capture: &Capture, path: FlowPath) -> bool {
    let without = match path {
        FlowPath::Call | FlowPath::Aio => None,
        FlowPath::IoUring => Some(WITHOUT_IO_URING),
        FlowPath::Mapping => Some(WITHOUT_MAPPINGS),
    };
    state(capture, told_by(path))
        .is_some_and(|of| of.captured && !of.without.iter().any(|what| Some(what.as_str()) == without))
}

/// Returns the upper bound of the lost I/O of `layer` in `captures`. `None` unless the event accounting has it and is consistent, and all events
/// were recorded or lost.
fn lost_io(captures: &[Capture], layer: Layer) -> Option<Amounts> {
    let mut sum = Amounts::default();
    for capture in captures {
        let manifest = &capture.manifest;
        let known = manifest.state == State::Complete
            && manifest.greatest_weight() == 1
            && books::unbalanced(&manifest.books).next().is_none()
            && !skipped(&manifest.books, layer)
            && !left_out(manifest, layer);
        if !known {
            return None;
        }
        for table in TableId::ALL.iter().filter(|table| table.layer() == Some(layer)) {
            sum.add(&manifest.books.lost_of(table.name()).1);
        }
        if layer == Layer::Syscall {
            sum.add(&manifest.books.incomplete.unfinished_io.unwrap_or_default());
            sum.add(&manifest.books.incomplete.earlier_io);
            sum.add(&manifest.books.incomplete.earlier_calls_io);
        }
    }
    Some(sum)
}

/// Whether a program of `layer` was skipped. A program without a table of one layer serves all layers.
fn skipped(books: &EventAccounting, layer: Layer) -> bool {
    let concerns = |class: &str| Layer::parse(class).is_none_or(|of| of == layer);
    books.skipped.iter().any(|skipped| skipped.recursion > 0 && concerns(&skipped.class))
}

/// Whether I/O of `layer` is missing with a size that is not in the accounting: bytes that a device counted and no row has, calls of 32-bit
/// programs.
fn left_out(manifest: &Manifest, layer: Layer) -> bool {
    match layer {
        Layer::Block => devices::is_more_missing(manifest),
        Layer::Syscall => calls_of_unknown_size(&manifest.books),
        Layer::Vfs | Layer::Fs => false,
    }
}

/// Whether there were calls of unknown size.
fn calls_of_unknown_size(books: &EventAccounting) -> bool {
    let incomplete = &books.incomplete;
    incomplete.compat_calls > 0
        || (incomplete.unfinished_async > 0 && incomplete.unfinished_io.is_none())
        || books.without_row.iter().any(|without| without.io.is_none())
        || books.followed.iter().any(Followed::has_unknown_bytes)
}

#[cfg(test)]
pub(crate) mod tests;
