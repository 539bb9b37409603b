//! `quality.csv`: data quality of captures, one check per row.

mod end;
mod imported;
mod sanity;
mod values;

use std::collections::{BTreeMap, HashMap};

use iostrata_capture::Capture;
use iostrata_capture::ledger::BoundedTable;
use iostrata_capture::manifest::{Counting, Manifest, State, WITHOUT_OWNERS};
use iostrata_capture::op::{Evidence, IoClass, Layer};
use iostrata_capture::row_check::Counted;
use iostrata_capture::system::without_owner;
use iostrata_capture::without_row::WithoutRow;

use crate::aggregate::count::DIRECTIONS;
use crate::aggregate::flow::Flows;
use crate::analyses::table::{Table, at_once};
use crate::frame::{self, ResultColumn, Value};
use crate::load::Known;
use crate::loss::Losses;
use crate::partial::Finished;
use crate::trust::{self, Trust, events};

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze quality --out DIR`: data quality of captures, one check per row.";

/// The table.
pub static TABLE: Table = Table {
    name: "quality",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        at_once(&columns(), rows(results.captures, results.known, &results.finished, &results.trust), take)
    },
};

/// Verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// No problem.
    Good,
    /// To consider when reading numbers.
    Note,
    /// Numbers may be wrong beyond their bounds and marks, or by an unknown amount.
    Bad,
}

impl Verdict {
    /// Name in `quality.csv`.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Note => "note",
            Verdict::Bad => "bad",
        }
    }
}

/// Result of a check.
#[derive(Clone)]
pub struct Row {
    /// `capture_id`; empty for all captures together.
    capture: String,
    /// Name of the check.
    pub check: &'static str,
    /// Verdict.
    pub verdict: Verdict,
    /// Finding, as text.
    pub found: String,
}

/// Maximum share of lost events; above it the verdict is bad.
const MOST_LOST: f64 = 0.001;

/// Maximum shares of unattributed data in the device bytes: for the verdict good, and for note.
const MOST_UNOWNED: [f64; 2] = [0.01, 0.05];

/// Maximum drift of a disciplined wall clock; more means that it was set.
const MOST_DRIFT_NS: u64 = 100_000_000;

/// Checks of each capture, then those of all together.
pub fn rows(captures: &[Capture], known: &Known, finished: &Finished, trust: &Trust) -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, (capture, losses)) in captures.iter().zip(&known.losses).enumerate() {
        let manifest = &capture.manifest;
        let of = |(check, verdict, found): Check| Row { capture: manifest.capture_id.clone(), check, verdict, found };
        let is_imported = manifest.is_imported();
        rows.extend(match is_imported {
            true => imported::checks(manifest, losses).into_iter().map(of).collect(),
            false => [recording(manifest), lost(manifest, losses), books(manifest, losses)].map(of).to_vec(),
        });
        rows.push(of(there(capture)));
        rows.extend((!is_imported).then(|| of(devices(manifest))));
        rows.extend(filter(manifest).map(of));
        rows.extend(Layer::ALL.iter().map(|at| of(layer(manifest, *at))));
        rows.extend((!is_imported).then(|| of(ends(manifest))));
        rows.extend(owners(manifest).map(of));
        rows.extend(run_queue(manifest).map(of));
        rows.push(of(sanity::counters(manifest)));
        rows.extend(sanity::followed(manifest).map(of));
        rows.extend(sanity::processes(number, manifest, finished, trust).map(of));
        rows.extend(sanity::classes(number, capture, finished, trust).map(of));
        rows.extend(sanity::maps(manifest).into_iter().map(of));
        rows.extend((!is_imported).then(|| of(clock(capture))));
        rows.extend(sampled(manifest).map(of));
        rows.extend(removed(capture).map(of));
        rows.extend(known.tails.get(number).and_then(|tail| end::check(capture, tail)).map(of));
    }
    let of = |(check, verdict, found): Check| Row { capture: String::new(), check, verdict, found };
    let has_owners = !captures.iter().any(|capture| trust::lacks(capture, Layer::Block, WITHOUT_OWNERS));
    rows.extend(trust.captured[Layer::Block as usize].then(|| of(attribution(finished, has_owners))));
    rows.extend(sanity::ratios(finished, trust).map(of));
    rows.push(of(values::check(finished)));
    rows
}

type Check = (&'static str, Verdict, String);

fn recording(manifest: &Manifest) -> Check {
    let (verdict, found) = match manifest.state {
        State::Complete => {
            let why = manifest.stop_reason.as_deref().unwrap_or("stop reason not known");
            (Verdict::Good, format!("complete ({why})"))
        }
        State::Recovered => (Verdict::Bad, "interrupted and recovered: losses at its end are unknown".to_owned()),
        State::Recording => (Verdict::Bad, "interrupted, or still running: losses are unknown".to_owned()),
    };
    ("recording", verdict, found)
}

fn lost(manifest: &Manifest, losses: &Losses) -> Check {
    let lost = losses.by_kind().values().fold(0u64, |sum, events| sum.saturating_add(*events));
    let seen = manifest.books.accounts.iter().fold(0u64, |sum, account| sum.saturating_add(account.seen));
    if manifest.state != State::Complete {
        let known = if lost == 0 { "no known losses".to_owned() } else { format!("at least {} lost", events(lost)) };
        return ("loss", Verdict::Bad, format!("{known}; losses at the end are unknown"));
    }
    // The maximum over the tables: a layer with few events must not be hidden by one with thousands of times as many.
    let mut by_class: HashMap<&str, (u64, u64)> = HashMap::new();
    for account in &manifest.books.accounts {
        let (of_class, seen) = by_class.entry(account.class.as_str()).or_default();
        *of_class = of_class.saturating_add(account.lost.total());
        *seen = seen.saturating_add(account.seen);
    }
    let shares = by_class.into_values().chain([(lost, seen)]);
    let shares = shares.map(|(lost, seen)| lost as f64 / seen.max(lost).max(1) as f64);
    let share = shares.fold(0.0, f64::max);
    let verdict = match share {
        0.0 => Verdict::Good,
        share if share <= MOST_LOST => Verdict::Note,
        _ => Verdict::Bad,
    };
    ("loss", verdict, format!("{lost} of {} lost, at most {} of a table", events(seen), percent(share)))
}

fn books(manifest: &Manifest, losses: &Losses) -> Check {
    let skipped: Vec<String> = manifest
        .books
        .skipped
        .iter()
        .filter(|skipped| skipped.recursion > 0)
        .map(|skipped| format!("program {} skipped {} times", skipped.program, skipped.recursion))
        .collect();
    let wrong: Vec<String> = trust::unbalanced_books(manifest).into_iter().chain(skipped).collect();
    let contradicted =
        (!losses.excess.is_empty()).then(|| "table loss has more events than the event accounting".to_owned());
    let wrong: Vec<String> = wrong.into_iter().chain(contradicted).collect();
    match wrong.as_slice() {
        [] => ("books", Verdict::Good, "all events are accounted for: recorded or lost".to_owned()),
        wrong => ("books", Verdict::Bad, wrong.join("; ")),
    }
}

/// Checks that the present rows are those that were written.
fn there(capture: &Capture) -> Check {
    let census = &capture.census;
    let wrong: Vec<String> = census.tables.iter().filter_map(Counted::line).collect();
    let rewritten = census.tables.iter().fold(0u64, |sum, counted| sum.saturating_add(counted.rewritten));
    let rows = census.tables.iter().fold(0u64, |sum, counted| sum.saturating_add(counted.rows));
    let is_recording = capture.manifest.state == State::Recording;
    let mut notes: Vec<String> = census.tables.iter().flat_map(|counted| counted.stray.iter().cloned()).collect();
    if rewritten > 0 {
        let parts = if rewritten == 1 { "1 part was".to_owned() } else { format!("{rewritten} parts were") };
        notes.insert(0, format!("{parts} rewritten by another program; the values of the rows cannot be checked"));
    }
    let there = match is_recording {
        true => format!("all listed parts are present; {rows} rows"),
        false => format!("all {rows} rows that were written and not removed are present once"),
    };
    let (verdict, found) = match (wrong.as_slice(), notes.as_slice()) {
        ([], []) => (Verdict::Good, there),
        ([], notes) => (Verdict::Note, format!("{there}; {}", notes.join("; "))),
        (wrong, _) => (Verdict::Bad, wrong.join("; ")),
    };
    ("rows", verdict, found)
}

fn devices(manifest: &Manifest) -> Check {
    let wrong = trust::unbalanced_devices(manifest);
    let remarks = trust::device_remarks(manifest);
    let counted = manifest.device_books.iter().filter(|book| book.counting != Counting::Never).count();
    // I/O of a device at the begin or end of the recording widens the interval of its counters; where it is wide there is a remark.
    let exactly = manifest.device_books.iter().all(|book| book.edges.is_zero());
    let how = if exactly { "" } else { ", except for I/O at its begin and end (within 1 %)" };
    let (verdict, found) = match (wrong.as_slice(), remarks.as_slice(), counted) {
        ([], [], 0) => (Verdict::Note, "not cross-checked: no device was recorded completely".to_owned()),
        ([], [], 1) => (Verdict::Good, format!("the rows of one device match the kernel's device counters{how}")),
        ([], [], all) => (Verdict::Good, format!("the rows of {all} devices match the kernel's device counters{how}")),
        ([], remarks, _) => (Verdict::Note, remarks.join("; ")),
        (wrong, _, _) => (Verdict::Bad, wrong.join("; ")),
    };
    ("devices", verdict, found)
}

fn filter(manifest: &Manifest) -> Option<Check> {
    let verdict = if trust::filter::is_bad(manifest) { Verdict::Bad } else { Verdict::Note };
    let found = trust::filter::line(manifest)?;
    Some(("filter", verdict, found.strip_prefix("filter: ").unwrap_or(&found).to_owned()))
}

fn layer(manifest: &Manifest, layer: Layer) -> Check {
    let check = match layer {
        Layer::Syscall => "layer syscall",
        Layer::Vfs => "layer vfs",
        Layer::Fs => "layer fs",
        Layer::Block => "layer block",
    };
    match manifest.layers.get(&layer) {
        None => (check, Verdict::Note, "not captured: the manifest does not name it".to_owned()),
        Some(state) if !state.captured => (check, Verdict::Note, format!("not captured: {}", state.how)),
        Some(state) if !state.without.is_empty() => {
            (check, Verdict::Note, format!("captured ({}), without {}", state.how, state.without.join(", ")))
        }
        Some(state) => (check, Verdict::Good, format!("captured ({})", state.how)),
    }
}

fn ends(manifest: &Manifest) -> Check {
    let incomplete = manifest.books.incomplete;
    let without_row = manifest.books.without_row.iter().map(WithoutRow::text);
    let counts = [
        (incomplete.unseen_ends, "requests without a recorded completion"),
        (incomplete.unidentified_requests, "requests without a recorded submitter"),
        (
            incomplete.unfinished_requests,
            "requests of disks without counters, in flight at the stop or without a recorded completion",
        ),
        (incomplete.short_requests, "requests that took less than the minimum latency, not recorded"),
        (incomplete.earlier_calls, "calls in flight when the recording began"),
        (incomplete.unfinished_async, "operations of aio or io_uring in flight at the stop"),
        (incomplete.unfinished_calls, "system calls in flight at the stop"),
        (incomplete.compat_calls, "system calls by the 32-bit entry, which are not recorded"),
    ];
    let found: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .chain(without_row)
        .collect();
    match found.as_slice() {
        [] => ("operations", Verdict::Good, "all were recorded from start to end".to_owned()),
        found => ("operations", Verdict::Note, found.join(", ")),
    }
}

/// Checks that calls have a run-queue latency, if it was requested.
fn run_queue(manifest: &Manifest) -> Option<Check> {
    let (verdict, found) = match manifest.books.incomplete.unmeasured_calls {
        0 => (Verdict::Good, "all system calls have a run-queue latency".to_owned()),
        calls => (Verdict::Note, format!("{calls} system calls without a run-queue latency")),
    };
    manifest.run_queue.then_some(("run queue", verdict, found))
}

/// Use of the tables that attribute dirty pages, if the manifest has it.
fn owners(manifest: &Manifest) -> Option<Check> {
    let books = &manifest.books;
    let filled: Vec<String> = books
        .tables
        .iter()
        .map(|table| {
            let BoundedTable { name, entries, given, forgotten } = table;
            let forgotten = if *forgotten > 0 { format!(", {forgotten} evicted") } else { String::new() };
            format!("{name}: {given} added, capacity {entries}{forgotten}")
        })
        .collect();
    let bytes = books.incomplete.forgotten_owner_bytes;
    let forgot = bytes > 0 || books.tables.iter().any(|table| table.forgotten > 0);
    let effect = (bytes > 0).then(|| format!("{bytes} bytes written are unattributed because their owner was evicted"));
    let found = effect.into_iter().chain(filled).collect::<Vec<_>>().join("; ");
    let verdict = if forgot { Verdict::Note } else { Verdict::Good };
    (!found.is_empty()).then_some(("owners", verdict, found))
}

fn clock(capture: &Capture) -> Check {
    if capture.manifest.clock.pairs.is_empty() && capture.wall.steps().is_empty() {
        return ("clock", Verdict::Note, "the manifest has no wall-clock times".to_owned());
    }
    let away_ns = capture.wall.steps().iter().map(|(_, ahead_ns)| ahead_ns.unsigned_abs()).max().unwrap_or_default();
    let found = format!("wall-clock drift: {:.3} s", away_ns as f64 / 1e9);
    if away_ns <= MOST_DRIFT_NS {
        return ("clock", Verdict::Good, found);
    }
    (
        "clock",
        Verdict::Note,
        format!("{found}; the clock was set, or the machine slept; durations and order are not affected"),
    )
}

fn sampled(manifest: &Manifest) -> Option<Check> {
    let sampling = manifest.sampling.filter(|_| manifest.greatest_weight() > 1)?;
    let (greatest, ms) = (sampling.greatest_weight, sampling.sampled_ms);
    let found =
        format!("sampled for {} s, weight of a row up to {greatest}: sums and percentiles are estimates", ms / 1_000);
    Some(("sampling", Verdict::Note, found))
}

fn removed(capture: &Capture) -> Option<Check> {
    let rows = capture.list.removed().fold(0u64, |sum, removed| sum.saturating_add(removed.rows));
    let found =
        format!("{rows} rows were removed to keep within --max-disk: the capture begins later than the recording");
    capture.list.removed_until_ns().map(|_| ("begin", Verdict::Note, found))
}

/// Certainty of the attribution of device bytes.
fn attribution(finished: &Finished, has_owners: bool) -> Check {
    if !has_owners {
        // A missing attribution is a note: there is no wrong one.
        let found = "an imported trace has no owners: systems, processes and files of requests are not known";
        return ("attribution", Verdict::Note, found.to_owned());
    }
    let unowned = without_owner(IoClass::Data);
    let nobodys = finished.systems.called(unowned);
    // I/O that may match the filter is unattributed too.
    let doubtful = DIRECTIONS
        .iter()
        .fold(0u64, |sum, direction| sum.saturating_add(finished.doubtful.moved(Layer::Block, *direction).bytes));
    let nobodys = nobodys.map_or(0, |system| system.flows().device()).saturating_add(doubtful);
    let all = finished.total_flows.device().saturating_add(doubtful);
    if all == 0 {
        return ("attribution", Verdict::Note, "the devices moved no bytes".to_owned());
    }
    let share = |bytes: u64| bytes as f64 / all as f64;
    let by_evidence = evidence(&finished.total_flows);
    let several = by_evidence.get(&Evidence::Folio).copied().unwrap_or_default();
    let verdict = match share(nobodys) {
        share if share > MOST_UNOWNED[1] => Verdict::Bad,
        share if share > MOST_UNOWNED[0] => Verdict::Note,
        // The bounds include its effect.
        _ if share(several) > MOST_UNOWNED[0] => Verdict::Note,
        _ => Verdict::Good,
    };
    let by_evidence = by_evidence.into_iter().filter(|(_, bytes)| *bytes > 0);
    let by_evidence: Vec<String> =
        by_evidence.map(|(evidence, bytes)| format!("{evidence} {}", percent(share(bytes)))).collect();
    let mut found = format!(
        "unattributed data: {} of the device bytes; evidence of owners: {}",
        percent(share(nobodys)),
        by_evidence.join(", ")
    );
    if several > 0 {
        found += &format!(
            "; {several} bytes of pages or folios that several processes may have modified are attributed to the last one"
        );
    }
    ("attribution", verdict, found)
}

fn evidence(flows: &Flows) -> BTreeMap<Evidence, u64> {
    let of = |evidence: &Evidence| {
        DIRECTIONS.iter().fold(0u64, |sum, direction| sum.saturating_add(flows.get(*direction).of_evidence(*evidence)))
    };
    Evidence::ALL.iter().map(|evidence| (*evidence, of(evidence))).collect()
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    // A nonzero share is not shown as 0.
    if percent > 0.0 && percent < 0.001 { "< 0.001 %".to_owned() } else { format!("{percent:.3} %") }
}

/// Worst of all verdicts.
pub fn worst(rows: &[Row]) -> Verdict {
    rows.iter().map(|row| row.verdict).max().unwrap_or(Verdict::Good)
}

fn text(name: &str, doc: &str, value: impl Fn(&Row) -> &str + 'static) -> ResultColumn<Row> {
    ResultColumn { name: name.into(), doc: doc.into(), value: Value::Text(Box::new(value)) }
}

/// The columns, in order.
pub fn columns() -> Vec<ResultColumn<Row>> {
    vec![
        text("capture", "`capture_id` of the manifest; empty for all captures together.", |row| &row.capture),
        text(
            "check",
            "Name of the check: `recording`, `loss`, `books` (event accounting), `rows` (the present rows are those that were written), `devices` (rows against the kernel's device counters), `filter`, each layer (`layer syscall`, …), \
             `run queue` (calls without a run-queue latency), `operations` (without start or end), `begun` (operations begun = ended + in flight), \
             `processes` (calls of each process against `/proc/PID/io`), `owners` (evicted owners of dirty pages), `counters` (invalid values), `classes` \
             (device bytes by class against those that the recorder wrote), a `map` for each bounded table of the kernel side, `clock` (wall-clock drift), `sampling`, \
             `begin` (removed parts), `end` (time up to which an interrupted capture is complete), `attribution`, `ratios` (reason for one below 1 or above 100), \
             `values` (invalid sizes, durations and weights, and sums beyond 2^63).",
            |row| row.check,
        ),
        text(
            "verdict",
            "`good`; `note`: to consider when reading numbers; `bad`: numbers may be wrong beyond their bounds and marks, or by an unknown amount. \
             Loss is bad above 0.1 % of the events of a table, unattributed data above 5 % of the device bytes (a note above 1 %).",
            |row| row.verdict.name(),
        ),
        text("found", "Finding, as text.", |row| &row.found),
    ]
}
