//! What a result is worth: layers that were not captured, events that were lost, books that do not balance.
//!
//! [`Trust`] is a judgement on manifests, lists of parts and what the table `loss` tells. It comes before the scan, which skips what was not
//! captured.

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
use iostrata_capture::ledger::{Amounts, Books, Followed};
use iostrata_capture::manifest::{
    LayerState, Manifest, State, WITHOUT_DURATIONS, WITHOUT_IO_URING, WITHOUT_MAPPINGS, WITHOUT_QUEUEING,
};
use iostrata_capture::op::{Direction, Layer};
use iostrata_capture::unseen::UnseenKind;

use crate::aggregate::count::Counts;
use crate::aggregate::flow::Path as FlowPath;
use crate::loss::Losses;
use crate::select::Window;
use crate::time::utc;

pub use missing::Missing;
pub use rows::PartialRows;

/// The judgement on one or several captures that are merged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trust {
    /// By layer: whether every capture has it. A sum over some captures of a layer that others lack would be no sum.
    pub captured: [bool; Layer::ALL.len()],
    /// By layer: what lost events can have carried at most; `None` where that is not known.
    pub lost_io: [Option<Amounts>; Layer::ALL.len()],
    /// By way of application bytes: whether every capture tells of it.
    pub told: [bool; FlowPath::ALL.len()],
    /// Events lost, of all captures and tables; `None` where a recording was cut off, which says nothing of them.
    pub lost_events: Option<u64>,
    /// By layer: rows that are missing.
    pub missing: [Missing; Layer::ALL.len()],
    /// Whether not all was recorded of some capture (`--cpu-limit`), so that operations, bytes and percentiles are estimates.
    pub sampled: bool,
    /// Whether a capture lacks what no process owns, without which there is no total of a device.
    pub lacks_unowned: bool,
    /// Whether a part of their time is asked for.
    pub is_windowed: bool,
    /// Whether a part of what happened in it is asked for.
    pub is_selected: bool,
    /// Whether a layer that was captured is left out, because not all of its rows are there, or too many.
    pub withholds: bool,
    /// Whether what is there is analyzed though it is not all: there is no total of the machine then.
    pub is_partial: bool,
    /// How many rows of how many are there, a line for each table that is not as it was written.
    pub rows_there: Vec<String>,
    /// Whether every capture is finished, lost nothing and has books that balance.
    pub complete: bool,
    /// What a reader of the result should know, a line each.
    pub notes: Vec<String>,
    /// What a user should do something about, a line each.
    pub warnings: Vec<String>,
}

impl Trust {
    /// The judgement on `captures`, which lost these `losses`, as far as it is about these times of each.
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

    /// Leaves out the layers that `wanted` does not have, as if they were not captured.
    pub fn keep(&mut self, wanted: impl Fn(Layer) -> bool) {
        Layer::ALL.iter().for_each(|layer| self.captured[*layer as usize] &= wanted(*layer));
        FlowPath::ALL.iter().for_each(|path| self.told[*path as usize] &= self.captured[told_by(*path) as usize]);
    }

    /// Takes what may be asked for, and is not in the result because nobody knows whose it is, for as good as lost.
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

    /// How many events of a layer are missing; `None` where that is not known.
    pub fn known_lost(&self, layer: Layer) -> Option<u64> {
        let Missing { at_least, more } = self.missing[layer as usize];
        (!more).then_some(at_least)
    }

    /// [`Trust::captured`] of a total, which has no device side where an owner filter left out what no process owns, and nothing where
    /// not all rows are there.
    pub fn captured_of_total(&self) -> [bool; Layer::ALL.len()] {
        match self {
            Trust { is_partial: true, .. } => [false; Layer::ALL.len()],
            Trust { lacks_unowned: true, .. } => self.captured_without(Layer::Block),
            _ => self.captured,
        }
    }

    /// [`Trust::captured`] but for one layer.
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

/// A line for each class of events whose books do not balance.
pub fn unbalanced_books(manifest: &Manifest) -> Vec<String> {
    books::unbalanced(&manifest.books).collect()
}

/// A line for each device whose rows are not what the kernel counted.
pub fn unbalanced_devices(manifest: &Manifest) -> Vec<String> {
    devices::unbalanced(&manifest.device_books).collect()
}

/// Whether `layer` of a capture is captured but for `what`.
pub fn lacks(capture: &Capture, layer: Layer, what: &str) -> bool {
    state(capture, layer).is_some_and(|state| state.lacks(what))
}

/// What a trace that was imported does not tell of the time that requests took.
fn untold(capture: &Capture) -> Option<&'static str> {
    let lines = [
        (
            WITHOUT_QUEUEING,
            "not known: when requests were queued; they begin at insertion or issue, and of phases there is only device (D2C)",
        ),
        (WITHOUT_DURATIONS, "not known: how long requests took, which the trace does not tell"),
    ];
    lines.into_iter().find(|(what, _)| lacks(capture, Layer::Block, what)).map(|(_, line)| line)
}

/// What there is to know of devices whose rows are what the kernel counted, as far as it did.
pub fn device_remarks(manifest: &Manifest) -> Vec<String> {
    devices::remarks(&manifest.device_books)
}

