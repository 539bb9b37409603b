//! `latency.csv`: latency distribution, one row for each system, layer, operation and phase.

use iostrata_capture::op::{Layer, Op};

use crate::aggregate::sample::{Distribution, PERCENTILES, Percentile, Quantile};
use crate::analyses::table::{Table, in_frames};
use crate::event::Phase;
use crate::frame::{self, ResultColumn, Value};
use crate::partial::Finished;
use crate::trust::{Missing, Trust};

/// Documentation of the table.
const DOC: &str = "One row for each system, layer, operation and phase that occurred. A percentile q of n values is the value of \
    rank ceil(q n), counted from 1 in ascending order. It is empty if n (1 - q) < 1, because no value lies \
    beyond it then. Beyond 512 values percentiles come from HDR histograms with three significant digits, and are \
    at most 0.1 % above the exact value; `--exact` keeps all values. All other columns are exact. Operations of unknown \
    duration in a phase are not counted in it. The bounds hold for any durations of the missing operations, \
    `untimed` and `lost_events` together: with m of them a percentile lies between the recorded values of rank \
    ceil(q (n + m)) - m and ceil(q (n + m)), and has no upper bound if that rank is more than n, that is if more than \
    1 - q of all are missing. No bounds are given for avg, min and max when events are missing. Comparison with other tools: fio's \
    `clat` is nearest to `syscall`, or to the operations of aio and io_uring; for buffered writes it is the copy into the page cache, not the disk; \
    for Linux aio it lasts until the program fetches the completion. `device` is from issue to completion (D2C), `total` from the queueing of the first \
    bio (Q2C), which is longer than `r_await` and `w_await` of iostat by the time before the request was made.";

/// The table.
pub static TABLE: Table = Table {
    name: "latency",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| in_frames(&columns(), rows(&results.finished, &results.trust), take),
};

/// Word in `marks` of estimates from a sample.
const SAMPLED: &str = "sampled";

/// Word in `marks` of a layer with possibly more missing events than known.
const AT_LEAST: &str = "at_least";

/// Source of a row.
pub struct Row {
    system: String,
    layer: Layer,
    op: Op,
    phase: Phase,
    distribution: Distribution,
    lost: Missing,
    /// Whether the row is an estimate from a sample, without bounds.
    sampled: bool,
    marks: String,
}

impl Row {
    fn new(system: &str, (layer, op, phase): (Layer, Op, Phase), distribution: Distribution, trust: &Trust) -> Row {
        let lost = trust.missing[layer as usize];
        // Events of a file system with a duration are never sampled.
        let sampled = trust.sampled && layer != Layer::Fs;
        let marks = if sampled { SAMPLED.to_owned() } else { marks(&distribution, lost) };
        Row { system: system.to_owned(), layer, op, phase, distribution, lost, sampled, marks }
    }

    /// Number of missing events that may belong to this row; `None`, not zero, if none is known but some may be missing.
    fn missing(&self, known: u64) -> Option<u64> {
        (known > 0 || !self.lost.more).then_some(known)
    }

    fn lost_share(&self) -> Option<f64> {
        if self.sampled {
            return None;
        }
        let missing = self.missing(self.distribution.untimed.saturating_add(self.lost.at_least))? as f64;
        Some(missing / (missing + self.distribution.count as f64))
    }

    fn quantiles(&self) -> impl Iterator<Item = &Quantile> {
        self.distribution.percentiles.iter().flatten()
    }
}

/// Returns the percentiles that may have moved, with a `?` after those without an upper bound.
fn marks(distribution: &Distribution, lost: Missing) -> String {
    let of_percentile = |(percentile, quantile): (&Percentile, &Option<Quantile>)| {
        let moved = quantile.filter(Quantile::may_have_moved)?;
        Some(format!("{}{}", percentile.mark(), if moved.high_ns.is_none() { "?" } else { "" }))
    };
    let moved = PERCENTILES.iter().zip(&distribution.percentiles).filter_map(of_percentile);
    let at_least = lost.more.then(|| AT_LEAST.to_owned());
    at_least.into_iter().chain(moved).collect::<Vec<_>>().join(" ")
}

/// Rows of all distributions: systems by name, the rest in order of declaration.
pub fn rows(finished: &Finished, trust: &Trust) -> impl Iterator<Item = Row> {
    of_systems(finished, trust, 0..finished.systems.len())
}

/// Rows of the systems at these places.
pub fn of_systems(
    finished: &Finished,
    trust: &Trust,
    places: impl IntoIterator<Item = usize>,
) -> impl Iterator<Item = Row> {
    places.into_iter().map(|place| finished.systems.at(place)).flat_map(move |system| {
        let row = |(key, distribution)| Row::new(system.name, key, distribution, trust);
        system.latency().into_iter().map(row).collect::<Vec<_>>()
    })
}

