//! How many rows of a layer are missing, as far as that is known.

use iostrata_capture::manifest::{Manifest, State};
use iostrata_capture::op::Layer;
use iostrata_capture::{Capture, TableId};

use super::{books, left_out, skipped};
use crate::loss::Losses;
use crate::select::Window;

/// Rows that a layer lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// Those that are known of.
    pub at_least: u64,
    /// Whether there may be more.
    pub more: bool,
}

/// What all of `captures` together lack of `layer`, of events that began in these times of each.
pub fn of(captures: &[Capture], losses: &[Losses], windows: &[Window], layer: Layer) -> Missing {
    let mut sum = Missing::default();
    for ((capture, losses), window) in captures.iter().zip(losses).zip(windows) {
        // What was over by then had begun before. When what was lost later had begun, nobody knows.
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
        // Nobody knows of which table they were.
        || losses.of_table(None) > 0
        // Whose operations are those of a process that was never told? Some rows lack them, and others have them too many.
        || losses.of_table(TableId::Process) > 0
}
