//! `path.csv`: where the time of calls goes on its way through the layers.

use std::cmp::Reverse;

use iostrata_capture::op::{Layer, Op};

use super::subject::Named;
use crate::aggregate::crossing::{Kind, Spent, Sums};
use crate::aggregate::sequence::Subject;
use crate::frame::ResultColumn;
use crate::names::Names;
use crate::partial::Finished;
use crate::trust::Trust;

/// What the table is.
pub const DOC: &str = "`iostrata-analyze path --out DIR`: one row for each call that moves bytes or syncs, of all, of each system, process, file and \
    disk; of each those that took most time together first. A call waits for the requests that its own thread queued while it was under way, \
    in its own context; of several that one thread has under way (aio, io_uring) for those queued after it and before the next. A sync, and a write to a file opened with `O_SYNC` or \
    `O_DSYNC`, also waits for all that anybody queued meanwhile of its file, and of the journal on the disk that its file system is on, but not for what was written past the page cache; \
    `syncfs` and a sync of a block device for all writes to the disk, `sync` for all writes. The time of a call is `device` while at least one of \
    these requests was with the driver and the device, `queue` while some were under way but none there, `rest` for the rest; what was under way after \
    the call was over does not count. \
    Where it was measured (`record --run-queue`), what is left beside requests is `runnable` for as long as the thread could have run and had no CPU, \
    and `rest`, `no_request` or `unknown` are the less for it. A call tells how long that was, and not when. While a thread sleeps until its only request is over it is \
    not runnable; one that waits for several, or is preempted after it has queued one, may be so while some are under way. All of it counts as \
    if it had been while none was, as far as it has room there; then `rest` is what is left at least, and `runnable_low_ns` how much of `runnable_ns` is certain. What has no room is \
    in `queue` or `device`, which stay as they are, and counted in `runnable_under_way_ns`. Threads of the kernel that a call waits for (a journal's) wait for CPUs too: that is in `rest`. Calls that waited for no request are `no_request`, with what they copied and what they waited for that others had asked for; \
    syncs without any are `rest`. `unknown` are calls of which that cannot be told: those that went past the page cache or went on beside their thread and of which no request was found; those that one thread submitted together; \
    syncs of a file that lies on no disk that was recorded (an overlay, a network) and `msync`, which tells no file, unless a request of their own thread was found; \
    those with a request whose times were not seen, and those that stand for others too (`--cpu-limit`). In `queue` is also the time in which the block layer has the disk's cache emptied before a \
    request; in `rest` that of writes that were queued before a sync began, and of aio until the program asked. The six \
    together are the time of the calls. Two of them, `no_request` and `rest`, are what is left and no layer: whether a thread was in the file system or on \
    a CPU, and without `--run-queue` waiting for one, is not told apart. Where block requests were not captured all six are empty, and `runnable` where it was not measured of 95 % of the calls.";

/// What a row is made from.
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
    /// Whether it is known how much time went to this one of [`PARTS`].
    fn knows(&self, part: &str) -> bool {
        self.has_requests && (part != RUNNABLE || is_mostly_measured(self.sums))
    }
}

/// Whether the calls of which it is known for how long they were runnable are nearly all: what there is of the others would be in other parts.
fn is_mostly_measured(sums: &Sums) -> bool {
    sums.measured > 0 && sums.measured.saturating_mul(20) >= sums.calls.ops.saturating_mul(19)
}

/// By scope; of each those that took most time first.
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

/// Calls of some kinds, by scope; of each those that took most time first.
pub(super) fn all<'a>(
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

/// Events that may have been calls, or requests that these waited for.
pub(super) fn lost(trust: &Trust) -> Option<u64> {
    let lost = [Layer::Syscall, Layer::Block]
        .map(|layer| if trust.captured[layer as usize] { trust.known_lost(layer) } else { Some(0) });
    lost[0].zip(lost[1]).map(|(calls, requests)| calls.saturating_add(requests))
}

/// The time of calls.
pub(super) fn total_ns(spent: &Spent) -> u128 {
    spent.total_ns()
}

