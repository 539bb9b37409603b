//! Charts over time: rates, latency and queue depth.

use anyhow::Result;
use iostrata_capture::op::Layer;
use polars::prelude::DataFrame;

use super::aggregate::Timeline;
use super::table::TABLE;
use crate::analyses::Results;
use crate::page::axis::{Axis, Unit};
use crate::page::chart::{Line, Marks};
use crate::page::figures::{Figure, Words, layers, legend};
use crate::page::read::Rows;

/// Maximum number of points of a line: twice as many as a screen shows.
const MOST_POINTS: usize = 600;

/// Aggregation of several windows into one point.
#[derive(Clone, Copy)]
enum Together {
    /// Average divided by this number of seconds.
    Rate(f64),
    /// Maximum.
    Greatest,
}

/// A chart over time, with one column for each layer and direction.
struct Over {
    title: &'static str,
    caption: &'static str,
    axis: &'static str,
    column: &'static str,
    /// Whether reads and writes have a line each.
    directions: bool,
    unit: Unit,
    together: Together,
}

const NS_PER_S: f64 = 1e9;

/// Charts of the timeline.
pub fn lines(frame: &DataFrame, results: &Results) -> Result<Vec<Figure>> {
    let window_ns = results.finished.of::<Timeline>()?.width_ns as f64;
    let rate = Together::Rate(window_ns / NS_PER_S);
    let charts = [
        Over {
            title: "IOPS over time",
            caption: "Operations per second, by begin.",
            axis: "IOPS",
            column: "ops",
            directions: true,
            unit: Unit::Count,
            together: rate,
        },
        Over {
            title: "Throughput over time",
            caption: "Bytes per second, by begin of the operations.",
            axis: "Throughput (bytes/s)",
            column: "bytes",
            directions: true,
            unit: Unit::Bytes,
            together: rate,
        },
        Over {
            title: "Latency over time",
            caption: "p99 latency of each window; the maximum where a point covers several windows. A gap where fewer than 100 \
                      operations began.",
            axis: "p99 latency",
            column: "p99_ns",
            directions: true,
            unit: Unit::Duration,
            together: Together::Greatest,
        },
        Over {
            title: "Queue depth over time",
            caption: "Average number of operations in flight.",
            axis: "Queue depth (in flight)",
            column: "in_flight",
            directions: false,
            unit: Unit::Ratio,
            together: Together::Rate(1.0),
        },
    ];
    charts.iter().map(|over| over.figure(frame, results, window_ns)).collect()
}

impl Over {
    fn figure(&self, frame: &DataFrame, results: &Results, window_ns: f64) -> Result<Figure> {
        let words = Words { title: self.title, caption: self.caption, table: &TABLE };
        let rows = Rows::of(frame);
        let since = rows.sums("since_ns")?;
        let first = since.first().copied().unwrap_or(0.0);
        let together = since.len().div_ceil(MOST_POINTS).max(1);
        let times: Vec<f64> = since.chunks(together).map(|group| group[0] - first).collect();
        let (mut lines, mut labels, mut most) = (Vec::new(), Vec::new(), 0.0f64);
        for layer in layers(results) {
            let ways: &[&str] = if self.directions { &["_read", "_write"] } else { &[""] };
            for (number, way) in ways.iter().enumerate() {
                let values = self.joined(&rows.numbers(&format!("{layer}{way}_{}", self.column))?, together);
                most = values.iter().flatten().copied().fold(most, f64::max);
                let colour = if layer == Layer::Block { 2 } else { 0 } + number;
                labels.push((colour, format!("{layer}{}", way.replace('_', " "))));
                let points = times.iter().zip(values).map(|(time, value)| Some((*time, value?))).collect();
                lines.push(Line { colour, points });
            }
        }
        if most == 0.0 {
            return Ok(words.nothing("No data for this chart."));
        }
        let end = since.last().copied().unwrap_or(0.0) - first + window_ns;
        let (x, y) = (Axis::linear("Time since start", end, Unit::Duration), Axis::linear(self.axis, most, self.unit));
        words.drawn(
            (&x, &y),
            &Marks::Lines(lines),
            legend(labels.iter().map(|(colour, label)| (*colour, label.as_str()))),
        )
    }

    /// Aggregates each `together` consecutive windows into one value.
    fn joined(&self, values: &[Option<f64>], together: usize) -> Vec<Option<f64>> {
        let join = |group: &[Option<f64>]| {
            let known = || group.iter().flatten().copied();
            let count = known().count();
            match self.together {
                _ if count == 0 => None,
                Together::Rate(seconds) => Some(known().sum::<f64>() / count as f64 / seconds),
                Together::Greatest => known().reduce(f64::max),
            }
        };
        values.chunks(together).map(join).collect()
    }
}
