//! `iostat.csv`: rates, sizes, latency, queue depth and utilization of each disk by time window.

use std::rc::Rc;

use iostrata_capture::op::Layer;

use super::aggregate::{Finished, Iostat, Kind, Kinds, Requests};
use super::busy::{Busy, Idle};
use crate::aggregate::count::average;
use crate::aggregate::in_order::OrderedAggregate;
use crate::aggregate::sequence::Subject;
use crate::aggregate::windowed::overlap_ns;
use crate::analyses::subject::{self, Named};
use crate::analyses::table::{Table, at_once};
use crate::entity::Entity;
use crate::frame::{self, ResultColumn};
use crate::names::Names;
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze iostat --out DIR`: one row for each time window and each disk with at least one request, windows without \
    requests included. Which disks: those of the selected level (`--level`, by default the lowest, so no dm, md or loop device above a recorded disk). A request \
    counts in the window in which it completed, as in `iostat -x`; one of unknown duration in that in which it began. Without `--window`, windows are one second long; \
    their length is doubled until there are at most 5000 windows and 65536 rows. With `--window` and more than 10000 windows or 65536 rows, the command fails and names the \
    smallest possible length. Rates, `avg_in_flight` and `utilization` are relative to `covered_ns`. With filters only matching requests count. `--since` and `--until` select by \
    begin: requests in flight at `--since` are missing. Differences from iostat: a request begins when its first bio is queued (Q2C), so waiting for a free request (tag) is \
    included; utilization is computed from begin and end of each request, not from clock ticks; in flight is the mean over time, not the sum of the durations of what completed. As \
    in iostat, an empty flush request counts as a write of 0 bytes, and the flush command to the device as a flush. Passthrough commands (driver commands) count only in \
    `avg_in_flight` and `utilization`.";

/// The table.
pub static TABLE: Table = Table {
    name: "iostat",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        let (requests, busy) = (results.finished.of::<Iostat>()?, results.finished.order.of::<Busy>()?);
        at_once(&columns(), rows(requests, busy, results.names, &results.trust), take)
    },
};

/// Source of a row.
pub struct Row {
    named: Rc<Named>,
    since_ns: i64,
    covered_ns: u64,
    is_whole: bool,
    kinds: Kinds,
    /// Unknown with sampling, as the next.
    in_flight_ns: Option<i128>,
    busy_ns: Option<u64>,
    lost_events: Option<u64>,
}

/// Rows by window and disk.
pub fn rows(
    requests: &Finished,
    busy: &<Busy as OrderedAggregate>::Finished,
    names: &Names,
    trust: &Trust,
) -> Vec<Row> {
    let Finished { width_ns, ends, disks, ends_ns } = requests;
    let (width_ns, Some(ends)) = (*width_ns, *ends) else { return Vec::new() };
    let mut rows = Vec::new();
    for ((capture, dev), line) in disks.iter().filter(|_| trust.captured[Layer::Block as usize]) {
        let Some(span) = ends_ns.get(capture) else { continue };
        let named = Rc::new(Named::of(&Subject::Entity(Entity::Device(*capture, *dev)), names));
        let idle = busy.get(&(*capture, *dev)).filter(|idle| !trust.sampled && idle.width_ns() <= width_ns);
        let busy_ns = idle.map(|idle: &Idle| idle.busy_ns(ends, width_ns));
        for (at, (number, of)) in (ends.0..=ends.1).zip(line.clone().over(ends)).enumerate() {
            let covered_ns = overlap_ns(number, width_ns, *span);
            let kinds = of.sums.unwrap_or_default();
            // Windows outside the time span of the capture. A request of unknown duration at its end has no covered time, and is kept.
            if covered_ns < 0 || (covered_ns == 0 && kinds.requests() == 0) {
                continue;
            }
            rows.push(Row {
                named: Rc::clone(&named),
                since_ns: number.saturating_mul(width_ns),
                covered_ns: covered_ns.unsigned_abs(),
                is_whole: covered_ns == width_ns,
                kinds,
                in_flight_ns: (!trust.sampled).then_some(of.in_flight_ns),
                busy_ns: busy_ns.as_ref().and_then(|busy_ns| busy_ns.get(at).copied()),
                lost_events: trust.known_lost(Layer::Block),
            });
        }
    }
    // Stable: in a window the disks are in their order.
    rows.sort_by_key(|row| row.since_ns);
    rows
}

impl Row {
    /// Returns an amount per second; none if the row has too little time.
    fn per_s(&self, amount: u64) -> Option<f64> {
        let is_enough = self.is_whole || subject::ops_per_s(self.kinds.requests(), self.covered_ns.into()).is_some();
        (is_enough && self.covered_ns > 0).then(|| amount as f64 * 1e9 / self.covered_ns as f64)
    }

    fn share(&self, part_ns: f64) -> Option<f64> {
        (self.covered_ns > 0).then(|| part_ns / self.covered_ns as f64)
    }
}

/// The columns, in order.
pub fn columns() -> Vec<ResultColumn<Row>> {
    let mut columns = vec![
        ResultColumn::signed("since_ns", "Start of the window in ns, on the clock of `ts_ns`.", |row: &Row| {
            Some(row.since_ns)
        }),
        ResultColumn::integer(
            "covered_ns",
            "Part of the window in ns between the begin of the first request and the end of the last request of the capture.",
            |row: &Row| Some(row.covered_ns),
        ),
        ResultColumn::text("name", "Name of the disk.", |row: &Row| &row.named.name),
        ResultColumn::text("id", "Device number, `major:minor`.", |row: &Row| &row.named.id),
        subject::host(|row: &Row| &row.named.host),
    ];
    Kind::ALL.into_iter().for_each(|kind| columns.extend(of_kind(kind)));
    columns.extend([
        ResultColumn::number(
            "avg_in_flight",
            "Mean number of requests in flight over `covered_ns` (`aqu-sz`). Requests of unknown duration are missing. Empty for captures sampled with `--cpu-limit`.",
            |row: &Row| row.share(row.in_flight_ns? as f64),
        ),
        ResultColumn::number(
            "utilization",
            "Share of `covered_ns` with at least one request in flight (`%util` / 100). Lost requests and those of unknown duration are missing. Empty for captures sampled with `--cpu-limit`.",
            |row: &Row| row.share(row.busy_ns? as f64),
        ),
        ResultColumn::integer(
            "lost_events",
            "Number of lost events of the layer, of all windows and disks. Empty when not known.",
            |row: &Row| row.lost_events,
        ),
    ]);
    columns
}

fn of_kind(kind: Kind) -> Vec<ResultColumn<Row>> {
    let (word, plural) = (kind.name(), if kind == Kind::Flush { "flushes" } else { &format!("{}s", kind.name()) });
    let letter = &word[..1];
    let integer = |name: String, doc: String, value: fn(&Requests) -> Option<u64>| {
        ResultColumn::integer(name, doc, move |row: &Row| value(row.kinds.of(kind)))
    };
    let rate = |name: String, doc: String, value: fn(&Requests) -> u64| {
        ResultColumn::number(name, doc, move |row: &Row| row.per_s(value(row.kinds.of(kind))))
    };
    let mut columns = vec![
        integer(plural.to_owned(), format!("Number of {plural} that completed."), |of| Some(of.moved.ops)),
        rate(
            format!("{plural}_per_s"),
            format!(
                "Number of {plural} per second of `covered_ns` (`{letter}/s`). Empty for fewer than 100 requests in less than a second of an incomplete window."
            ),
            |of| of.moved.ops,
        ),
    ];
    if kind != Kind::Flush {
        columns.extend([
            integer(format!("{word}_bytes"), format!("Bytes of these {plural}."), |of| Some(of.moved.bytes)),
            rate(
                format!("{word}_bytes_per_s"),
                format!("Bytes of these {plural} per second, as above (`{letter}kB/s` × 1024)."),
                |of| of.moved.bytes,
            ),
            ResultColumn::number(
                format!("{word}_merged_share"),
                format!("Share of merged bios (`%{letter}rqm` / 100): merged / ({plural} + merged). A bio is merged if it is not the first of its request."),
                move |row: &Row| {
                    let Requests { moved, merged } = row.kinds.of(kind);
                    let all = moved.ops.saturating_add(*merged);
                    (all > 0).then(|| *merged as f64 / all as f64)
                },
            ),
            integer(
                format!("{word}_avg_bytes"),
                format!("Mean size of these {plural} in bytes, rounded (`{letter}areq-sz` × 1024)."),
                |of| average(of.moved.bytes.into(), of.moved.ops),
            ),
        ]);
    }
    columns.push(integer(
        format!("{word}_avg_ns"),
        format!("Mean latency of these {plural} in ns, from queueing to completion (Q2C), rounded (`{letter}_await`)."),
        |of| of.moved.avg_ns(),
    ));
    columns
}