/// Returns a note on the percentiles in `rows`, if events are missing.
pub fn note(rows: impl Iterator<Item = Row>) -> Option<String> {
    let (mut all, mut unbounded, mut has_more) = (0u64, 0u64, false);
    for row in rows {
        has_more |= row.lost.more;
        for quantile in row.quantiles().filter(|quantile| !row.sampled && quantile.may_have_moved()) {
            all += 1;
            unbounded += u64::from(quantile.high_ns.is_none());
        }
    }
    let mut parts = Vec::new();
    if all > 0 {
        let percentiles = if all == 1 { "percentile" } else { "percentiles" };
        parts.push(format!("missing operations may have moved {all} {percentiles} by more than 0.1 %"));
    }
    if unbounded > 0 {
        parts.push(format!("no upper bound for {unbounded}, because more than 1 - p of the operations may be missing"));
    }
    if has_more {
        parts.push("more may be missing than is known".to_owned());
    }
    (!parts.is_empty()).then(|| format!("Column marks of latency.csv: {}.", parts.join("; ")))
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
        text("system", "Name of the system, as in `summary.csv`.", |row| &row.system),
        text("layer", "`syscall`, `vfs`, `fs` or `block`.", |row| row.layer.name()),
        text("op", "Operation, as in the tables.", |row| row.op.name()),
        text("phase", "Measured phase of the operation.", |row| row.phase.name()),
        integer(
            "count",
            "Number of operations of known duration in the phase, failed ones included.".into(),
            |d| Some(d.count),
        ),
        integer(
            "recorded",
            "Number of these operations in the capture: fewer than `count` with sampling (`--cpu-limit`), where a row represents several operations.".into(),
            |d| Some(d.recorded),
        ),
        integer("avg_ns", "Mean duration in ns, exact and then rounded.".into(), |d| d.avg_ns),
        integer("min_ns", "Minimum duration in ns.".into(), |d| d.min_ns),
    ];
    for (index, percentile) in PERCENTILES.iter().enumerate() {
        let doc = format!(
            "{} percentile of the duration in ns; empty below {} values (with sampling: effective sample size).",
            percentile.name,
            percentile.needs()
        );
        columns.push(integer(percentile.column, doc, move |d| Some(d.percentiles[index]?.ns)));
    }
    columns.push(integer("max_ns", "Maximum duration in ns.".into(), |d| d.max_ns));
    columns.extend(missing());
    for (index, percentile) in PERCENTILES.iter().enumerate() {
        columns.extend(bounds(index, percentile));
    }
    columns
}

/// Columns of missing operations.
fn missing() -> [ResultColumn<Row>; 4] {
    [
        integer("untimed", "Number of operations of this row of unknown duration in the phase.".into(), |d| Some(d.untimed)),
        ResultColumn {
            name: "lost_events".into(),
            doc: "Number of events of the layer that are known to be lost, and of events that may match the filters (owner or name unknown). \
                  Any of them may belong to this row. Empty, not zero, when \
                  none is known but some may be missing."
                .into(),
            value: Value::Integer(Box::new(|row: &Row| row.missing(row.lost.at_least))),
        },
        ResultColumn {
            name: "lost_share".into(),
            doc: "Share of this row's operations that is missing if all `lost_events` belong to it: (`untimed` + `lost_events`) \
                  / (`untimed` + `lost_events` + `count`). Empty with sampling."
                .into(),
            value: Value::Number(Box::new(Row::lost_share)),
        },
        text(
            "marks",
            "Percentiles that missing operations may have moved by more than 0.1 % (`p99`), with a `?` if the \
             true percentile may be beyond all recorded values (`p99?`). `sampled`, alone: estimates because of `--cpu-limit`; there are no bounds. `at_least`: more may be missing than is known, so \
             marks, share and bounds are minimums. Empty when all percentiles are as precise as printed.",
            |row| &row.marks,
        ),
    ]
}

fn bounds(index: usize, percentile: &Percentile) -> [ResultColumn<Row>; 2] {
    let column = |end: &str, doc: String, value: fn(Quantile) -> Option<u64>| {
        let name = format!("{}_{end}_ns", percentile.mark());
        let of_row = move |row: &Row| if row.sampled { None } else { value(row.distribution.percentiles[index]?) };
        ResultColumn { name, doc, value: Value::Integer(Box::new(of_row)) }
    };
    let name = percentile.column;
    [
        column(
            "low",
            format!("Lower bound of `{name}`: all missing operations took less; empty when not known."),
            |q| q.low_ns,
        ),
        column(
            "high",
            format!("Upper bound of `{name}`: all missing operations took more; empty when not known."),
            |q| q.high_ns,
        ),
    ]
}
