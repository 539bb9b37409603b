//! `latency.csv`: the distribution of durations, one row for each system, layer, operation and phase.

use iostrata_capture::op::{Layer, Op};

use crate::aggregate::sample::{Distribution, PERCENTILES};
use crate::event::Phase;
use crate::frame::{ResultColumn, Value};
use crate::partial::Finished;

/// What a row is made from.
pub struct Row {
    system: String,
    layer: Layer,
    op: Op,
    phase: Phase,
    distribution: Distribution,
}

/// One row for each distribution: systems by name, the rest in order of declaration.
pub fn rows(finished: &Finished) -> Vec<Row> {
    let of_system = |system: &crate::partial::FinishedSystem| {
        let name = system.name.clone();
        let row = move |((layer, op, phase), distribution): &((Layer, Op, Phase), Distribution)| Row {
            system: name.clone(),
            layer: *layer,
            op: *op,
            phase: *phase,
            distribution: distribution.clone(),
        };
        system.latency.iter().map(row).collect::<Vec<_>>()
    };
    finished.systems.iter().flat_map(of_system).collect()
}

fn text(name: &str, doc: &str, value: impl Fn(&Row) -> &str + 'static) -> ResultColumn<Row> {
    ResultColumn { name: name.into(), doc: doc.into(), value: Value::Text(Box::new(value)) }
}

fn integer(name: &str, doc: String, value: impl Fn(&Distribution) -> Option<u64> + 'static) -> ResultColumn<Row> {
    let value = Value::Integer(Box::new(move |row: &Row| value(&row.distribution)));
    ResultColumn { name: name.into(), doc, value }
}

/// The columns, in order.
pub fn columns() -> Vec<ResultColumn<Row>> {
    let mut columns = vec![
        text("system", "The system, as in `summary.csv`.", |row| &row.system),
        text("layer", "`syscall`, `vfs`, `fs` or `block`.", |row| row.layer.name()),
        text("op", "The operation, as in the tables.", |row| row.op.name()),
        text("phase", "Which stretch of it was measured.", |row| row.phase.name()),
        integer("count", "Operations whose phase is known, failed ones included.".into(), |d| Some(d.count)),
        integer("avg_ns", "The average, exact and then rounded.".into(), |d| d.avg_ns),
        integer("min_ns", "The least.".into(), |d| d.min_ns),
    ];
    for (index, percentile) in PERCENTILES.iter().enumerate() {
        let doc = format!("The {} percentile; empty below {} values.", percentile.name, percentile.needs());
        columns.push(integer(percentile.column, doc, move |d| d.percentiles_ns[index]));
    }
    columns.push(integer("max_ns", "The greatest.".into(), |d| d.max_ns));
    columns
}
