//! `summary.csv`: operations, bytes and amplification, one row for each system.

use iostrata_capture::ledger::Amounts;
use iostrata_capture::op::{Direction, Layer};
use polars::prelude::*;

use crate::aggregate::count::{Counts, DIRECTIONS};
use crate::frame::{ResultColumn, Value, number, plus, ratio};
use crate::partial::Finished;
use crate::trust::Trust;

/// What the table is.
pub const DOC: &str = "One row for each system, by name, and last `(total)`, of all of them together: whoever adds up rows leaves it out.";

/// The system of the last row. No command is called so: what is nobody's is in parentheses.
pub const TOTAL: &str = "(total)";

/// The layers whose rows are operations, one each.
pub const OF_OPERATIONS: [Layer; 3] = [Layer::Syscall, Layer::Vfs, Layer::Block];

/// What a row of the summary is made from.
pub struct Row {
    system: String,
    counts: Counts,
    /// What of it, in systems of their own, serves others.
    served: Counts,
    captured: [bool; Layer::ALL.len()],
    lost_events: Option<u64>,
}

/// One row for each system, by name, and that of all systems together.
pub fn rows(finished: &Finished, trust: &Trust) -> impl Iterator<Item = Row> {
    of_systems(finished, trust, 0..finished.systems.len())
}

/// The rows of the systems at these places, and that of all systems together.
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

/// What lost events can have carried, by layer; `None` where it is not known.
pub type LostIo = [Option<Amounts>; Layer::ALL.len()];

/// The columns, in order. `lost_io` sets the bounds of the ratios.
pub fn columns(lost_io: LostIo) -> Vec<ResultColumn<Row>> {
    let mut columns = vec![ResultColumn {
        name: "system".into(),
        doc: "The system, by the rules; a process that no rule knows is a system named after its program (docs/explanation/names.md). `(total)` in the last row.".into(),
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

/// The word for a direction in names of columns.
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
        doc: format!("Operations of the {layer} layer that {}, failed ones included.", word(direction)),
        value: if_captured(layer, move |counts| Some(counts.moved(layer, direction).ops)),
    }
}

fn bytes(layer: Layer, direction: Direction) -> ResultColumn<Row> {
    ResultColumn {
        name: name(layer, direction, "bytes"),
        doc: format!("Bytes that the `{}` moved.", name(layer, direction, "ops")),
        value: if_captured(layer, move |counts| Some(counts.moved(layer, direction).bytes)),
    }
}

fn page_bytes(layer: Layer, direction: Direction) -> ResultColumn<Row> {
    let what = match direction {
        Direction::Read => "entered the page cache to be read (`fill`)",
        Direction::Write => "turned dirty there (`dirty`), for data and metadata",
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
            "Average duration of the `{}`, rounded; empty where there are none.",
            name(layer, direction, "ops")
        ),
        value: if_captured(layer, move |counts| counts.moved(layer, direction).avg_ns()),
    }
}

fn total_ops() -> ResultColumn<Row> {
    ResultColumn {
        name: "total_ops".into(),
        doc: "Rows of all captured layers but `fs`, where a row may be of many events: reads, writes, opens, closes, \
              syncs, discards and all others. Empty where there is no such layer."
            .into(),
        value: Value::Integer(Box::new(|row| {
            let mut captured = OF_OPERATIONS.iter().filter(|layer| row.captured[**layer as usize]).peekable();
            captured.peek()?;
            Some(captured.fold(0, |sum: u64, layer| sum.saturating_add(row.counts.ops(*layer))))
        })),
    }
}

/// The name of a column of [`served`].
fn served_name(direction: Direction, unit: &str) -> String {
    format!("served_{}_{unit}", word(direction))
}

fn served(direction: Direction, unit: &'static str) -> ResultColumn<Row> {
    ResultColumn {
        name: served_name(direction, unit),
        doc: format!(
            "Of the last row: what of `{}` of systems above is left out of it, because it is by daemons of FUSE file systems and serves \
             calls on these, which are counted. 0 in all others.",
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
            "Events lost in the capture as a whole, the same in every row: whose they were is not known. Empty where a \
              recording was cut off."
                .into(),
        value: Value::Integer(Box::new(|row| row.lost_events)),
    }
}

/// A ratio of sums: layers above the line, layers below it, and what each may have lost.
#[derive(Clone)]
struct Ratio {
    name: String,
    doc: String,
    above: Vec<String>,
    below: String,
    /// What is left out below the line in the total, and may belong there.
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
        let doc = format!("{}; empty where a layer of it was not captured or nothing was asked for.", self.doc);
        self.column("", doc, Some(0), (Some(0), false))
    }

    fn low(&self) -> ResultColumn<Row> {
        let doc = format!(
            "`{}` if all lost system calls were of this row and carried as much as they can have, and daemons of FUSE file systems had done all \
             for themselves; empty if not known.",
            self.name
        );
        self.column("_low", doc, Some(0), (self.lost_below, true))
    }

    fn high(&self) -> ResultColumn<Row> {
        let doc = format!(
            "`{}` if all lost events above the line were of this row and carried as much as they can have; empty if not \
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
                // A bound of a ratio that is not defined would be a number about nothing.
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
