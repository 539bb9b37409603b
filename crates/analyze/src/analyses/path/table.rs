//! `path.csv`: latency breakdown of calls by layer.

use std::cmp::Reverse;

use iostrata_capture::op::{Layer, Op};

use crate::aggregate::crossing::{Kind, Spent, Sums};
use crate::aggregate::sequence::Subject;
use crate::analyses::subject::{self, Named};
use crate::analyses::table::{Table, at_once};
use crate::frame::{self, ResultColumn};
use crate::names::Names;
use crate::partial::Finished;
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze path --out DIR`: one row for each kind of call that moves bytes or syncs, for `all` and for each system, process, file and \
    disk; in each scope the rows with the most total time come first. A call waits for the block requests that its own thread queued, in its own context, while the call was in flight; \
    if one thread has several in flight (aio, io_uring), a call waits for the requests queued after it and before the next one. A sync, and a write to a file opened with `O_SYNC` or \
    `O_DSYNC`, also waits for all writes of its file, and of the journal on the disk of its file system, that any thread queued meanwhile, but not for writes that bypass the page cache. \
    `syncfs` and a sync of a block device wait for all writes to the disk, `sync` for all writes. The time of a call is `device` while at least one of \
    these requests is at the driver and the device, `queue` while some are in flight but none is there, and `rest` otherwise; time after the end of \
    the call does not count. \
    With `record --run-queue`, the part of the time without requests in which the thread was runnable without a CPU is `runnable`, \
    and is subtracted from `rest`, `no_request` or `unknown`. A call records how long it was runnable, not when. A thread that sleeps until its only request completes is \
    not runnable; one that waits for several, or is preempted after it queued one, may be runnable while some are in flight. All of this time is assigned to the time without \
    requests in flight, as far as it fits there; `rest` is then a lower bound, and `runnable_low_ns` is the part of `runnable_ns` that is certain. What does not fit is \
    in `queue` or `device`, which stay unchanged, and is counted in `runnable_in_flight_ns`. Kernel threads that a call waits for (of a journal) wait for CPUs too: that time is in `rest`. Calls that waited for no request are `no_request`, copying and waiting for I/O that others requested included; \
    syncs without a request are `rest`. `unknown` are calls for which the breakdown cannot be determined: those that bypassed the page cache or ran asynchronously to their thread and for which no request was found; those that one thread submitted together; \
    syncs of a file on no recorded disk (overlay, network) and `msync`, which names no file, unless a request of their own thread was found; \
    those with a request of unknown times, and sampled ones with a weight above 1 (`--cpu-limit`). `queue` includes the time in which the block layer has the disk's cache flushed before a \
    request; `rest` includes the time of writes queued before a sync began, and of aio until the program fetched the completion. The six parts \
    sum to the time of the calls. Two of them, `no_request` and `rest`, are remainders and not layers: time in the file system, on \
    a CPU and, without `--run-queue`, waiting for a CPU are not distinguished. All six are empty when block requests were not captured, and `runnable` when it was measured for less than 95 % of the calls.";

/// The table.
pub static TABLE: Table = Table {
    name: "path",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| at_once(&columns(), rows(&results.finished, results.names, &results.trust), take),
};

/// Source of a row.
pub struct Row<'a> {
    named: Named,
    kind: Kind,
    op: Op,
    sums: &'a Sums,
    /// Whether requests were captured.
    has_requests: bool,
    lost_events: Option<u64>,
}

impl Row<'_> {
    /// Whether the time of this one of [`PARTS`] is known.
    fn knows(&self, part: &str) -> bool {
        self.has_requests && (part != RUNNABLE || is_mostly_measured(self.sums))
    }
}

/// Whether run-queue latency is known for at least 95 % of the calls: that of the others is in other parts.
fn is_mostly_measured(sums: &Sums) -> bool {
    sums.measured > 0 && sums.measured.saturating_mul(20) >= sums.calls.ops.saturating_mul(19)
}

/// Rows by scope; most total time first.
pub fn rows<'a>(finished: &'a Finished, names: &Names, trust: &Trust) -> Vec<Row<'a>> {
    all(finished, trust, |_| true)
        .into_iter()
        .map(|((subject, kind, op), sums)| Row {
            named: Named::of(subject, names),
            kind,
            op,
            sums,
            has_requests: trust.captured[Layer::Block as usize],
            lost_events: lost(trust),
        })
        .collect()
}

/// Calls of the kinds that `takes` selects, by scope; most total time first.
pub fn all<'a>(
    finished: &'a Finished,
    trust: &Trust,
    takes: impl Fn(Kind) -> bool,
) -> Vec<((&'a Subject, Kind, Op), &'a Sums)> {
    let captured = trust.captured[Layer::Syscall as usize];
    let crossings = finished
        .order
        .crossings
        .iter()
        .filter(|((subject, kind, _), _)| captured && takes(*kind) && trust.gives(subject));
    let mut all: Vec<_> = crossings.map(|((subject, kind, op), sums)| ((subject, *kind, *op), sums)).collect();
    let scope = |subject: &Subject| match subject {
        Subject::All => None,
        Subject::System(_) => Some(None),
        Subject::Entity(entity) => Some(Some(entity.scope())),
    };
    all.sort_by_key(|((subject, ..), sums)| (scope(subject), Reverse((total_ns(&sums.spent), sums.calls.ops))));
    all
}

/// Number of lost events that may have been calls, or requests that they waited for.
pub fn lost(trust: &Trust) -> Option<u64> {
    let lost = [Layer::Syscall, Layer::Block]
        .map(|layer| if trust.captured[layer as usize] { trust.known_lost(layer) } else { Some(0) });
    lost[0].zip(lost[1]).map(|(calls, requests)| calls.saturating_add(requests))
}

/// Total time of calls.
pub fn total_ns(spent: &Spent) -> u128 {
    spent.total_ns()
}

/// Limits a time to the range of a column, 584 years.
pub fn whole(ns: u128) -> u64 {
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Mean time of a call, rounded.
pub fn average_ns(sums: &Sums) -> Option<u64> {
    crate::aggregate::count::average(total_ns(&sums.spent), sums.calls.ops)
}

/// A part of the time: name, documentation and value.
type Where = (&'static str, &'static str, fn(&Spent) -> u128);

/// The part that is known only with `--run-queue`.
const RUNNABLE: &str = "runnable";

const PARTS: [Where; 6] = [
    (
        "no_request",
        "in calls that waited for no request: page cache, file system, on a CPU or, if not measured, waiting for a CPU",
        |spent| spent.cache_ns,
    ),
    (
        "rest",
        "in calls that waited for requests, while none of these was in flight, and in syncs without a request: in the file system, on a CPU or, \
         if not measured, waiting for a CPU; these are not distinguished",
        |spent| spent.rest_ns,
    ),
    (
        RUNNABLE,
        "runnable without a CPU (run-queue latency), subtracted from `no_request`, `rest` or `unknown`. Empty when it was measured for less than 95 % of the calls",
        |spent| spent.runnable_ns,
    ),
    ("queue", "while requests were queued or in the scheduler, and none at the device", |spent| spent.queue_ns),
    ("device", "while at least one request was at the driver and the device", |spent| spent.device_ns),
    ("unknown", "in calls for which the breakdown cannot be determined", |spent| spent.unknown_ns),
];

/// Columns that identify the subject and the call of a row.
pub fn about<R>(of: impl Fn(&R) -> (&Named, Kind, Op) + Copy + 'static) -> Vec<ResultColumn<R>> {
    vec![
        ResultColumn::text("scope", "`all`, `system`, `process`, `file` or `device`.", move |row| of(row).0.scope),
        ResultColumn::text("name", "Name, as in `amplification.csv`; empty for `all`.", move |row| &of(row).0.name),
        ResultColumn::text("id", "Id, as in `amplification.csv`; empty for `all` and systems.", move |row| {
            &of(row).0.id
        }),
        subject::host(move |row| &of(row).0.host),
        ResultColumn::text(
            "kind",
            "`read`, `write` or `sync`; `sync_write`: a write to a file opened with `O_SYNC` or `O_DSYNC`; prefix `direct_`: bypassing the page cache (`O_DIRECT`).",
            move |row| of(row).1.name(),
        ),
        ResultColumn::text("op", "Name of the call.", move |row| of(row).2.name()),
    ]
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<ResultColumn<Row<'a>>> {
    let integer = |name: &str, doc: &str, value: fn(&Sums) -> u64| {
        ResultColumn::integer(name, doc, move |row: &Row| Some(value(row.sums)))
    };
    let mut columns = about(|row: &Row| (&row.named, row.kind, row.op));
    columns.extend([
        integer("ops", "Number of calls, failed ones included.", |sums| sums.calls.ops),
        integer("failed", "Number of failed calls.", |sums| sums.failed),
        integer("bytes", "Number of bytes that the calls moved.", |sums| sums.calls.bytes),
        ResultColumn::integer("waited", "Number of calls that waited for a block request.", |row: &Row| {
            row.has_requests.then_some(row.sums.waited)
        }),
        integer("measured", "Number of calls with a known run-queue latency.", |sums| sums.measured),
        integer("total_ns", "Sum of the durations in ns.", |sums| whole(total_ns(&sums.spent))),
        ResultColumn::integer("avg_ns", "Mean duration in ns, rounded.", |row: &Row| average_ns(row.sums)),
        integer("max_ns", "Maximum duration in ns.", |sums| sums.max_ns),
    ]);
    for (name, doc, value) in PARTS {
        columns.push(ResultColumn::integer(
            format!("{name}_ns"),
            format!("Part of `total_ns`: {doc}."),
            move |row: &Row| row.knows(name).then(|| whole(value(&row.sums.spent))),
        ));
    }
    let bounds: [Where; 2] = [
        (
            "runnable_low_ns",
            "Lower bound of `runnable_ns` in ns: the part that is certain to have been while no request was in flight. The remainder may belong to `rest_ns`.",
            |spent| spent.runnable_low_ns,
        ),
        (
            "runnable_in_flight_ns",
            "Run-queue latency in ns in addition to `runnable_ns`: while requests were in flight, and therefore in `queue_ns` or `device_ns`. \
             Both together are the sum of `runnable_ns` of the calls.",
            |spent| spent.runnable_in_flight_ns,
        ),
    ];
    columns.extend(bounds.map(|(name, doc, value)| {
        ResultColumn::integer(name, doc, move |row: &Row| row.knows(RUNNABLE).then(|| whole(value(&row.sums.spent))))
    }));
    for (name, _, value) in PARTS {
        let doc = format!("`{name}_ns` / `total_ns`.");
        columns.push(ResultColumn::number(format!("{name}_share"), doc, move |row: &Row| {
            let (part, total) = (value(&row.sums.spent), total_ns(&row.sums.spent));
            (row.knows(name) && total > 0).then(|| part as f64 / total as f64)
        }));
    }
    columns.push(ResultColumn::integer(
        "lost_events",
        "Number of lost calls and block requests, of all owners. Empty when not known.",
        |row: &Row| row.lost_events,
    ));
    columns
}
