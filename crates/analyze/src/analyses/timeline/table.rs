//! `timeline.csv`: IOPS, bytes and latency over time, one row for each time window.

use iostrata_capture::TableId;
use iostrata_capture::op::{Direction, Layer};

use crate::aggregate::count::DIRECTIONS;
use crate::aggregate::sample::PERCENTILES;
use crate::analyses::summary::{OF_OPERATIONS, word};
use crate::analyses::table::{Table, at_once};
use crate::analyses::timeline::aggregate::{Cell, Finished as Window, Line, Timeline};
use crate::frame::{self, ResultColumn, Value};
use crate::loss::Losses;
use crate::loss::episodes::Stretch;
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze timeline --out DIR`: one row for each time window, empty windows included. An operation \
    counts in the window in which it began, as with `--since` and `--until`. Windows are one second long, doubled until there are at most \
    5000, or as long as `--window` says, with at most 10000 windows.";

/// The table.
pub static TABLE: Table = Table {
    name: "timeline",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        at_once(&columns(), rows(results.finished.of::<Timeline>()?, &results.known.losses, &results.trust), take)
    },
};

/// Percentiles of a window.
const SHOWN: [&str; 3] = ["p50_ns", "p90_ns", "p99_ns"];

/// Source of a row.
pub struct Row<'a> {
    window: &'a Window,
    captured: [bool; Layer::ALL.len()],
    lost: Option<u64>,
}

/// Rows of all windows by time, empty windows included.
pub fn rows<'a>(line: &'a Line, losses: &[Losses], trust: &Trust) -> Vec<Row<'a>> {
    let losses = told(losses, trust);
    let row = |window: &'a Window| {
        let until_ns = window.since_ns.saturating_add(line.width_ns);
        // Losses of an interrupted recording, and their times, are unknown.
        let lost = trust.lost_events.map(|_| lost(&losses, (window.since_ns, until_ns)));
        Row { window, captured: trust.captured_of_total(), lost }
    };
    line.windows.iter().map(row).collect()
}

/// Losses of the captured layers, each with its time.
fn told(losses: &[Losses], trust: &Trust) -> Vec<Stretch> {
    let is_captured =
        |table: Option<TableId>| table.and_then(TableId::layer).is_none_or(|layer| trust.captured[layer as usize]);
    let episodes = losses.iter().flat_map(|losses| &losses.episodes);
    episodes.filter(|(kind, _)| is_captured(kind.table)).map(|(_, stretch)| stretch.clone()).collect()
}

/// Number of events lost in times that overlap with a window.
fn lost(losses: &[Stretch], (since_ns, until_ns): (i64, i64)) -> u64 {
    let within = losses.iter().filter(|stretch| stretch.until_ns >= since_ns && stretch.since_ns < until_ns);
    within.fold(0, |sum, stretch| sum.saturating_add(stretch.events))
}

impl Row<'_> {
    /// A value of the operations that began in the window; `None` for a layer that was not captured.
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
        "Start of the window in ns, on the clock of `ts_ns`. All windows have the same length.".into(),
        |row| u64::try_from(row.window.since_ns).ok(),
    )];
    for layer in OF_OPERATIONS {
        for direction in DIRECTIONS {
            columns.extend(of_layer(layer, direction));
        }
        columns.push(ResultColumn {
            name: format!("{layer}_in_flight"),
            doc: format!(
                "Mean number of operations of the {layer} layer in flight: their time within the window / length of the window. \
                 Operations of unknown duration are missing, and those that began before or after the selected \
                 time: the last windows may have only operations that began earlier."
            ),
            value: Value::Number(Box::new(move |row: &Row| {
                row.captured[layer as usize].then_some(row.window.under_way[layer as usize])
            })),
        });
    }
    for direction in DIRECTIONS {
        let what = match direction {
            Direction::Read => "entered the page cache for reading",
            Direction::Write => "turned dirty in the page cache",
        };
        columns.push(integer(
            format!("fs_{}_bytes", word(direction)),
            format!("Bytes of the folios that {what}, counted in the window in which their aggregation began."),
            move |row| row.of(Layer::Fs, direction, |cell| cell.moved.bytes),
        ));
    }
    for direction in DIRECTIONS {
        let name = word(direction);
        columns.push(ResultColumn {
            name: format!("{name}_amp_bytes"),
            doc: format!(
                "Amplification: `block_{name}_bytes` / `syscall_{name}_bytes` of the window; empty when system calls moved no bytes. Later writeback \
                 counts in its own window."
            ),
            value: Value::Number(Box::new(move |row: &Row| row.amplification(direction))),
        });
    }
    columns.push(integer(
        "lost_events".into(),
        "Number of events lost in times that overlap with the window (`loss.csv`): each may belong to it. An event is lost when it \
         ends, and may have begun in an earlier window, so 0 does not mean that nothing is missing. Losses at an unknown time are in \
         no window. Empty when a recording is incomplete (interrupted)."
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
            format!("Number of {word}s of the {layer} layer that began in the window, failed ones included."),
            move |row| row.of(layer, direction, |cell| cell.moved.ops),
        ),
        integer(format!("{of}_bytes"), format!("Number of bytes that the {ops} moved."), move |row| {
            row.of(layer, direction, |cell| cell.moved.bytes)
        }),
        integer(format!("{of}_avg_ns"), format!("Mean duration of the {ops} in ns, rounded."), move |row| {
            row.of(layer, direction, |cell| cell.moved.avg_ns())?
        }),
    ];
    for percentile in PERCENTILES.iter().filter(|percentile| SHOWN.contains(&percentile.column)) {
        columns.push(integer(
            format!("{of}_{}", percentile.column),
            format!(
                "{} percentile of the duration of the {ops} in ns, at most 1 % above the exact value; empty below {} operations.",
                percentile.name,
                percentile.needs()
            ),
            move |row| row.of(layer, direction, |cell| cell.durations.at(percentile))?,
        ));
    }
    columns.push(integer(format!("{of}_max_ns"), format!("Maximum duration of the {ops} in ns."), move |row| {
        row.of(layer, direction, |cell| cell.durations.max())?
    }));
    columns
}
