//! `top.csv`: processes, cgroups, files and disks with the most I/O, one row for each, and one for all others.

use std::cmp::Reverse;
use std::sync::Arc;

use iostrata_capture::op::{Direction, Layer};

use super::By;
use crate::aggregate::activity::Activity;
use crate::aggregate::count::Moved;
use crate::analyses::subject;
use crate::analyses::summary::OF_OPERATIONS;
use crate::analyses::table::{Table, at_once};
use crate::entity::{Entity, Scope};
use crate::frame::{self, ResultColumn, Value};
use crate::names::Names;
use crate::owners::ProcessNames;
use crate::partial::Finished;
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze top --out DIR`: in each scope and layer the processes, cgroups, files and disks with the most I/O, sorted by bytes, or by the \
    key of `--by`; then a row for all others, so that the rows of a scope and layer sum to the layer's total.";

/// The table.
pub static TABLE: Table = Table {
    name: "top",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        at_once(&columns(), rows(&results.finished, results.names, &results.trust, results.options.top), take)
    },
};

/// Name of the row for all others.
const OTHERS: &str = "(others)";

/// Source of a row.
pub struct Row {
    scope: Scope,
    layer: Layer,
    name: String,
    id: String,
    host: Arc<str>,
    process: ProcessNames,
    activity: Activity,
    /// Total of all rows of its scope and layer.
    total: Moved,
}

/// Rows of the `most` entities with the most I/O in each scope and layer, in order, and a row for all others together.
pub fn rows(finished: &Finished, names: &Names, trust: &Trust, (by, most): (By, usize)) -> Vec<Row> {
    let mut rows = Vec::new();
    for scope in Scope::ALL {
        for layer in OF_OPERATIONS.into_iter().filter(|layer| trust.captured[*layer as usize]) {
            rows.extend(of_scope(finished, names, (scope, layer), (by, most)));
        }
    }
    rows
}

fn of_scope(finished: &Finished, names: &Names, (scope, layer): (Scope, Layer), (by, most): (By, usize)) -> Vec<Row> {
    let entities = finished
        .active
        .iter()
        .filter(|(entity, activity)| entity.scope() == scope && activity.all(layer) != Moved::default());
    let mut sorted: Vec<(Moved, &Entity, &Activity)> =
        entities.map(|(entity, activity)| (activity.all(layer), entity, activity)).collect();
    let mut total = Moved::default();
    sorted.iter().for_each(|(sums, ..)| total.add(sums));
    sorted.sort_by_key(|(Moved { ops, bytes, sum_ns, .. }, entity, _)| {
        let by = match by {
            By::Bytes => u128::from(*bytes),
            By::Ops => u128::from(*ops),
            By::Time => *sum_ns,
        };
        (Reverse((by, *bytes, *ops, *sum_ns)), **entity)
    });
    let rest = sorted.split_off(sorted.len().min(most));
    let mut rows: Vec<Row> = sorted
        .into_iter()
        .map(|(_, entity, activity)| {
            let (name, id) = names.of(entity);
            let host = names.host(entity);
            Row { scope, layer, name, id, host, process: names.told(entity), activity: activity.clone(), total }
        })
        .collect();
    if !rest.is_empty() {
        let mut activity = Activity::default();
        rest.iter().for_each(|(_, _, of)| activity.combine(of));
        let (name, id, process) = (OTHERS.to_owned(), String::new(), ProcessNames::default());
        rows.push(Row { scope, layer, name, id, host: Arc::default(), process, activity, total });
    }
    rows
}

impl Row {
    fn of(&self, direction: Direction) -> Moved {
        self.activity.of(self.layer, Some(direction))
    }

    fn all(&self) -> Moved {
        self.activity.all(self.layer)
    }
}

fn text(name: &str, doc: &str, value: impl Fn(&Row) -> &str + 'static) -> ResultColumn<Row> {
    ResultColumn { name: name.into(), doc: doc.into(), value: Value::Text(Box::new(value)) }
}

fn integer(name: &str, doc: &str, value: impl Fn(&Row) -> u64 + 'static) -> ResultColumn<Row> {
    ResultColumn { name: name.into(), doc: doc.into(), value: Value::Integer(Box::new(move |row| Some(value(row)))) }
}

fn share(name: &str, doc: &str, value: impl Fn(&Moved) -> f64 + 'static) -> ResultColumn<Row> {
    let of = move |row: &Row| Some(value(&row.all()) / value(&row.total)).filter(|share| share.is_finite());
    ResultColumn { name: name.into(), doc: doc.into(), value: Value::Number(Box::new(of)) }
}

/// The columns, in order.
pub fn columns() -> Vec<ResultColumn<Row>> {
    vec![
        text("scope", "`process`, `cgroup`, `file` or `device`.", |row| row.scope.name()),
        text("layer", "`syscall`, `vfs` or `block`.", |row| row.layer.name()),
        text(
            "name",
            "Name, as in `amplification.csv`; a word in parentheses for unattributed I/O, `(others)` for all entities without a row of their \
             own.",
            |row| &row.name,
        ),
        text("id", "Id, as in `amplification.csv`.", |row| &row.id),
        subject::host(|row: &Row| &row.host),
        integer("ops", "Number of operations of the layer, reads, writes and all others.", |row| row.all().ops),
        integer("read_ops", "Number of reads.", |row| row.of(Direction::Read).ops),
        integer("write_ops", "Number of writes.", |row| row.of(Direction::Write).ops),
        integer("read_bytes", "Number of bytes read. Each owner of a block request has its part.", |row| {
            row.of(Direction::Read).bytes
        }),
        integer("write_bytes", "Number of bytes written. Each owner of a block request has its part.", |row| {
            row.of(Direction::Write).bytes
        }),
        integer(
            "time_ns",
            "Sum of the known durations in ns. Operations in flight at the same time count each.",
            |row| u64::try_from(row.all().sum_ns).unwrap_or(u64::MAX),
        ),
        ResultColumn {
            name: "avg_ns".into(),
            doc: "Mean duration in ns, rounded; empty when none is known.".into(),
            value: Value::Integer(Box::new(|row: &Row| row.all().avg_ns())),
        },
        share("ops_share", "Share of `ops` in the scope and layer.", |sums| sums.ops as f64),
        share("bytes_share", "Share of the bytes, read and written, in the scope and layer.", |sums| sums.bytes as f64),
        share("time_share", "Share of `time_ns` in the scope and layer.", |sums| sums.sum_ns as f64),
        text("exe", "Path of the executable of a process, as in `process`; else empty.", |row| &row.process.exe),
        text("cmdline", "Command line of a process, as in `process`; else empty.", |row| &row.process.cmdline),
    ]
}
