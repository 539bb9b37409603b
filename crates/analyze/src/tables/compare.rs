//! `compare.csv`: numbers of captures beside those of others.

use crate::compare::{Compared, Interval};
use crate::format::Format;
use crate::frame::ResultColumn;

/// The name of its file.
pub const FILE: &str = "compare.csv";

/// What the table is.
pub const DOC: &str = "`iostrata-analyze compare BEFORE AFTER --out DIR`, or of repeats `compare --before A1 A2 … --after B1 B2 …`: one row for each number of `summary`, `latency`, `path`, \
    `sync`, `cache` and `timeline` that both sides have, of all and of systems. Each capture is analyzed by itself. Of repeats the means over captures are \
    compared, and the interval is that of a bootstrap over captures (10,000 draws, always the same; expanded for few values). Of one capture on each side only \
    what `timeline` has by window has an interval, from a circular block bootstrap over windows but the first and the last: it says whether the two recordings differ beyond \
    how they vary in themselves, not whether others would. Of numbers of windows that are counts the rate by second is taken. Intervals are of each number alone: of a hundred that do not differ, some five \
    of 95 % will not have zero, and of windows that depend on each other for long, more. There is none where values are too few: of 95 %, fewer than four, or as many windows that do not depend on each other. \
    A number that a capture has no row for is missing there, not zero.";

/// The name of its file in a format.
pub fn file_in(format: Format) -> String {
    format!("{}.{}", FILE.strip_suffix(".csv").unwrap_or(FILE), format.extension())
}

/// The columns, in order.
pub fn columns() -> Vec<ResultColumn<Compared>> {
    let number = |name: &str, doc: &str, value: fn(&Compared) -> Option<f64>| ResultColumn::number(name, doc, value);
    let end = |name: &str, doc: &str, of: fn(&Compared) -> Option<Interval>, end: fn(Interval) -> f64| {
        ResultColumn::number(name, doc, move |row: &Compared| of(row).map(end))
    };
    let difference = |row: &Compared| row.intervals.map(|intervals| intervals.difference);
    let change = |row: &Compared| row.intervals.and_then(|intervals| intervals.change);
    vec![
        ResultColumn::text("table", "The table that the number is of.", |row: &Compared| row.metric.table),
        ResultColumn::text("row", "Which of its rows, as `column=value`; empty of `timeline`.", |row: &Compared| {
            &row.metric.row
        }),
        ResultColumn::text(
            "metric",
            "Its column, with the unit in its name; with `_per_s` behind it the rate of what `timeline` counts.",
            |row: &Compared| &row.metric.column,
        ),
        ResultColumn::integer("before_values", "How many captures, or windows of one, have it before.", |row: &Compared| {
            Some(row.values[0] as u64)
        }),
        ResultColumn::integer("after_values", "How many have it after.", |row: &Compared| Some(row.values[1] as u64)),
        number("before_mean", "The mean of these before.", |row| Some(row.means[0])),
        number("after_mean", "The mean of these after.", |row| Some(row.means[1])),
        number("difference", "`after_mean` - `before_mean`.", |row| Some(row.means[1] - row.means[0])),
        end("difference_low", "The least value of its confidence interval (`--confidence`, 95 %).", difference, |of| of.low),
        end("difference_high", "The greatest.", difference, |of| of.high),
        number("change", "`after_mean` / `before_mean` - 1.", |row| {
            (row.means[0] > 0.0).then(|| row.means[1] / row.means[0] - 1.0)
        }),
        end("change_low", "The least value of its confidence interval.", change, |of| of.low),
        end("change_high", "The greatest.", change, |of| of.high),
        ResultColumn {
            name: "marks".into(),
            doc: "Where the interval of the difference does not have zero: `worse`, where it is a duration or amplification and more, or a rate of calls or a hit ratio and less; `better` the other way round; \
                `changed` of all else. `few` with fewer than five repeats on a side, `windows` where values are windows of one recording, `incomplete` where something is \
                missing of a capture."
                .into(),
            value: crate::frame::Value::Words(Box::new(|row: &Compared| row.marks.join(" "))),
        },
    ]
}
