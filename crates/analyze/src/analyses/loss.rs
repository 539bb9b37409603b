//! `loss.csv`: one row for each loss episode, and a short text for the terminal.

use iostrata_capture::manifest::State;
use iostrata_capture::{Capture, TableId};

use crate::analyses::table::{Table, at_once};
use crate::entity::CaptureNumber;
use crate::frame::{self, ResultColumn, Value};
use crate::loss::episodes::Stretch;
use crate::loss::{Kind, Losses};
use crate::page::listing::Listing;
use crate::partial::Finished;
use crate::time::utc;
use crate::trust::{self, Trust};

/// Documentation of the table.
const DOC: &str = "Lost events over time: one row for each time, table and cause, with adjacent seconds joined; then losses at an unknown \
    time. For each table and cause the rows sum to the event accounting in the manifest, for an interrupted recording to its \
    table `loss`. A table that is not as it was written has an additional row. Times are those at which a loss was reported: for events that the recorder received and could not write, up to \
    a flush interval after they happened.";

/// The table.
pub static TABLE: Table = Table {
    name: "loss",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        at_once(&columns(), rows(results.captures, &results.known.losses, &results.finished, &results.trust), take)
    },
};

/// Number of episodes that the terminal shows.
const SHOWN: usize = 5;

/// Causes of rows that are in the event accounting, or in the list of parts, and missing; of more rows than were written; of as many rows as were
/// written, but in other parts.
const NOT_THERE: &str = "not_there";
const TOO_MANY: &str = "too_many";
const CHANGED: &str = "changed";

/// Cause of unknown losses at the end of an interrupted recording.
const CUT_OFF: &str = "cut_off";

/// Its selection on the page.
pub static LISTING: Listing = Listing {
    title: "Lost events",
    table: &TABLE,
    only: None,
    by: Some("lost_events"),
    most: 20,
    columns: &[("table", "table"), ("cause", "cause"), ("lost", "lost_events"), ("share", "lost_share")],
    texts: 2,
};

/// Source of a row.
pub struct Row {
    number: usize,
    capture: String,
    kind: Kind,
    /// Time; `None` if unknown.
    stretch: Option<Stretch>,
    /// Earliest time of a loss of unknown size.
    since_ns: Option<i64>,
    events: Option<u64>,
    /// Rows of the table that ended in that time.
    rows: Option<u64>,
}

impl Row {
    fn share(&self) -> Option<f64> {
        let (lost, rows) = (self.events?, self.rows?);
        // As floats: the sum may exceed the integers.
        (lost > 0).then(|| lost as f64 / (lost as f64 + rows as f64))
    }
}

/// Rows of all episodes of each capture by time, then losses without a time.
pub fn rows(captures: &[Capture], losses: &[Losses], finished: &Finished, trust: &Trust) -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, (capture, of)) in captures.iter().zip(losses).enumerate() {
        let manifest = &capture.manifest;
        let capture_id = &manifest.capture_id;
        let whole_from_ns = capture.list.removed_until_ns();
        let rows_during = |kind: Kind, stretch: &Stretch| {
            let table = kind.table?;
            let windows = of.windows(table)?;
            let removed = whole_from_ns.is_some_and(|from_ns| stretch.since_ns <= from_ns);
            let counts = finished.during.of(CaptureNumber::new(number, capture_id), table);
            let counted = table.layer().is_some_and(|layer| trust.captured[layer as usize]) && !removed;
            counted.then(|| windows.between(counts, stretch.since_ns, stretch.until_ns))
        };
        let row = |kind, stretch: Option<Stretch>, events| Row {
            number,
            capture: capture_id.clone(),
            kind,
            since_ns: stretch.as_ref().map(|stretch| stretch.since_ns),
            rows: stretch.as_ref().and_then(|stretch| rows_during(kind, stretch)),
            stretch,
            events,
        };
        rows.extend(of.episodes.iter().map(|(kind, stretch)| row(*kind, Some(stretch.clone()), Some(stretch.events))));
        rows.extend(of.untimed.iter().map(|(kind, events)| row(*kind, None, Some(*events))));
        for counted in capture.census.tables.iter().filter(|counted| counted.differs()) {
            let (cause, events) = match counted.expected {
                Some(expected) if counted.rows < expected => (NOT_THERE, Some(expected - counted.rows)),
                Some(expected) if counted.rows > expected => (TOO_MANY, None),
                _ => (CHANGED, None),
            };
            let there = row(Kind { table: Some(counted.table), cause }, None, events);
            rows.push(Row { rows: Some(counted.rows), ..there });
        }
        if manifest.state != State::Complete {
            let unknown = row(Kind { table: None, cause: CUT_OFF }, None, None);
            // Up to that time all events are recorded, or lost in a row above.
            rows.push(Row { since_ns: capture.whole_until_ns.or(of.told_until_ns), ..unknown });
        }
    }
    rows
}

