//! View of `stat`.

use anyhow::Result;
use iostrata_capture::op::{IoClass, Layer};
use polars::prelude::*;

use super::table::{TABLE, goes_on};
use crate::aggregate::sequence::Subject;
use crate::analyses::queue::aggregate::{Queue, Sums};
use crate::analyses::{Results, amplification, cache};
use crate::page::read::Rows;
use crate::terminal::{Cell, Shown, duration, table, with_unit};

/// Headers, and columns of `stat.csv`.
const COLUMNS: [(&str, &str); 6] = [
    ("OPS", "ops"),
    ("IOPS", "ops_per_s"),
    ("THROUGHPUT", "bytes_per_s"),
    ("P50", "p50_ns"),
    ("P99", "p99_ns"),
    ("MAX", "max_ns"),
];

/// Builds the table of reads, writes and syncs, and the lines below it.
pub fn lines(results: &Results) -> Result<Shown> {
    let mut shown = operations(&TABLE.frame(results)?)?;
    let spans = [(Layer::Syscall, "system calls"), (Layer::Block, "device requests")];
    let spans = spans.into_iter().filter_map(|(layer, what)| {
        let sums = of_all(results, layer)?;
        let ns = u64::try_from(sums.span_ns()).unwrap_or(u64::MAX);
        Some(format!("{} {what}", duration(ns)))
    });
    let facts = [
        ("time span", join(spans).map(|spans| format!("{spans} (first to last)"))),
        ("amplification", amplification(results)?),
        ("queue depth", of_device(results).and_then(queue_depth)),
        ("utilization", of_device(results).and_then(utilization)),
        ("page cache", page_cache(results)?),
        ("lost events", Some(results.trust.lost_events.map_or("not known".to_owned(), |lost| lost.to_string()))),
    ];
    shown.text.push('\n');
    for (fact, value) in facts {
        shown.text.push_str(&format!("{fact:<15}{}\n", value.unwrap_or_else(|| "-".to_owned())));
    }
    if let Some(ns) = goes_on(results) {
        let ns = duration(u64::try_from(ns).unwrap_or(u64::MAX));
        shown.text.push_str(&format!(
            "\nno device rates: requests went on for {ns} after the last system call (writeback)\n"
        ));
    }
    Ok(shown)
}

/// Joins parts; none if there are none.
fn join(parts: impl Iterator<Item = String>) -> Option<String> {
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn operations(frame: &DataFrame) -> PolarsResult<Shown> {
    let mut rows = Vec::new();
    for row in 0..frame.height() {
        let text = |column: &str| PolarsResult::Ok(frame.column(column)?.get(row)?.str_value().into_owned());
        let layer = text("layer")?;
        let what = match layer.as_str() {
            "syscall" => "application",
            "block" => "device",
            // Calls of applications in the kernel: the same operations once more.
            _ => continue,
        };
        let mut cells = vec![Cell { text: format!("{what} {}s", text("kind")?), is_marked: false }];
        for (_, column) in COLUMNS {
            let value = frame.column(column)?.get(row)?;
            let text = match &value {
                AnyValue::Float64(rate) if column == "ops_per_s" => format!("{rate:.0}"),
                value => with_unit(column, value),
            };
            cells.push(Cell { text, is_marked: false });
        }
        rows.push(cells);
    }
    let headers: Vec<&str> = [""].into_iter().chain(COLUMNS.map(|(header, _)| header)).collect();
    Ok(table(&headers, rows, 1, 0))
}

fn of_all<'a>(results: &'a Results, layer: Layer) -> Option<&'a Sums> {
    let is_captured = results.trust.captured_of_total()[layer as usize];
    let depths = results.finished.order.of::<Queue>().ok().filter(|_| is_captured)?;
    depths.get(&layer)?.get(&Subject::All).filter(|sums| sums.span_ns() > 0)
}

/// Operations of the device, unless their times are not those of the run.
fn of_device<'a>(results: &'a Results) -> Option<&'a Sums> {
    of_all(results, Layer::Block).filter(|_| !results.trust.sampled && goes_on(results).is_none())
}

fn queue_depth(sums: &Sums) -> Option<String> {
    Some(format!(
        "mean {:.2}, p99 {}, maximum {} (device requests in flight)",
        sums.average()?,
        sums.at(99)?,
        sums.max()?
    ))
}

fn utilization(sums: &Sums) -> Option<String> {
    let share = sums.busy_ns() as f64 / sums.span_ns() as f64;
    Some(format!("{:.1} % (time with a request in flight on any device)", share * 100.0))
}

/// Ratio of each direction, and what it consists of.
fn amplification(results: &Results) -> Result<Option<String>> {
    let frame = amplification::total(results)?;
    let mut parts = Vec::new();
    for direction in ["read", "write"] {
        let rows = Rows::of(&frame).with("direction", direction)?;
        let number = |column: &str| PolarsResult::Ok(rows.numbers(column)?.first().copied().flatten());
        let Some(ratio) = number("amplification")? else { continue };
        let mut text = format!("{direction} {ratio:.2}");
        let application = number("application_bytes")?.filter(|bytes| *bytes > 0.0);
        let mut of = Vec::new();
        for class in amplification::device_classes().map(IoClass::name) {
            let bytes = number(&format!("device_{class}_bytes"))?.filter(|bytes| *bytes > 0.0);
            of.extend(bytes.zip(application).map(|(bytes, all)| format!("{class} {:.2}", bytes / all)));
        }
        if of.len() > 1 {
            text.push_str(&format!(" ({})", of.join(", ")));
        }
        parts.push(text);
    }
    // A line for each direction.
    Ok((!parts.is_empty()).then(|| parts.join(&format!("\n{:<15}", ""))))
}

fn page_cache(results: &Results) -> Result<Option<String>> {
    let frame = cache::TABLE.frame(results)?;
    let rows = Rows::of(&frame).with("scope", "all")?;
    let share = rows.numbers("hit_bytes_share")?.first().copied().flatten();
    Ok(share.map(|share| format!("{:.1} % hits (bytes of buffered reads)", share * 100.0)))
}
