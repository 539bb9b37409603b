//! `timeline.csv`: what happened when, one row for each window of time.

use iostrata_capture::TableId;
use iostrata_capture::op::{Direction, Layer};

use crate::aggregate::count::DIRECTIONS;
use crate::aggregate::sample::PERCENTILES;
use crate::aggregate::timeline::{Cell, Finished as Window};
use crate::frame::{ResultColumn, Value};
use crate::loss::Losses;
use crate::loss::episodes::Stretch;
use crate::partial::Finished;
use crate::tables::summary::{OF_OPERATIONS, word};
use crate::trust::Trust;

/// What the table is.
pub const DOC: &str = "`iostrata-analyze timeline --out DIR`: one row for each window of time, those included in which nothing happened. An operation \
    counts in the window in which it began, as with `--since` and `--until`. Windows are a second long, doubled until there are at most \
    5000, or as long as `--window` says, of which there may be 10000.";

/// The percentiles of a window.
const SHOWN: [&str; 3] = ["p50_ns", "p90_ns", "p99_ns"];

/// What a row is made from.
pub struct Row<'a> {
    window: &'a Window,
    captured: [bool; Layer::ALL.len()],
    lost: Option<u64>,
}

/// One row for each window, in order of time, those included in which nothing happened.
pub fn rows<'a>(finished: &'a Finished, losses: &[Losses], trust: &Trust) -> Vec<Row<'a>> {
    let width_ns = finished.window_ns;
    let losses = told(losses, trust);
    let row = |window: &'a Window| {
        let until_ns = window.since_ns.saturating_add(width_ns);
        // Of a recording that was cut off nobody knows what was lost, or when.
        let lost = trust.lost_events.map(|_| lost(&losses, (window.since_ns, until_ns)));
        Row { window, captured: trust.captured_of_total(), lost }
    };
    finished.timeline.iter().map(row).collect()
}

/// What was lost of the captured layers, each with its time.
fn told(losses: &[Losses], trust: &Trust) -> Vec<Stretch> {
    let is_captured =
        |table: Option<TableId>| table.and_then(TableId::layer).is_none_or(|layer| trust.captured[layer as usize]);
    let episodes = losses.iter().flat_map(|losses| &losses.episodes);
    episodes.filter(|(kind, _)| is_captured(kind.table)).map(|(_, stretch)| stretch.clone()).collect()
}

/// What was lost in times that overlap with this one.
fn lost(losses: &[Stretch], (since_ns, until_ns): (i64, i64)) -> u64 {
    let within = losses.iter().filter(|stretch| stretch.until_ns >= since_ns && stretch.since_ns < until_ns);
    within.fold(0, |sum, stretch| sum.saturating_add(stretch.events))
}

impl Row<'_> {
    /// What began in the window; nothing, where nothing did; `None` of a layer that was not captured.
    fn of<T>(&self, layer: Layer, direction: Direction, value: impl Fn(&Cell) -> T) -> Option<T> {
        let nothing = Cell::default();
        let cell = self.window.window.as_ref().map_or(&nothing, |window| window.of(layer, direction));
        self.captured[layer as usize].then(|| value(cell))
    }

    fn amplification(&self, direction: Direction) -> Option<f64> {
        let bytes = |layer| self.of(layer, direction, |cell| cell.moved.bytes);
        let asked = bytes(Layer::Syscall).filter(|bytes| *bytes > 0)?;
        Some(bytes(Layer::Block)? as f64 / asked as f64)
    }
}

fn integer<'a>(name: String, doc: String, value: impl Fn(&Row<'a>) -> Option<u64> + 'static) -> ResultColumn<Row<'a>> {
    ResultColumn { name, doc, value: Value::Integer(Box::new(value)) }
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<ResultColumn<Row<'a>>> {
    let mut columns = vec![integer(
        "since_ns".into(),
        "When the window begins, in the time of `ts_ns`. All are equally long.".into(),
        |row| u64::try_from(row.window.since_ns).ok(),
    )];
    for layer in OF_OPERATIONS {
        for direction in DIRECTIONS {
            columns.extend(of_layer(layer, direction));
        }
        columns.push(ResultColumn {
            name: format!("{layer}_in_flight"),
            doc: format!(
                "How many operations of the {layer} layer were under way on average: the time that they took within the window, \
                 divided by its length. Those whose duration is not known are missing, and those that began before what is asked \
                 for, or after it: the last windows may be of operations that began earlier alone."
            ),
            value: Value::Number(Box::new(move |row: &Row| {
                row.captured[layer as usize].then_some(row.window.under_way[layer as usize])
            })),
        });
    }
    for direction in DIRECTIONS {
        let what = match direction {
            Direction::Read => "entered the page cache to be read",
            Direction::Write => "turned dirty there",
        };
        columns.push(integer(
            format!("fs_{}_bytes", word(direction)),
            format!("Bytes of the folios that {what}, as far as gathering them began in the window."),
            move |row| row.of(Layer::Fs, direction, |cell| cell.moved.bytes),
        ));
    }
    for direction in DIRECTIONS {
        let name = word(direction);
        columns.push(ResultColumn {
            name: format!("{name}_amp_bytes"),
            doc: format!(
                "`block_{name}_bytes` / `syscall_{name}_bytes` of the window; empty where nothing was asked for. What is written back \
                 later counts later."
            ),
            value: Value::Number(Box::new(move |row: &Row| row.amplification(direction))),
        });
    }
    columns.push(integer(
        "lost_events".into(),
        "Events that were lost in times that overlap with the window (`loss.csv`): each of them may have been of it. One is lost when it \
         ends, and may have begun in an earlier window, so 0 does not mean that nothing is missing. What was lost at no known time is in \
         no window. Empty where a recording was cut off."
            .into(),
        |row| row.lost,
    ));
    columns
}

fn of_layer<'a>(layer: Layer, direction: Direction) -> Vec<ResultColumn<Row<'a>>> {
    let (of, word) = (format!("{layer}_{}", word(direction)), word(direction));
    let ops = format!("`{of}_ops`");
    let mut columns = vec![
        integer(
            format!("{of}_ops"),
            format!("Operations of the {layer} layer that {word} and began in the window, failed ones included."),
            move |row| row.of(layer, direction, |cell| cell.moved.ops),
        ),
        integer(format!("{of}_bytes"), format!("Bytes that the {ops} moved."), move |row| {
            row.of(layer, direction, |cell| cell.moved.bytes)
        }),
        integer(format!("{of}_avg_ns"), format!("Average duration of the {ops}, rounded."), move |row| {
            row.of(layer, direction, |cell| cell.moved.avg_ns())?
        }),
    ];
    for percentile in PERCENTILES.iter().filter(|percentile| SHOWN.contains(&percentile.column)) {
        columns.push(integer(
            format!("{of}_{}", percentile.column),
            format!(
                "The {} percentile of the durations of the {ops}, at most 1 % above the exact value; empty below {} of them.",
                percentile.name,
                percentile.needs()
            ),
            move |row| row.of(layer, direction, |cell| cell.durations.at(percentile))?,
        ));
    }
    columns.push(integer(format!("{of}_max_ns"), format!("The greatest duration of the {ops}."), move |row| {
        row.of(layer, direction, |cell| cell.durations.max())?
    }));
    columns
}
