//! `summary.csv`: operations, bytes and amplification, one row for each system.

use iostrata_capture::ledger::Amounts;
use iostrata_capture::op::{Direction, Layer};
use polars::prelude::*;

use crate::aggregate::count::{Counts, DIRECTIONS};
use crate::analyses::table::{Table, in_frames};
use crate::frame::{self, ResultColumn, Value, number, plus, ratio};
use crate::partial::Finished;
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str =
    "One row for each system, by name, and last `(total)`, the sum of all systems: exclude it when adding up rows.";

/// The table.
pub static TABLE: Table = Table {
    name: "summary",
    doc: DOC,
    columns: || frame::markdown(&columns(LostIo::default())),
    rows: |results, take| in_frames(&columns(results.trust.lost_io), rows(&results.finished, &results.trust), take),
};

/// System of the last row. No command has this name: names in parentheses are not attributable to a process.
pub const TOTAL: &str = "(total)";

/// Layers in which each row is one operation.
pub const OF_OPERATIONS: [Layer; 3] = [Layer::Syscall, Layer::Vfs, Layer::Block];

/// Source of a row.
pub struct Row {
    system: String,
    counts: Counts,
    /// Calls of FUSE daemons that serve calls of other systems; they are counted in their own rows, not in the total.
    served: Counts,
    captured: [bool; Layer::ALL.len()],
    lost_events: Option<u64>,
}

/// Rows of all systems, by name, and of the total.
pub fn rows(finished: &Finished, trust: &Trust) -> impl Iterator<Item = Row> {
    of_systems(finished, trust, 0..finished.systems.len())
}

/// Rows of the systems at these places, and of the total.
pub fn of_systems(
    finished: &Finished,
    trust: &Trust,
    places: impl IntoIterator<Item = usize>,
) -> impl Iterator<Item = Row> {
    let systems = places.into_iter().map(|place| finished.systems.at(place));
    systems.map(|system| row(system.name, system.counts(), trust)).chain([total(finished, trust)])
}

fn total(finished: &Finished, trust: &Trust) -> Row {
    let captured = trust.captured_of_total();
    Row { served: finished.served.clone(), captured, ..row(TOTAL, finished.total.clone(), trust) }
}

fn row(system: &str, counts: Counts, trust: &Trust) -> Row {
    let captured = trust.captured;
    let (system, served) = (system.to_owned(), Counts::default());
    Row { system, counts, served, captured, lost_events: trust.lost_events }
}

/// Upper bound of the I/O of lost events, by layer; `None` where it is not known.
pub type LostIo = [Option<Amounts>; Layer::ALL.len()];

/// The columns, in order. `lost_io` sets the bounds of the ratios.
pub fn columns(lost_io: LostIo) -> Vec<ResultColumn<Row>> {
    let mut columns = vec![ResultColumn {
        name: "system".into(),
        doc: "Name of the system by the rules. A process that no rule matches is a system named after its program (docs/explanation/names.md). `(total)` in the last row.".into(),
        value: Value::Text(Box::new(|row: &Row| &row.system)),
    }];
    for layer in Layer::ALL {
        if OF_OPERATIONS.contains(layer) {
            columns.extend(DIRECTIONS.map(|direction| ops(*layer, direction)));
            columns.extend(DIRECTIONS.map(|direction| bytes(*layer, direction)));
        } else {
            columns.extend(DIRECTIONS.map(|direction| page_bytes(*layer, direction)));
        }
    }
    for layer in OF_OPERATIONS {
        columns.extend(DIRECTIONS.map(|direction| avg_ns(layer, direction)));
    }
    let ratios = ratios(lost_io);
    columns.extend(ratios.iter().map(Ratio::value));
    columns.push(total_ops());
    columns.push(lost_events());
    columns.extend(DIRECTIONS.into_iter().flat_map(|direction| ["bytes", "ops"].map(|unit| served(direction, unit))));
    columns.extend(ratios.iter().flat_map(|ratio| [ratio.low(), ratio.high()]));
    columns
}

