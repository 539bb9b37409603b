//! Rows that are there, held against those that were written: a capture is a folder, and folders are copied in part, filtered and
//! tidied up.

use iostrata_capture::census::Counted;
use iostrata_capture::op::Layer;
use iostrata_capture::{Capture, TableId};

use super::{Trust, about, by_layer};
use crate::aggregate::sequence::Subject;

/// What is done about a table of which not all rows are there, or too many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PartialRows {
    /// What depends on it is left out: it is not known, and not zero.
    #[default]
    LeftOut,
    /// What is there of it is analyzed, and is no total.
    Taken,
}

impl Trust {
    /// Holds what is there of `captures` against what was written. Names of files decide what is in the result where
    /// `selects_files`.
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
                        // Its own name tells which one it is.
                        let layers = if layers == counted.table.name() { String::new() } else { format!("{layers}: ") };
                        format!("left out: {layers}{line}; --partial-rows analyzes what is there")
                    }
                    PartialRows::LeftOut => format!("not as it was written: {line}"),
                });
                self.rows_there.push(line);
                self.distrust(counted, concerned, partial);
            }
        }
        self.is_partial = partial == PartialRows::Taken && !lines.is_empty();
        if self.is_partial {
            lines.push("partial rows: no total of the machine is given".to_owned());
        }
        lines.append(&mut self.notes);
        self.notes = lines;
        self.keep(|_| true);
    }

    fn distrust(&mut self, counted: &Counted, concerned: [bool; Layer::ALL.len()], partial: PartialRows) {
        self.complete = false;
        self.lost_events = None;
        let has_losses = counted.table == TableId::Loss && counted.is_off();
        let own = counted.table.layer();
        let lacking = counted.expected.map_or(0, |expected| expected.saturating_sub(counted.rows));
        for layer in Layer::ALL.iter().filter(|layer| concerned[**layer as usize] || has_losses) {
            let at = *layer as usize;
            self.missing[at].more = true;
            self.lost_io[at] = None;
            if own == Some(*layer) {
                self.missing[at].at_least = self.missing[at].at_least.saturating_add(lacking);
            }
            if concerned[at] && partial == PartialRows::LeftOut {
                self.withholds |= self.captured[at];
                self.captured[at] = false;
            }
        }
    }

    /// Whether what is about `subject` may be told: what is there of a part of the rows is no total.
    pub fn gives(&self, subject: &Subject) -> bool {
        !self.is_partial || *subject != Subject::All
    }
}

/// The layers whose numbers a table of which rows are missing, or too many, would make wrong.
fn concerned(counted: &Counted, selects_files: bool) -> [bool; Layer::ALL.len()] {
    // Whose operations all of them are depends on it. What says that it is another part is not read.
    let is_of_all =
        (counted.table == TableId::Process || (counted.table == TableId::File && selects_files)) && counted.is_off();
    by_layer(|layer| is_of_all || counted.table.layer() == Some(layer))
}

fn names(layers: [bool; Layer::ALL.len()]) -> String {
    let names = Layer::ALL.iter().filter(|layer| layers[**layer as usize]).map(|layer| layer.name());
    names.collect::<Vec<_>>().join(", ")
}
