//! `queue.csv` and `queue_depth.csv`: queue depth and utilization.

use iostrata_capture::op::Layer;

use crate::aggregate::count::average;
use crate::aggregate::sequence::Subject;
use crate::analyses::queue::aggregate::{Depths, Queue, Sums};
use crate::analyses::subject::{self, Named};
use crate::analyses::table::{Table, at_once};
use crate::frame::{self, ResultColumn};
use crate::names::Names;
use crate::trust::Trust;

/// Documentation of `queue.csv`.
const DOC: &str = "`iostrata-analyze queue --out DIR`: one row for all operations of a layer, for those of each system and for those on each \
    disk. An operation is in flight from its start to its end; a block request from the queueing of its first bio to its completion (Q2C). \
    In `block` this is therefore the queue depth of the block layer, scheduler and plug included, which is more than that of the device (D2C). Operations of \
    unknown duration are in `ops` and `untimed` only. The span is from the first start to the last end of the row's own \
    operations; spans of several captures \
    are added, without the time between them. With `--since` and `--until`, operations that began between count until their end: \
    operations in flight before are missing, and the span may extend beyond. With sampling (`--cpu-limit`), where operations that began before the time slices are missing, \
    there is only `ops`.";

/// Documentation of `queue_depth.csv`.
const DEPTH_DOC: &str = "Distribution behind `queue.csv`: time at each number of operations in flight.";

/// The table.
pub static TABLE: Table = Table {
    name: "queue",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        at_once(&columns(), rows(results.finished.order.of::<Queue>()?, results.names, &results.trust), take)
    },
};

/// The table of time at each queue depth.
pub static DEPTH: Table = Table {
    name: "queue_depth",
    doc: DEPTH_DOC,
    columns: || frame::markdown(&depth_columns()),
    rows: |results, take| {
        at_once(&depth_columns(), depths(results.finished.order.of::<Queue>()?, results.names, &results.trust), take)
    },
};

/// Source of a row.
pub struct Row<'a> {
    named: Named,
    layer: Layer,
    sums: &'a Sums,
    sampled: bool,
    lost_events: Option<u64>,
}

/// Rows by layer and subject.
pub fn rows<'a>(queues: &'a Depths, names: &Names, trust: &'a Trust) -> Vec<Row<'a>> {
    let row = |(layer, subject, sums): (Layer, &Subject, &'a Sums)| {
        let (named, lost_events) = (Named::of(subject, names), trust.known_lost(layer));
        Row { named, layer, sums, sampled: trust.sampled, lost_events }
    };
    all(queues, trust).map(row).collect()
}

fn all<'a>(queues: &'a Depths, trust: &'a Trust) -> impl Iterator<Item = (Layer, &'a Subject, &'a Sums)> {
    let queues = queues.iter().filter(|(layer, _)| trust.captured[**layer as usize]);
    let rows = queues.flat_map(|(layer, of)| of.iter().map(move |(subject, sums)| (*layer, subject, sums)));
    rows.filter(|(_, subject, _)| trust.gives(subject))
}

/// A number of operations in flight and its time.
pub struct Depth {
    named: Named,
    layer: Layer,
    in_flight: u64,
    time_ns: u128,
    span_ns: u128,
}

/// Rows by layer, subject and number of operations in flight.
pub fn depths(queues: &Depths, names: &Names, trust: &Trust) -> Vec<Depth> {
    let mut rows = Vec::new();
    for (layer, subject, sums) in all(queues, trust).filter(|_| !trust.sampled) {
        let span_ns = sums.span_ns();
        rows.extend(sums.time_ns.iter().map(|(in_flight, time_ns)| Depth {
            named: Named::of(subject, names),
            layer,
            in_flight: *in_flight,
            time_ns: *time_ns,
            span_ns,
        }));
    }
    rows
}

fn whole(ns: u128) -> u64 {
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// The columns of `queue.csv`, in order.
pub fn columns<'a>() -> Vec<ResultColumn<Row<'a>>> {
    let integer = |name: &str, doc: &str, value: fn(&Sums) -> Option<u64>| {
        ResultColumn::integer(name, doc, move |row: &Row| value(row.sums).filter(|_| !row.sampled))
    };
    let number = |name: &str, doc: &str, value: fn(&Sums) -> Option<f64>| {
        ResultColumn::number(name, doc, move |row: &Row| value(row.sums).filter(|_| !row.sampled))
    };
    let by_span = |part: u128, sums: &Sums| (sums.span_ns() > 0).then(|| part as f64 / sums.span_ns() as f64);
    let mut columns = subject::columns(|row: &Row| (&row.named, row.layer.name()));
    columns.extend([
        ResultColumn::integer("ops", "Number of operations.", |row: &Row| Some(row.sums.ops)),
        integer("untimed", "Number of operations of unknown duration.", |sums| Some(sums.untimed)),
        integer("span_ns", "Time in ns from the first start to the last end.", |sums| Some(whole(sums.span_ns()))),
        integer("busy_ns", "Time in ns with at least one operation in flight.", |sums| Some(whole(sums.busy_ns()))),
        ResultColumn::number("utilization", "Utilization: `busy_ns` / `span_ns`.", move |row: &Row| {
            by_span(row.sums.busy_ns(), row.sums).filter(|_| !row.sampled)
        }),
        number(
            "avg_in_flight",
            "Mean number of operations in flight over the span, from the sequence of starts and ends.",
            Sums::average,
        ),
        integer("p50_in_flight", "50th percentile of the number in flight, weighted by time.", |sums| sums.at(50)),
        integer("p90_in_flight", "90th percentile of the number in flight, weighted by time.", |sums| sums.at(90)),
        integer("p99_in_flight", "99th percentile of the number in flight, weighted by time.", |sums| sums.at(99)),
        integer("max_in_flight", "Maximum number of operations in flight.", Sums::max),
        ResultColumn::number(
            "ops_per_s",
            "Operations of known duration per second of the span. Empty for fewer than 100 operations within less than a second.",
            |row: &Row| subject::ops_per_s(row.sums.timed, row.sums.span_ns()).filter(|_| !row.sampled),
        ),
        integer("avg_ns", "Mean duration of these operations in ns, rounded.", |sums| average(sums.sum_ns, sums.timed)),
        number(
            "littles_law_in_flight",
            "Mean number of operations in flight by Little's law: `ops_per_s` times the mean duration in seconds. Equals `avg_in_flight`, which is \
             computed differently, except for rounding; if not, one of the two is wrong.",
            Sums::expected,
        ),
        ResultColumn::integer(
            "lost_events",
            "Number of lost events of the layer, of all owners: each was in flight too. Empty when not known.",
            |row: &Row| row.lost_events,
        ),
    ]);
    columns
}

/// The columns of `queue_depth.csv`, in order.
pub fn depth_columns() -> Vec<ResultColumn<Depth>> {
    let mut columns = subject::columns(|row: &Depth| (&row.named, row.layer.name()));
    columns.extend([
        ResultColumn::integer("in_flight", "Number of operations in flight.", |row: &Depth| Some(row.in_flight)),
        ResultColumn::integer("time_ns", "Time in ns with this number in flight.", |row: &Depth| {
            Some(whole(row.time_ns))
        }),
        ResultColumn::number(
            "time_share",
            "Share of the span: `time_ns` / `span_ns` of `queue.csv`.",
            |row: &Depth| (row.span_ns > 0).then(|| row.time_ns as f64 / row.span_ns as f64),
        ),
    ]);
    columns
}
