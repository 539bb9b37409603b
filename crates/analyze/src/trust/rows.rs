//! Present rows, checked against those that were written: a capture is a folder, and folders are copied in part, filtered and
//! cleaned up. A recorder can also have left out rows itself (`--min-latency`).

use iostrata_capture::manifest::State;
use iostrata_capture::op::Layer;
use iostrata_capture::row_check::Counted;
use iostrata_capture::{Capture, TableId};

use super::{Trust, about, by_layer};
use crate::aggregate::sequence::Subject;

/// Treatment of a table with missing or surplus rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PartialRows {
    /// Excludes everything that depends on it: not known, not zero.
    #[default]
    LeftOut,
    /// Analyzes the present rows, without totals.
    Taken,
}

impl Trust {
    /// Checks the present rows of `captures` against those that were written. With `selects_files`, names of files select the rows of the
    /// result.
    pub fn count(&mut self, captures: &[Capture], partial: PartialRows, selects_files: bool) {
        let mut lines = Vec::new();
        for capture in captures {
            for counted in &capture.census.tables {
                let Some(line) = counted.line() else { continue };
                let line = format!("{}{line}", about(captures, capture));
                let concerned = concerned(counted, selects_files);
                lines.push(match partial {
                    PartialRows::Taken => format!("partial rows: {line}"),
                    PartialRows::LeftOut if concerned.contains(&true) => {
                        let layers = names(concerned);
                        // The line begins with the table's own name.
                        let layers = if layers == counted.table.name() { String::new() } else { format!("{layers}: ") };
                        format!("excluded: {layers}{line}; --partial-rows analyzes the present rows")
                    }
                    PartialRows::LeftOut => format!("not as written: {line}"),
                });
                self.rows_there.push(line);
                self.complete = false;
                self.distrust(counted, concerned, partial);
            }
            if let Some(line) = slow_only(capture).map(|line| format!("{}{line}", about(captures, capture))) {
                lines.push(match partial {
                    PartialRows::Taken => format!("partial rows: {line}"),
                    PartialRows::LeftOut => format!("excluded: {line}; --partial-rows analyzes these"),
                });
                self.rows_there.push(line);
                self.take_in_part(Layer::Block, partial);
            }
        }
        self.is_partial = partial == PartialRows::Taken && !lines.is_empty();
        if self.is_partial {
            lines.push("partial rows: there are no machine totals".to_owned());
        }
        lines.append(&mut self.notes);
        self.notes = lines;
        self.keep(|_| true);
    }

    fn distrust(&mut self, counted: &Counted, concerned: [bool; Layer::ALL.len()], partial: PartialRows) {
        self.lost_events = None;
        let has_losses = counted.table == TableId::Loss && counted.is_off();
        let own = counted.table.layer();
        let lacking = counted.expected.map_or(0, |expected| expected.saturating_sub(counted.rows));
        for layer in Layer::ALL.iter().filter(|layer| concerned[**layer as usize] || has_losses) {
            let at = *layer as usize;
            if own == Some(*layer) {
                self.missing[at].at_least = self.missing[at].at_least.saturating_add(lacking);
            }
            self.take_in_part(*layer, if concerned[at] { partial } else { PartialRows::Taken });
        }
    }

    /// Takes the present rows of a layer in which an unknown number is missing, or none of them.
    fn take_in_part(&mut self, layer: Layer, partial: PartialRows) {
        let at = layer as usize;
        self.missing[at].more = true;
        self.lost_io[at] = None;
        if partial == PartialRows::LeftOut {
            self.withholds |= self.captured[at];
            self.captured[at] = false;
        }
    }

    /// Whether `subject` has results: partial rows have no total.
    pub fn gives(&self, subject: &Subject) -> bool {
        !self.is_partial || *subject != Subject::All
    }
}

/// Describes the requests of a capture that has only slow ones; none if it has all.
fn slow_only(capture: &Capture) -> Option<String> {
    let manifest = &capture.manifest;
    let least = manifest.filters.min_latency()?;
    manifest.layers.get(&Layer::Block).filter(|state| state.captured)?;
    let rows = manifest.books.by_class().iter().find(|of| of.class == TableId::Block.name()).map_or(0, |of| of.written);
    Some(match manifest.state {
        State::Complete => format!(
            "block: {rows} requests of {}, without those that took less than {least}",
            rows.saturating_add(manifest.books.incomplete.short_requests)
        ),
        _ => format!("block: requests without those that took less than {least}"),
    })
}

/// Returns the layers with wrong numbers if a table has missing or surplus rows.
fn concerned(counted: &Counted, selects_files: bool) -> [bool; Layer::ALL.len()] {
    // The attribution of all operations depends on these tables. Foreign parts are not read and do not count.
    let is_of_all =
        (counted.table == TableId::Process || (counted.table == TableId::File && selects_files)) && counted.is_off();
    by_layer(|layer| is_of_all || counted.table.layer() == Some(layer))
}

fn names(layers: [bool; Layer::ALL.len()]) -> String {
    let names = Layer::ALL.iter().filter(|layer| layers[**layer as usize]).map(|layer| layer.name());
    names.collect::<Vec<_>>().join(", ")
}