/// Which calls have no row, a line for each kind.
fn not_recorded(manifest: &Manifest) -> Vec<String> {
    let mut lines: Vec<String> =
        manifest.books.without_row.iter().map(|without| format!("not recorded: {}", without.text())).collect();
    let calls = manifest.books.incomplete.compat_calls;
    if calls > 0 {
        lines.push(format!("not recorded: {}, whatever they did: {calls}", UnseenKind::Compat.doc()));
    }
    let earlier = manifest.books.incomplete.earlier_calls;
    if earlier > 0 {
        lines.push(format!("not recorded: calls that had begun before the recording: {earlier}"));
    }
    let unfinished = manifest.books.incomplete.unfinished_async;
    if unfinished > 0 {
        lines
            .push(format!("not recorded: operations of aio and io_uring that had not ended at the stop: {unfinished}"));
    }
    let unfinished = manifest.books.incomplete.unfinished_calls;
    if unfinished > 0 {
        lines.push(format!("not recorded: system calls that had not returned at the stop: {unfinished}"));
    }
    lines
}

/// What is said of a capture whose oldest parts were removed. It is whole from then on.
fn removed(capture: &Capture) -> Option<String> {
    let until = utc(capture, capture.list.removed_until_ns()?);
    let rows = capture.list.removed().fold(0u64, |sum, removed| sum.saturating_add(removed.rows));
    Some(format!("left out: what began until {until}: {rows} rows were removed to keep the capture within --max-disk"))
}

/// What is known of a capture whose recorder has not finished it.
fn cut_off(capture: &Capture) -> String {
    let directory = capture.directory.display();
    let missing = "rows that had not been flushed are missing, and what was lost at its end is not known";
    if let Some(from) = capture.manifest.imported_from() {
        return format!(
            "warning: {directory}: {from} that was cut off: what followed is missing, and how much that was is not known"
        );
    }
    if capture.manifest.state == State::Recovered {
        return format!(
            "warning: {directory}: the capture was cut off and recovered: rows at its end are missing, and what was lost there is not known"
        );
    }
    let torn = match capture.torn.len() {
        0 => String::new(),
        parts => {
            let rows = capture.torn.iter().fold(0u64, |sum, (_, torn)| sum.saturating_add(torn.rows()));
            format!(
                "; {rows} rows are of {parts} unfinished part{}, which `iostrata-analyze recover` makes whole",
                if parts == 1 { "" } else { "s" }
            )
        }
    };
    format!("warning: {directory}: the recording was cut off, or still runs: {missing}{torn}")
}

fn by_layer<T>(of: impl Fn(Layer) -> T) -> [T; Layer::ALL.len()] {
    std::array::from_fn(|index| of(Layer::ALL[index]))
}

fn state(capture: &Capture, layer: Layer) -> Option<&LayerState> {
    capture.manifest.layers.get(&layer)
}

/// The name of `capture` before a line about it; nothing where there is only one.
pub fn about(captures: &[Capture], capture: &Capture) -> String {
    if captures.len() > 1 { format!("{}: ", capture.directory.display()) } else { String::new() }
}

/// `1 event`, `2 events`.
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
        _ => format!("left out: {layer}, because {} does not have it ({why})", directory.display()),
    })
}

/// The layer whose rows tell what an application moves on `path`.
const fn told_by(path: FlowPath) -> Layer {
    match path {
        FlowPath::Call | FlowPath::Aio | FlowPath::IoUring => Layer::Syscall,
        FlowPath::Mapping => Layer::Fs,
    }
}

/// Whether `capture` has what an application moves on `path`.
fn tells(capture: &Capture, path: FlowPath) -> bool {
    let without = match path {
        FlowPath::Call | FlowPath::Aio => None,
        FlowPath::IoUring => Some(WITHOUT_IO_URING),
        FlowPath::Mapping => Some(WITHOUT_MAPPINGS),
    };
    state(capture, told_by(path))
        .is_some_and(|of| of.captured && !of.without.iter().any(|what| Some(what.as_str()) == without))
}

/// What `captures` can have lost of `layer`; `None` unless the books say so and can be believed, and all was recorded that was not
/// lost.
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

/// Whether a program that `layer` depends on was skipped. One that is for no layer's table serves all of them.
fn skipped(books: &Books, layer: Layer) -> bool {
    let concerns = |class: &str| Layer::parse(class).is_none_or(|of| of == layer);
    books.skipped.iter().any(|skipped| skipped.recursion > 0 && concerns(&skipped.class))
}

/// Whether something is missing of `layer` whose size no book has: bytes that a device counted and no row tells, calls of 32-bit
/// programs.
fn left_out(manifest: &Manifest, layer: Layer) -> bool {
    match layer {
        Layer::Block => devices::is_more_missing(manifest),
        Layer::Syscall => calls_of_unknown_size(&manifest.books),
        Layer::Vfs | Layer::Fs => false,
    }
}

/// Whether there were calls of which nobody knows what they moved.
fn calls_of_unknown_size(books: &Books) -> bool {
    let incomplete = &books.incomplete;
    incomplete.compat_calls > 0
        || (incomplete.unfinished_async > 0 && incomplete.unfinished_io.is_none())
        || books.without_row.iter().any(|without| without.io.is_none())
        || books.followed.iter().any(Followed::has_unknown_bytes)
}

#[cfg(test)]
pub(crate) mod tests;
