//! `top.csv`: which processes, cgroups, files and disks did most, one row for each, and one for all others.

use std::cmp::Reverse;

use iostrata_capture::op::{Direction, Layer};

use crate::aggregate::activity::Activity;
use crate::aggregate::count::Moved;
use crate::entity::{Entity, Scope};
use crate::frame::{ResultColumn, Value};
use crate::names::Names;
use crate::owners::Told;
use crate::partial::Finished;
use crate::tables::summary::OF_OPERATIONS;
use crate::trust::Trust;

/// What the table is.
pub const DOC: &str = "`iostrata-analyze top --out DIR`: in each scope and layer the processes, cgroups, files and disks that did most, by bytes, or by what \
    `--by` says, in that order; then a row for all others, so that the rows of a scope and layer add up to the layer's total.";

/// By what one does more than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Bytes, read and written.
    Bytes,
    /// Operations.
    Ops,
    /// The sum of their durations.
    Time,
}

/// The name of what is not named by itself.
const OTHERS: &str = "(others)";

/// What a row is made from.
pub struct Row {
    scope: Scope,
    layer: Layer,
    name: String,
    id: String,
    process: Told,
    activity: Activity,
    /// Of all rows of its scope and layer.
    total: Moved,
}

/// In each scope and layer the `most` that did most, in order, and a row for all others together.
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
            Row { scope, layer, name, id, process: names.told(entity), activity: activity.clone(), total }
        })
        .collect();
    if !rest.is_empty() {
        let mut activity = Activity::default();
        rest.iter().for_each(|(_, _, of)| activity.combine(of));
        let (name, id, process) = (OTHERS.to_owned(), String::new(), Told::default());
        rows.push(Row { scope, layer, name, id, process, activity, total });
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
            "The name, as in `amplification.csv`; a word in parentheses for what is nobody's, `(others)` for all that have no row of their \
             own.",
            |row| &row.name,
        ),
        text("id", "The id, as in `amplification.csv`.", |row| &row.id),
        integer("ops", "Operations of the layer, those included that neither read nor write.", |row| row.all().ops),
        integer("read_ops", "Those that read.", |row| row.of(Direction::Read).ops),
        integer("write_ops", "Those that write.", |row| row.of(Direction::Write).ops),
        integer("read_bytes", "Bytes read. Of a request each owner has its part.", |row| row.of(Direction::Read).bytes),
        integer("write_bytes", "Bytes written.", |row| row.of(Direction::Write).bytes),
        integer(
            "time_ns",
            "The sum of the durations that are known. Operations under way at the same time count each.",
            |row| u64::try_from(row.all().sum_ns).unwrap_or(u64::MAX),
        ),
        ResultColumn {
            name: "avg_ns".into(),
            doc: "The average duration, rounded; empty where none is known.".into(),
            value: Value::Integer(Box::new(|row: &Row| row.all().avg_ns())),
        },
        share("ops_share", "The share of `ops` in the scope and layer.", |sums| sums.ops as f64),
        share("bytes_share", "The share of the bytes in the scope and layer.", |sums| sums.bytes as f64),
        share("time_share", "The share of `time_ns` in the scope and layer.", |sums| sums.sum_ns as f64),
        text("exe", "Of a process the path of its executable, as in `process`; else empty.", |row| &row.process.exe),
        text("cmdline", "Of a process its command line, as in `process`; else empty.", |row| &row.process.cmdline),
    ]
}
