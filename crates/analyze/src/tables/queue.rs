//! `queue.csv` and `queue_depth.csv`: how many operations are under way, and for how long.

use iostrata_capture::op::Layer;

use super::subject::{self, Named};
use crate::aggregate::count::average;
use crate::aggregate::queue::Sums;
use crate::aggregate::sequence::Subject;
use crate::frame::ResultColumn;
use crate::names::Names;
use crate::partial::Finished;
use crate::trust::Trust;

/// What the table is.
pub const DOC: &str = "`iostrata-analyze queue --out DIR`: one row for all operations of a layer, for those of each system and for those on each \
    disk. An operation is under way from its begin to its end: a request from the queueing of its first bio to its completion. Operations whose \
    duration is not known are in `ops` and `untimed` alone. The span is from the first begin to the last end of the row's own \
    operations; of several captures \
    spans are added, and what is between them is nothing. With `--since` and `--until` operations count that began between, to their end: \
    what was under way before is missing, and the span may go on after. Of a sample (`--cpu-limit`), which does not have what began before its moments, \
    there are only operations.";

/// What the other table is.
pub const DEPTH_DOC: &str = "The distribution behind `queue.csv`: for how long how many operations were under way.";

/// What a row is made from.
pub struct Row<'a> {
    named: Named,
    layer: Layer,
    sums: &'a Sums,
    sampled: bool,
    lost_events: Option<u64>,
}

/// By layer and subject.
pub fn rows<'a>(finished: &'a Finished, names: &Names, trust: &'a Trust) -> Vec<Row<'a>> {
    let row = |(layer, subject, sums): (Layer, &Subject, &'a Sums)| {
        let (named, lost_events) = (Named::of(subject, names), trust.known_lost(layer));
        Row { named, layer, sums, sampled: trust.sampled, lost_events }
    };
    all(finished, trust).map(row).collect()
}

fn all<'a>(finished: &'a Finished, trust: &'a Trust) -> impl Iterator<Item = (Layer, &'a Subject, &'a Sums)> {
    let queues = finished.order.queues.iter().filter(|(layer, _)| trust.captured[**layer as usize]);
    let rows = queues.flat_map(|(layer, of)| of.iter().map(move |(subject, sums)| (*layer, subject, sums)));
    rows.filter(|(_, subject, _)| trust.gives(subject))
}

/// One number of operations under way.
pub struct Depth {
    named: Named,
    layer: Layer,
    in_flight: u64,
    time_ns: u128,
    span_ns: u128,
}

/// By layer and subject, in order of the number.
pub fn depths(finished: &Finished, names: &Names, trust: &Trust) -> Vec<Depth> {
    let mut rows = Vec::new();
    for (layer, subject, sums) in all(finished, trust).filter(|_| !trust.sampled) {
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
        ResultColumn::integer("ops", "Operations.", |row: &Row| Some(row.sums.ops)),
        integer("untimed", "Those whose duration is not known.", |sums| Some(sums.untimed)),
        integer("span_ns", "From the first begin to the last end.", |sums| Some(whole(sums.span_ns()))),
        integer("busy_ns", "For how long any was under way.", |sums| Some(whole(sums.busy_ns()))),
        ResultColumn::number("busy_share", "`busy_ns` / `span_ns`.", move |row: &Row| {
            by_span(row.sums.busy_ns(), row.sums).filter(|_| !row.sampled)
        }),
        number(
            "avg_in_flight",
            "How many were under way on average over the span, as followed from begin to begin and end to end.",
            Sums::average,
        ),
        integer("p50_in_flight", "So many or fewer were under way for half of the span.", |sums| sums.at(50)),
        integer("p90_in_flight", "So many or fewer were under way for 90 % of the span.", |sums| sums.at(90)),
        integer("p99_in_flight", "So many or fewer were under way for 99 % of the span.", |sums| sums.at(99)),
        integer("max_in_flight", "How many were under way at most.", Sums::max),
        ResultColumn::number(
            "rate_per_s",
            "Operations whose duration is known by the span in seconds. Empty of fewer than 100 operations within less than a second.",
            |row: &Row| subject::rate_per_s(row.sums.timed, row.sums.span_ns()).filter(|_| !row.sampled),
        ),
        integer("avg_ns", "Their average duration, rounded.", |sums| average(sums.sum_ns, sums.timed)),
        number(
            "littles_law_in_flight",
            "By Little's law, how many are under way on average: `rate_per_s` times the average duration in seconds. It is `avg_in_flight`, which is \
             counted otherwise, but for rounding; where it is not, one of the two is wrong.",
            Sums::expected,
        ),
        ResultColumn::integer(
            "lost_events",
            "Events of the layer that were lost, whosever they were: each of them was under way too. Empty where nobody knows.",
            |row: &Row| row.lost_events,
        ),
    ]);
    columns
}

/// The columns of `queue_depth.csv`, in order.
pub fn depth_columns() -> Vec<ResultColumn<Depth>> {
    let mut columns = subject::columns(|row: &Depth| (&row.named, row.layer.name()));
    columns.extend([
        ResultColumn::integer("in_flight", "How many operations were under way.", |row: &Depth| Some(row.in_flight)),
        ResultColumn::integer("time_ns", "For how long.", |row: &Depth| Some(whole(row.time_ns))),
        ResultColumn::number("time_share", "That, by the span.", |row: &Depth| {
            (row.span_ns > 0).then(|| row.time_ns as f64 / row.span_ns as f64)
        }),
    ]);
    columns
}
