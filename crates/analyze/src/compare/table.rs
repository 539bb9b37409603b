//! `compare.csv`: metrics of captures before and after, and their differences.

use crate::compare::{Compared, Interval};
use crate::format::Format;
use crate::frame::ResultColumn;

/// Name of the CSV file.
pub const FILE: &str = "compare.csv";

/// Documentation of the table.
pub const DOC: &str = "`iostrata-analyze compare BEFORE AFTER --out DIR`, or with repeats `compare --before A1 A2 … --after B1 B2 …`: one row for each metric of `summary`, `latency`, `path`, \
    `sync`, `cache` and `timeline` that both sides have, in total and by system. Each capture is analyzed separately. With repeats the means over captures are \
    compared, and the confidence interval comes from a bootstrap over captures (10,000 draws with a fixed seed; expanded for few values). With one capture on each side only \
    the metrics of `timeline` windows have an interval, from a circular block bootstrap over all windows except the first and the last: it shows whether the two recordings differ beyond \
    their own variation, not whether other recordings would. Window metrics that are counts are compared as rates per second. Intervals are for each metric alone (uncorrected): of a hundred metrics that do not differ, about five \
    intervals of 95 % exclude zero, and more for windows with long autocorrelation. There is no interval for too few values: at 95 %, fewer than four values, or fewer than four independent windows. \
    A metric without a row in a capture is missing there, not zero.";

/// Name of the file in `format`.
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
        ResultColumn::text("table", "Table of the metric.", |row: &Compared| row.metric.table),
        ResultColumn::text("row", "Row of the table, as `column=value`; empty for `timeline`.", |row: &Compared| {
            &row.metric.row
        }),
        ResultColumn::text(
            "metric",
            "Column of the table, with its unit in the name; with the suffix `_per_s`, the rate per second of a `timeline` count.",
            |row: &Compared| &row.metric.column,
        ),
        ResultColumn::integer("before_values", "Number of captures, or windows of one capture, with the metric before.", |row: &Compared| {
            Some(row.values[0] as u64)
        }),
        ResultColumn::integer("after_values", "Number of captures, or windows of one capture, with the metric after.", |row: &Compared| Some(row.values[1] as u64)),
        number("before_mean", "Mean of the values before, in the unit of the metric.", |row| Some(row.means[0])),
        number("after_mean", "Mean of the values after, in the unit of the metric.", |row| Some(row.means[1])),
        number("difference", "`after_mean` - `before_mean`.", |row| Some(row.means[1] - row.means[0])),
        end("difference_low", "Lower bound of the confidence interval of the difference (`--confidence`, 95 %).", difference, |of| of.low),
        end("difference_high", "Upper bound of the confidence interval of the difference.", difference, |of| of.high),
        number("change", "Relative change: `after_mean` / `before_mean` - 1.", |row| {
            (row.means[0] > 0.0).then(|| row.means[1] / row.means[0] - 1.0)
        }),
        end("change_low", "Lower bound of the confidence interval of the change.", change, |of| of.low),
        end("change_high", "Upper bound of the confidence interval of the change.", change, |of| of.high),
        ResultColumn {
            name: "marks".into(),
            doc: "If the interval of the difference excludes zero: `worse` for a higher duration or amplification, or a lower rate of calls or hit ratio; `better` for the reverse; \
                `changed` for all other metrics. `few`: fewer than five repeats on a side. `windows`: values are windows of one recording. `incomplete`: a capture lacks \
                something."
                .into(),
            value: crate::frame::Value::Words(Box::new(|row: &Compared| row.marks.join(" "))),
        },
    ]
}