fn text(name: &str, doc: &str, value: impl Fn(&Row) -> &str + 'static) -> ResultColumn<Row> {
    ResultColumn { name: name.into(), doc: doc.into(), value: Value::Text(Box::new(value)) }
}

fn integer(name: &str, doc: &str, value: impl Fn(&Row) -> Option<u64> + 'static) -> ResultColumn<Row> {
    ResultColumn { name: name.into(), doc: doc.into(), value: Value::Integer(Box::new(value)) }
}

/// The columns, in order.
pub fn columns() -> Vec<ResultColumn<Row>> {
    let nanoseconds = |ns: Option<i64>| ns.and_then(|ns| u64::try_from(ns).ok());
    vec![
        text("capture", "`capture_id` in its manifest.", |row| &row.capture),
        text("table", "Table of the events; empty when it is not known, or all tables.", |row| row.kind.table_name()),
        text(
            "cause",
            "Cause, as in `loss`; in addition `unseen_end` (a call, or an operation of aio or io_uring, that ended without a row; with earlier recorders also a block request), \
             `skipped` (the kernel did not run a program; one run may stand for several events), `cut_off` (unknown losses of an interrupted \
             recording, or of a truncated trace, from `since_ns` on), and, for a table that is not as it was written, `not_there` \
             (written rows are missing), `too_many` (more rows exist than were written) or `changed` (as many rows, but in other parts). \
             Empty when not known.",
            |row| row.kind.cause,
        ),
        integer(
            "since_ns",
            "Start of the time in ns, exclusive, on the clock of `ts_ns`; empty when not known, as for losses that are only reported at the end of a recording.",
            move |row| nanoseconds(row.since_ns),
        ),
        integer("until_ns", "End of the time in ns, inclusive.", move |row| {
            nanoseconds(row.stretch.as_ref().map(|stretch| stretch.until_ns))
        }),
        integer(
            "times",
            "Number of separate times in this row: 1, unless there were more than 1000 for this table and cause, in which case \
             neighbours were joined.",
            |row| row.stretch.as_ref().map(|stretch| stretch.times),
        ),
        integer("cpus", "Number of CPUs on which the events completed.", |row| {
            row.stretch.as_ref().map(|stretch| stretch.cpus.len() as u64)
        }),
        integer("lost_events", "Number of lost events; empty when not known.", |row| row.events),
        integer(
            "rows",
            "Number of rows of the table that ended in this time, also between joined times; for `not_there`, `too_many` and `changed` all existing \
             rows. Empty when they were not counted (`share`, `process`, `file`), and \
             when some of them were removed to keep the capture within `--max-disk`.",
            |row| row.rows,
        ),
        ResultColumn {
            name: "lost_share".into(),
            doc: "`lost_events` / (`lost_events` + `rows`). Losses of other causes in this time are not included."
                .into(),
            value: Value::Number(Box::new(Row::share)),
        },
    ]
}

