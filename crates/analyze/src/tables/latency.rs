//! `latency.csv`: the distribution of durations, one row for each system, layer, operation and phase.

use iostrata_capture::op::{Layer, Op};

use crate::aggregate::sample::{Distribution, PERCENTILES, Percentile, Quantile};
use crate::event::Phase;
use crate::frame::{ResultColumn, Value};
use crate::partial::Finished;
use crate::trust::{Missing, Trust};

/// What the table is.
pub const DOC: &str = "One row for each system, layer, operation and phase that occurred. A percentile q of n values is the value of \
    rank ceil(q n), counted from 1 in ascending order. It is empty where n (1 - q) < 1, because no value lies \
    beyond it then. Beyond 512 values percentiles come from HDR histograms with three significant digits, and are \
    at most 0.1 % above the exact value; `--exact` keeps all values. All other columns are exact. Rows whose phase \
    is not known are not counted in it. The bounds hold whatever durations those operations had that are missing, \
    `untimed` and `lost_events` together: with m of them a percentile lies between the recorded values of rank \
    ceil(q (n + m)) - m and ceil(q (n + m)), and has no upper bound where that is more than n, which is where more than \
    1 - q of all are missing. Of an average, a least and a greatest value no bound is known once anything is missing. What to compare it with: fio's \
    `clat` is nearest to `syscall`, or to the operations of aio and io_uring; of buffered writes that is the copy into the page cache, not the disk; \
    of Linux aio it goes on until the program asks for the end. `device` is from issue to completion (D2C), `total` from the queueing of the first \
    bio (Q2C), which is longer than `r_await` and `w_await` of iostat by what came before the request was made.";

/// In `marks` of what is an estimate, because not all of it was recorded.
const SAMPLED: &str = "sampled";

/// In `marks` of a layer of which more may be missing than is known.
const AT_LEAST: &str = "at_least";

/// What a row is made from.
pub struct Row {
    system: String,
    layer: Layer,
    op: Op,
    phase: Phase,
    distribution: Distribution,
    lost: Missing,
    /// Not all of its kind was recorded: there are no bounds.
    sampled: bool,
    marks: String,
}

impl Row {
    fn new(system: &str, (layer, op, phase): (Layer, Op, Phase), distribution: Distribution, trust: &Trust) -> Row {
        let lost = trust.missing[layer as usize];
        // What a file system tells that has a duration is recorded in any case.
        let sampled = trust.sampled && layer != Layer::Fs;
        let marks = if sampled { SAMPLED.to_owned() } else { marks(&distribution, lost) };
        Row { system: system.to_owned(), layer, op, phase, distribution, lost, sampled, marks }
    }

    /// What is missing and may be of this row. That none is known where there may be some is not zero.
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

/// The percentiles that may have moved, a `?` after those that have no upper bound.
fn marks(distribution: &Distribution, lost: Missing) -> String {
    let of_percentile = |(percentile, quantile): (&Percentile, &Option<Quantile>)| {
        let moved = quantile.filter(Quantile::may_have_moved)?;
        Some(format!("{}{}", percentile.mark(), if moved.high_ns.is_none() { "?" } else { "" }))
    };
    let moved = PERCENTILES.iter().zip(&distribution.percentiles).filter_map(of_percentile);
    let at_least = lost.more.then(|| AT_LEAST.to_owned());
    at_least.into_iter().chain(moved).collect::<Vec<_>>().join(" ")
}

/// One row for each distribution: systems by name, the rest in order of declaration.
pub fn rows(finished: &Finished, trust: &Trust) -> impl Iterator<Item = Row> {
    of_systems(finished, trust, 0..finished.systems.len())
}

/// Those of the systems at these places.
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

/// What to know of the percentiles in `rows`, where something is missing of them.
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
        parts.push(format!("what is missing may have moved {all} {percentiles} by more than a thousandth"));
    }
    if unbounded > 0 {
        parts.push(format!(
            "of {unbounded} there is no upper bound, because more than 1 - p of the operations may be missing"
        ));
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
        text("system", "The system, as in `summary.csv`.", |row| &row.system),
        text("layer", "`syscall`, `vfs`, `fs` or `block`.", |row| row.layer.name()),
        text("op", "The operation, as in the tables.", |row| row.op.name()),
        text("phase", "Which stretch of it was measured.", |row| row.phase.name()),
        integer("count", "Operations whose phase is known, failed ones included.".into(), |d| Some(d.count)),
        integer(
            "recorded",
            "How many of them are in the capture: fewer than `count` where `--cpu-limit` left some out, which those stand for.".into(),
            |d| Some(d.recorded),
        ),
        integer("avg_ns", "The average, exact and then rounded.".into(), |d| d.avg_ns),
        integer("min_ns", "The least.".into(), |d| d.min_ns),
    ];
    for (index, percentile) in PERCENTILES.iter().enumerate() {
        let doc = format!(
            "The {} percentile; empty below {} values, or where those that were recorded say no more than so many of equal weight would.",
            percentile.name,
            percentile.needs()
        );
        columns.push(integer(percentile.column, doc, move |d| Some(d.percentiles[index]?.ns)));
    }
    columns.push(integer("max_ns", "The greatest.".into(), |d| d.max_ns));
    columns.extend(missing());
    for (index, percentile) in PERCENTILES.iter().enumerate() {
        columns.extend(bounds(index, percentile));
    }
    columns
}

/// The columns that say what a row may lack.
fn missing() -> [ResultColumn<Row>; 4] {
    [
        integer("untimed", "Operations of this row whose phase is not known.".into(), |d| Some(d.untimed)),
        ResultColumn {
            name: "lost_events".into(),
            doc: "Events of the layer that are known to be lost, and those of which nobody knows whether they are asked for. Any of them \
                  may have been of this row. Empty, and not zero, where \
                  none is known and there may be some."
                .into(),
            value: Value::Integer(Box::new(|row: &Row| row.missing(row.lost.at_least))),
        },
        ResultColumn {
            name: "lost_share".into(),
            doc: "The share of this row's operations that is missing if all `lost_events` were of it: (`untimed` + `lost_events`) \
                  / (`untimed` + `lost_events` + `count`). Empty of a sample."
                .into(),
            value: Value::Number(Box::new(Row::lost_share)),
        },
        text(
            "marks",
            "The percentiles that what is missing may have moved by more than a thousandth (`p99`), with a `?` those of which it \
             may have moved the true one beyond all recorded values (`p99?`). `sampled`, alone: estimates, because `--cpu-limit` left some out; there are no bounds. `at_least`: more may be missing than is known, so \
             marks, share and bounds are the least. Empty where all percentiles are as good as they are printed.",
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
        column("low", format!("`{name}` at least, if all that is missing took less; empty where not known."), |q| {
            q.low_ns
        }),
        column("high", format!("`{name}` at most, if all that is missing took more; empty where not known."), |q| {
            q.high_ns
        }),
    ]
}
