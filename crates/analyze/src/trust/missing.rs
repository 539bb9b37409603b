//! Number of missing rows of a layer, as far as known.

use iostrata_capture::manifest::{Manifest, State};
use iostrata_capture::op::Layer;
use iostrata_capture::{Capture, TableId};

use super::{books, left_out, skipped};
use crate::loss::Losses;
use crate::select::Window;

/// Missing rows of a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// Number of rows known to be missing.
    pub at_least: u64,
    /// Whether more may be missing.
    pub more: bool,
}

/// Returns the missing rows of `layer` in all of `captures`, of events that began in these windows of each.
pub fn of(captures: &[Capture], losses: &[Losses], windows: &[Window], layer: Layer) -> Missing {
    let mut sum = Missing::default();
    for ((capture, losses), window) in captures.iter().zip(losses).zip(windows) {
        // Events lost before the window began before it. The start of events lost later is unknown, so they all count.
        let left_out = window.after_ns.map_or(0, |after_ns| losses.until(layer.table(), after_ns));
        let known = losses.of_table(layer.table()).saturating_sub(left_out);
        sum.at_least = sum.at_least.saturating_add(known);
        sum.more |= more(&capture.manifest, losses, layer);
    }
    sum
}

fn more(manifest: &Manifest, losses: &Losses, layer: Layer) -> bool {
    manifest.state != State::Complete
        || books::unbalanced(&manifest.books).next().is_some()
        || skipped(&manifest.books, layer)
        || left_out(manifest, layer)
        || !losses.excess.is_empty()
        // Their table is unknown.
        || losses.of_table(None) > 0
        // Operations of a process without a record are missing in some rows and too many in others.
        || losses.of_table(TableId::Process) > 0
}