/// Notes on the losses in `rows`, one per line: the largest, by time.
pub fn notes(captures: &[Capture], losses: &[Losses], rows: &[Row]) -> Vec<String> {
    let mut notes = Vec::new();
    for (number, (capture, of)) in captures.iter().zip(losses).enumerate() {
        let about = trust::about(captures, capture);
        let mut say = |line: String| notes.push(format!("{about}{line}"));
        at_least(capture, of).into_iter().for_each(&mut say);
        let timed: Vec<&Row> = rows.iter().filter(|row| row.number == number && row.stretch.is_some()).collect();
        episodes(capture, &timed).into_iter().for_each(&mut say);
        if !of.untimed.is_empty() {
            let untimed = of.untimed.iter().map(|(kind, events)| (*kind, *events));
            say(format!("lost at an unknown time: {}", by_table(untimed)));
        }
        for excess in &of.excess {
            say(format!(
                "table loss and the event accounting are inconsistent: {} of {}, but {} in the event accounting",
                trust::events(excess.told),
                name(excess.kind),
                excess.booked
            ));
        }
    }
    notes
}

/// Lines of the largest of `timed`, by time, and the sum of the others.
fn episodes(capture: &Capture, timed: &[&Row]) -> Vec<String> {
    let mut places: Vec<usize> = (0..timed.len()).collect();
    places.sort_by_key(|place| std::cmp::Reverse(timed[*place].events));
    let (shown, others) = places.split_at_mut(SHOWN.min(timed.len()));
    shown.sort_unstable();
    let line = |place: &usize| timed[*place].stretch.as_ref().map(|stretch| when(capture, timed[*place], stretch));
    let mut lines: Vec<String> = shown.iter().filter_map(line).collect();
    if !others.is_empty() {
        let events = others.iter().filter_map(|place| timed[*place].events).fold(0, u64::saturating_add);
        let times = if others.len() == 1 { "time" } else { "times" };
        let events = trust::events(events);
        lines.push(format!("and {events} at {} more {times}; loss.csv (--out) has all", others.len()));
    }
    lines
}

/// Known losses of an interrupted recording.
fn at_least(capture: &Capture, losses: &Losses) -> Option<String> {
    losses.told_until_ns.filter(|_| capture.manifest.state != State::Complete)?;
    let until_ns = capture.whole_until_ns.or(losses.told_until_ns)?;
    let by_kind = losses.by_kind();
    let events = by_kind.values().fold(0u64, |sum, events| sum.saturating_add(*events));
    Some(format!(
        "lost at least {} until {}: {}; later losses are not known",
        trust::events(events),
        utc(capture, until_ns),
        by_table(by_kind.into_iter())
    ))
}

/// `syscall 10 ring_full, 1 channel_full; block 2 unseen_end`.
fn by_table(sums: impl Iterator<Item = (Kind, u64)>) -> String {
    let mut text = String::new();
    let mut last = None;
    for (kind, events) in sums {
        let table = kind.table.map_or("any table", TableId::name);
        match last.replace(kind.table) {
            Some(before) if before == kind.table => text.push_str(", "),
            Some(_) => text.push_str(&format!("; {table} ")),
            None => text.push_str(&format!("{table} ")),
        }
        text.push_str(&format!("{events} {}", if kind.cause.is_empty() { "of unknown cause" } else { kind.cause }));
    }
    text
}

fn name(kind: Kind) -> String {
    let table = kind.table.map_or("an unknown table", TableId::name);
    let cause = if kind.cause.is_empty() { "unknown cause" } else { kind.cause };
    format!("{table} ({cause})")
}

fn when(capture: &Capture, row: &Row, stretch: &Stretch) -> String {
    let mut line = format!(
        "{} to {}: lost {} of {}",
        utc(capture, stretch.since_ns),
        utc(capture, stretch.until_ns),
        trust::events(stretch.events),
        name(row.kind)
    );
    if let Some(share) = row.share() {
        line.push_str(&format!(", {} of all events in that time", percent(share)));
    }
    if stretch.times > 1 {
        line.push_str(&format!("; {} separate times, joined because there were too many", stretch.times));
    }
    line
}

/// Formats a nonzero share: never rounded to 0 %, nor to 100 % unless exact.
fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent < 0.1 => "less than 0.1 %".to_owned(),
        percent if percent > 99.9 && percent < 100.0 => "more than 99.9 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_rounded_to_nothing_or_all() {
        let shares = [1e-9, 0.001, 0.5, 0.999_99, 1.0].map(percent);
        assert_eq!(shares, ["less than 0.1 %", "0.1 %", "50.0 %", "more than 99.9 %", "100.0 %"]);
    }
}