/// Name of a direction in column names.
pub fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Read => "read",
        Direction::Write => "write",
    }
}

fn name(layer: Layer, direction: Direction, unit: &str) -> String {
    format!("{layer}_{}_{unit}", word(direction))
}

fn if_captured(layer: Layer, value: impl Fn(&Counts) -> Option<u64> + 'static) -> Value<Row> {
    Value::Integer(Box::new(move |row| if row.captured[layer as usize] { value(&row.counts) } else { None }))
}

fn ops(layer: Layer, direction: Direction) -> ResultColumn<Row> {
    ResultColumn {
        name: name(layer, direction, "ops"),
        doc: format!("Number of {}s of the {layer} layer, failed ones included.", word(direction)),
        value: if_captured(layer, move |counts| Some(counts.moved(layer, direction).ops)),
    }
}

fn bytes(layer: Layer, direction: Direction) -> ResultColumn<Row> {
    ResultColumn {
        name: name(layer, direction, "bytes"),
        doc: format!("Number of bytes that the `{}` moved.", name(layer, direction, "ops")),
        value: if_captured(layer, move |counts| Some(counts.moved(layer, direction).bytes)),
    }
}

fn page_bytes(layer: Layer, direction: Direction) -> ResultColumn<Row> {
    let what = match direction {
        Direction::Read => "entered the page cache for reading (`fill`)",
        Direction::Write => "turned dirty in the page cache (`dirty`), data and metadata",
    };
    ResultColumn {
        name: name(layer, direction, "bytes"),
        doc: format!("Bytes of the folios that {what}."),
        value: if_captured(layer, move |counts| Some(counts.moved(layer, direction).bytes)),
    }
}

fn avg_ns(layer: Layer, direction: Direction) -> ResultColumn<Row> {
    ResultColumn {
        name: name(layer, direction, "avg_ns"),
        doc: format!(
            "Mean duration of the `{}` in ns, rounded; empty when there are none.",
            name(layer, direction, "ops")
        ),
        value: if_captured(layer, move |counts| counts.moved(layer, direction).avg_ns()),
    }
}

fn total_ops() -> ResultColumn<Row> {
    ResultColumn {
        name: "total_ops".into(),
        doc: "Number of operations of all captured layers except `fs`, where a row may stand for many events: reads, writes, opens, closes, \
              syncs, discards and all others. Empty when no such layer was captured."
            .into(),
        value: Value::Integer(Box::new(|row| {
            let mut captured = OF_OPERATIONS.iter().filter(|layer| row.captured[**layer as usize]).peekable();
            captured.peek()?;
            Some(captured.fold(0, |sum: u64, layer| sum.saturating_add(row.counts.ops(*layer))))
        })),
    }
}

/// Name of a column of [`served`].
fn served_name(direction: Direction, unit: &str) -> String {
    format!("served_{}_{unit}", word(direction))
}

fn served(direction: Direction, unit: &'static str) -> ResultColumn<Row> {
    ResultColumn {
        name: served_name(direction, unit),
        doc: format!(
            "In the last row: part of the `{}` of the systems above that is excluded from the total, because FUSE daemons serve with it \
             calls that are counted already. 0 in all other rows.",
            name(Layer::Syscall, direction, unit)
        ),
        value: if_served(direction, unit),
    }
}

fn if_served(direction: Direction, unit: &'static str) -> Value<Row> {
    Value::Integer(Box::new(move |row| {
        let moved = row.served.moved(Layer::Syscall, direction);
        row.captured[Layer::Syscall as usize].then_some(if unit == "ops" { moved.ops } else { moved.bytes })
    }))
}

fn lost_events() -> ResultColumn<Row> {
    ResultColumn {
        name: "lost_events".into(),
        doc:
            "Number of events lost in the whole capture, the same in every row: their owners are not known. Empty when a \
              recording is incomplete (interrupted)."
                .into(),
        value: Value::Integer(Box::new(|row| row.lost_events)),
    }
}