/// As wide as a column is: more than 584 years are as many.
pub(super) fn whole(ns: u128) -> u64 {
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// The average time of a call, rounded.
pub(super) fn average_ns(sums: &Sums) -> Option<u64> {
    crate::aggregate::count::average(total_ns(&sums.spent), sums.calls.ops)
}

/// Where time goes: name, what that is, and how much it is.
type Where = (&'static str, &'static str, fn(&Spent) -> u128);

/// The one that is known only where it was measured.
const RUNNABLE: &str = "runnable";

const PARTS: [Where; 6] = [
    (
        "no_request",
        "in calls that waited for no request: page cache, file system, on a CPU or, where that was not measured, waiting for one",
        |spent| spent.cache_ns,
    ),
    (
        "rest",
        "in calls that waited for requests, while none of these was under way, and in syncs without any: in the file system, on a CPU or \
         waiting for one where that was not measured, which is not told apart",
        |spent| spent.rest_ns,
    ),
    (
        RUNNABLE,
        "runnable and on no CPU, in place of `no_request`, `rest` or `unknown`. Empty where it was not measured of 95 % of the calls",
        |spent| spent.runnable_ns,
    ),
    ("queue", "while requests were queued or in the scheduler, and none with the device", |spent| spent.queue_ns),
    ("device", "while at least one request was with the driver and the device", |spent| spent.device_ns),
    ("unknown", "in calls of which that cannot be told", |spent| spent.unknown_ns),
];

/// The columns that say what a row is about.
pub(super) fn about<R>(of: impl Fn(&R) -> (&Named, Kind, Op) + Copy + 'static) -> Vec<ResultColumn<R>> {
    vec![
        ResultColumn::text("scope", "`all`, `system`, `process`, `file` or `device`.", move |row| of(row).0.scope),
        ResultColumn::text("name", "The name, as in `amplification.csv`; empty of all.", move |row| &of(row).0.name),
        ResultColumn::text("id", "The id, as in `amplification.csv`; empty of all and of systems.", move |row| {
            &of(row).0.id
        }),
        ResultColumn::text(
            "kind",
            "`read`, `write` or `sync`; `sync_write`, a write to a file opened with `O_SYNC` or `O_DSYNC`; with `direct_` in front, past the page cache (`O_DIRECT`).",
            move |row| of(row).1.name(),
        ),
        ResultColumn::text("op", "The call.", move |row| of(row).2.name()),
    ]
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<ResultColumn<Row<'a>>> {
    let integer = |name: &str, doc: &str, value: fn(&Sums) -> u64| {
        ResultColumn::integer(name, doc, move |row: &Row| Some(value(row.sums)))
    };
    let mut columns = about(|row: &Row| (&row.named, row.kind, row.op));
    columns.extend([
        integer("ops", "Calls.", |sums| sums.calls.ops),
        integer("failed", "Those that failed.", |sums| sums.failed),
        integer("bytes", "Bytes that they moved.", |sums| sums.calls.bytes),
        ResultColumn::integer("waited", "Those that waited for a request.", |row: &Row| {
            row.has_requests.then_some(row.sums.waited)
        }),
        integer("measured", "Those of which it is known for how long they were runnable.", |sums| sums.measured),
        integer("total_ns", "The sum of their durations.", |sums| whole(total_ns(&sums.spent))),
        ResultColumn::integer("avg_ns", "The average of these, rounded.", |row: &Row| average_ns(row.sums)),
        integer("max_ns", "The longest of these.", |sums| sums.max_ns),
    ]);
    for (name, doc, value) in PARTS {
        columns.push(ResultColumn::integer(
            format!("{name}_ns"),
            format!("Of `total_ns`: {doc}."),
            move |row: &Row| row.knows(name).then(|| whole(value(&row.sums.spent))),
        ));
    }
    let bounds: [Where; 2] = [
        (
            "runnable_low_ns",
            "How much of `runnable_ns` is certain to have been while no request was under way. What is not may belong to `rest_ns`.",
            |spent| spent.runnable_low_ns,
        ),
        (
            "runnable_under_way_ns",
            "For how long threads were runnable beside `runnable_ns`: while requests were under way, so that it is in `queue_ns` or `device_ns`. \
             Both together are the sum of `runnable_ns` of the calls.",
            |spent| spent.runnable_under_way_ns,
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
        "Calls and block requests that were lost, whosever they were. Empty where nobody knows.",
        |row: &Row| row.lost_events,
    ));
    columns
}
