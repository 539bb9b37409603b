//! `loss.csv`, one row for each episode, and the same in a few lines for the terminal.

use iostrata_capture::manifest::State;
use iostrata_capture::{Capture, TableId};

use crate::frame::{ResultColumn, Value};
use crate::loss::episodes::Stretch;
use crate::loss::{Kind, Losses};
use crate::partial::Finished;
use crate::time::utc;
use crate::trust::{self, Trust};

/// What the table is.
pub const DOC: &str = "What was lost when: one row for each time, table and cause, seconds that touch taken together; then what was lost at no \
    known time. For each table and cause the rows add up to the books in the manifest, of a recording that was cut off to its \
    table `loss`; what is not as it was written has a row of its own beside these. Times are those at which a loss was told: of events that the recorder had and could not write that is up to \
    a flush interval after they happened.";

/// How many episodes the terminal shows.
const SHOWN: usize = 5;

/// The causes of rows that are in the books, or in the list of parts, and not there; of more rows than were written; of rows that are not in the
/// parts that were written, though as many.
const NOT_THERE: &str = "not_there";
const TOO_MANY: &str = "too_many";
const CHANGED: &str = "changed";

/// The cause of what a recording that was cut off may have lost after all that is known.
const CUT_OFF: &str = "cut_off";

/// What a row is made from.
pub struct Row {
    number: usize,
    capture: String,
    kind: Kind,
    /// None where it is not known when.
    stretch: Option<Stretch>,
    /// From when on it may have been, of what nobody knows the amount of.
    since_ns: Option<i64>,
    events: Option<u64>,
    /// Rows of the table that ended in that time.
    rows: Option<u64>,
}

impl Row {
    fn share(&self) -> Option<f64> {
        let (lost, rows) = (self.events?, self.rows?);
        // In numbers that have room for both.
        (lost > 0).then(|| lost as f64 / (lost as f64 + rows as f64))
    }
}

/// One row for each episode of each capture, in order of time, and after them what has none.
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
            let counts = finished.during.of(number, table);
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
            // Up to that moment all is there, or is in a row above.
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
        text("table", "The table that the events belong to; empty where it is not known, or all.", |row| {
            row.kind.table_name()
        }),
        text(
            "cause",
            "Why, as in `loss`; beside that `unseen_end` (a call, or an operation of aio or io_uring, that is over and has no row; of earlier recorders a request, too), \
             `skipped` (a program that the kernel did not run; one may be of several events), `cut_off` (what a recording, or a trace, that \
             was cut off lacks from `since_ns` on, which is not known), and, of a table that is not as it was written, `not_there` \
             (rows were written and are not there), `too_many` (more are there than were written) or `changed` (as many, but of other parts). \
             Empty where it is not known.",
            |row| row.kind.cause,
        ),
        integer(
            "since_ns",
            "After when, in the time of `ts_ns`; empty where nothing tells, as of what only the end of a recording tells.",
            move |row| nanoseconds(row.since_ns),
        ),
        integer("until_ns", "Until when.", move |row| {
            nanoseconds(row.stretch.as_ref().map(|stretch| stretch.until_ns))
        }),
        integer(
            "times",
            "How many times apart from each other it is: 1, unless there were more than 1000 of this table and cause, of which \
             neighbours were joined.",
            |row| row.stretch.as_ref().map(|stretch| stretch.times),
        ),
        integer("cpus", "On how many CPUs they completed.", |row| {
            row.stretch.as_ref().map(|stretch| stretch.cpus.len() as u64)
        }),
        integer("lost_events", "How many were lost; empty where nobody knows.", |row| row.events),
        integer(
            "rows",
            "Rows of that table that ended in this time, also between the several times of one row; of `not_there`, `too_many` and `changed` all that are \
             there. Empty where they were not counted (`share`, `process`, `file`), and \
             where some of them were removed to keep the capture within `--max-disk`.",
            |row| row.rows,
        ),
        ResultColumn {
            name: "lost_share".into(),
            doc: "`lost_events` / (`lost_events` + `rows`). What other causes took in this time is not in it.".into(),
            value: Value::Number(Box::new(Row::share)),
        },
    ]
}

/// What a reader of the result should know of `rows`, a line each: the largest losses, in order of time.
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
            say(format!("lost at no known time: {}", by_table(untimed)));
        }
        for excess in &of.excess {
            say(format!(
                "table loss and the books do not agree: {} of {}, but {} in the books",
                trust::events(excess.told),
                name(excess.kind),
                excess.booked
            ));
        }
    }
    notes
}

/// The largest of `timed`, in order of time, and what the others come to.
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
        lines.push(format!("and {events} at {} more {times}, all of which are in loss.csv (--out)", others.len()));
    }
    lines
}

/// What is known of the losses of a capture that was cut off.
fn at_least(capture: &Capture, losses: &Losses) -> Option<String> {
    losses.told_until_ns.filter(|_| capture.manifest.state != State::Complete)?;
    let until_ns = capture.whole_until_ns.or(losses.told_until_ns)?;
    let by_kind = losses.by_kind();
    let events = by_kind.values().fold(0u64, |sum, events| sum.saturating_add(*events));
    Some(format!(
        "lost at least {} until {}: {}; what was lost after that is not known",
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
        text.push_str(&format!("{events} {}", if kind.cause.is_empty() { "for an unknown cause" } else { kind.cause }));
    }
    text
}

fn name(kind: Kind) -> String {
    let table = kind.table.map_or("a table that is not known", TableId::name);
    let cause = if kind.cause.is_empty() { "cause not known" } else { kind.cause };
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
        line.push_str(&format!(", {} of all in that time", percent(share)));
    }
    if stretch.times > 1 {
        line.push_str(&format!("; {} times, joined because there were too many to tell apart", stretch.times));
    }
    line
}

/// A share of something that is there: never rounded to nothing, nor to all where something is left.
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