/// Ratio of sums: numerator (`above`), denominator (`below`), and what each may have lost.
#[derive(Clone)]
struct Ratio {
    name: String,
    doc: String,
    above: Vec<String>,
    below: String,
    /// Column of calls that are excluded from the denominator of the total, and may belong to it.
    served: String,
    lost_above: Option<u64>,
    lost_below: Option<u64>,
}

fn ratios(lost_io: LostIo) -> Vec<Ratio> {
    let by_bytes = DIRECTIONS.map(|direction| Ratio::new(direction, "bytes", &[Layer::Block], lost_io));
    let by_ops = DIRECTIONS.map(|direction| Ratio::new(direction, "ops", &[Layer::Vfs, Layer::Block], lost_io));
    by_bytes.into_iter().chain(by_ops).collect()
}

impl Ratio {
    fn new(direction: Direction, unit: &str, above: &[Layer], lost_io: LostIo) -> Ratio {
        let lost = |layer: Layer| lost_io[layer as usize].map(|amounts| amount(amounts, direction, unit));
        let above_names: Vec<String> = above.iter().map(|layer| name(*layer, direction, unit)).collect();
        let below = name(Layer::Syscall, direction, unit);
        let prose = |names: &[String]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" + ");
        Ratio {
            name: format!("{}_amp_{unit}", word(direction)),
            doc: match above_names.as_slice() {
                [one] => format!("`{one}` / `{below}`"),
                several => format!("({}) / `{below}`", prose(several)),
            },
            lost_above: above.iter().try_fold(0u64, |sum, layer| Some(sum.saturating_add(lost(*layer)?))),
            lost_below: lost(Layer::Syscall),
            above: above_names,
            below,
            served: served_name(direction, unit),
        }
    }

    fn value(&self) -> ResultColumn<Row> {
        let doc = format!("{}; empty when one of the layers was not captured or the denominator is 0.", self.doc);
        self.column("", doc, Some(0), (Some(0), false))
    }

    fn low(&self) -> ResultColumn<Row> {
        let doc = format!(
            "Lower bound of `{}`: all lost system calls belong to this row with their maximum size, and FUSE daemons made all calls \
             for themselves; empty when not known.",
            self.name
        );
        self.column("_low", doc, Some(0), (self.lost_below, true))
    }

    fn high(&self) -> ResultColumn<Row> {
        let doc = format!(
            "Upper bound of `{}`: all lost events of the numerator belong to this row with their maximum size; empty when not \
             known.",
            self.name
        );
        self.column("_high", doc, self.lost_above, (Some(0), false))
    }

    fn column(
        &self,
        suffix: &str,
        doc: String,
        more_above: Option<u64>,
        (more_below, with_served): (Option<u64>, bool),
    ) -> ResultColumn<Row> {
        let Ratio { above, below, served, .. } = self.clone();
        ResultColumn {
            name: format!("{}{suffix}", self.name),
            doc,
            value: Value::Derived(Box::new(move |frame| {
                let asked = number(frame, &below)?;
                let done = sum(frame, &above)?;
                let most = if with_served { (&asked + &number(frame, &served)?)? } else { asked.clone() };
                let bound = ratio(&plus(&done, more_above), &plus(&most, more_below))?;
                // An undefined ratio has no bounds.
                let defined = ratio(&asked, &asked)?;
                &bound * &defined
            })),
        }
    }
}

fn sum(frame: &DataFrame, names: &[String]) -> PolarsResult<Column> {
    let mut sum = plus(&(number(frame, &names[0])?), Some(0));
    for name in &names[1..] {
        sum = (&sum + &number(frame, name)?)?;
    }
    Ok(sum)
}

fn amount(amounts: Amounts, direction: Direction, unit: &str) -> u64 {
    match (direction, unit) {
        (Direction::Read, "ops") => amounts.read_ops,
        (Direction::Read, _) => amounts.read_bytes,
        (Direction::Write, "ops") => amounts.write_ops,
        (Direction::Write, _) => amounts.write_bytes,
    }
}
