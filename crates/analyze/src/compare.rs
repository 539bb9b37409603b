//! Comparison of captures: metrics that differ, and the significance of the differences.

mod bootstrap;
mod measures;
pub mod table;
mod terminal;

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, bail};
use iostrata_capture::Capture;

use crate::analyses::timeline::aggregate::Timeline;
use crate::analyses::{self, Results};
use crate::analysis::analyzed;
use crate::commands::{Outcome, check_printed};
use crate::options::{Analyze, Compare};
use crate::output::{Directory, one_line, pass_on, print};
use crate::{about, frame, notes};
use bootstrap::{Intervals, Measured, intervals};
use measures::{Measures, Metric};

/// Minimum number of repeats; with fewer, an interval says little.
const FEW: usize = 5;

/// Results of one side.
#[derive(Default)]
struct Side {
    /// Metrics of each capture.
    measures: Vec<Measures>,
    about: Vec<about::Source>,
    /// Length of the time windows in each capture.
    windows_ns: Vec<i64>,
    /// Notes on the captures.
    notes: Vec<String>,
    /// Whether the captures are complete.
    complete: bool,
    /// Present and expected row counts of tables that are not as they were written.
    rows_there: Vec<String>,
}

/// Metric on both sides.
#[derive(Debug)]
pub struct Compared {
    /// Metric.
    pub metric: Metric,
    /// Numbers of values, before and after.
    pub values: [usize; 2],
    /// Means, before and after.
    pub means: [f64; 2],
    /// Confidence intervals of the difference, if there are enough values.
    pub intervals: Option<Intervals>,
    /// Marks of the row.
    pub marks: Vec<&'static str>,
}

pub use bootstrap::Interval;

/// Compares, and prints or writes the result.
pub fn run(options: &Compare, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    check_printed(&options.analyze)?;
    let mut sides = Vec::new();
    for captures in [&options.before, &options.after] {
        let mut side = Side { complete: true, ..Side::default() };
        for capture in captures {
            let analyze = Analyze { captures: vec![capture.clone()], out: None, ..options.analyze.clone() };
            analyzed(&analyze, err, |results, choice, _, _| {
                let window_ns = results.finished.of::<Timeline>()?.width_ns;
                let mut measures = Measures::new();
                for table in (analyses::COMPARE.parts)().into_iter().filter_map(|part| part.tables.first()) {
                    measures::add(&mut measures, table, &table.frame(results)?, window_ns)?;
                }
                side.measures.push(measures);
                side.windows_ns.push(window_ns);
                let Results { captures, finished, trust, .. } = results;
                let notes = trust.notes.iter().cloned().chain(notes::of(captures, choice, finished, trust));
                side.notes.extend(notes.map(|note| format!("{}: {note}", capture.display())));
                side.about.extend(results.captures.iter().map(|capture: &Capture| about::Source::of(capture)));
                side.complete &= results.trust.complete;
                let there = trust.rows_there.iter().map(|line| format!("{}: {line}", capture.display()));
                side.rows_there.extend(there);
                Ok(())
            })?;
        }
        sides.push(side);
    }
    let windows_ns = sides.iter().flat_map(|side| &side.windows_ns);
    if let (Some(least), Some(most)) = (windows_ns.clone().min(), windows_ns.max())
        && least < most
    {
        let [least, most] = [least, most].map(|ns| humantime::format_duration(Duration::from_nanos(ns.unsigned_abs())));
        bail!(
            "time windows are {least} long in one capture and {most} in another, expected --window {most} or a shorter time"
        );
    }
    let is_complete = sides.iter().all(|side| side.complete);
    let compared = compare(&sides[0], &sides[1], options.confidence_percent / 100.0, is_complete);
    let mut table = frame::frame(&table::columns(), &compared)?;
    let mut text = terminal::table(&compared, options.confidence_percent);
    let notes = sides.iter().flat_map(|side| &side.notes).filter(|_| !options.analyze.is_quiet);
    let mut notes: String = notes.map(|note| format!("{}\n", one_line(note))).collect();
    if !is_complete {
        notes.push_str("\na capture is incomplete (see above); the missing events may explain differences\n");
    }
    if options.analyze.is_printed {
        let mut bytes = Vec::new();
        options.analyze.format.write(&mut table, &mut bytes)?;
        pass_on(out, &bytes)?;
        print(err, &notes)?;
        return Ok(if is_complete { Outcome::Complete } else { Outcome::Incomplete });
    }
    text.push_str(&notes);
    if let Some(out) = &options.analyze.out {
        let directory = Directory::create(out)?;
        let name = table::file_in(options.analyze.format);
        let rows_there = sides.iter().flat_map(|side| side.rows_there.clone()).collect();
        let sources = sides.into_iter().flat_map(|side| side.about).collect();
        let about =
            about::with(&directory, std::slice::from_ref(&name), &options.analyze, sources, (is_complete, rows_there))?;
        let mut files = directory.files();
        files.add_with(&name, |to| options.analyze.format.write(&mut table, to))?;
        files.add(about::FILE_NAME, &about)?;
        files.finish()?;
        text.push_str(&format!("\nWrote {}.\n", one_line(&directory.path(&name).display().to_string())));
    }
    print(out, &text)?;
    Ok(if is_complete { Outcome::Complete } else { Outcome::Incomplete })
}

/// Compares every metric that both sides have.
fn compare(before: &Side, after: &Side, confidence: f64, is_complete: bool) -> Vec<Compared> {
    let of_one = before.measures.len() == 1 && after.measures.len() == 1;
    let Some(first) = before.measures.first() else { return Vec::new() };
    let metrics = before.measures.iter().skip(1).flat_map(|measures| measures.keys());
    let metrics: std::collections::BTreeSet<&Metric> = first.keys().chain(metrics).collect();
    let measured = |side: &Side, metric: &Metric| -> Option<Measured> {
        let values = side.measures.iter().filter_map(|measures| measures.get(metric));
        let measured = if of_one {
            Measured::times(values.flatten().copied().collect())
        } else {
            Measured::repeats(values.map(|values| values.iter().sum::<f64>() / values.len() as f64).collect())
        };
        Some(measured).filter(|measured| !measured.values.is_empty())
    };
    let compared = metrics.into_iter().filter_map(|metric| {
        let (before, after) = (measured(before, metric)?, measured(after, metric)?);
        let intervals = intervals(&before, &after, confidence);
        let mut marks = Vec::new();
        marks.extend(intervals.map(|intervals| verdict(metric, intervals.difference)));
        let fewest = before.values.len().min(after.values.len());
        marks.extend((!of_one && fewest < FEW).then_some("few"));
        marks.extend((of_one && intervals.is_some()).then_some("windows"));
        marks.extend((!is_complete).then_some("incomplete"));
        marks.retain(|mark| !mark.is_empty());
        Some(Compared {
            metric: metric.clone(),
            values: [before.values.len(), after.values.len()],
            means: [before.mean(), after.mean()],
            intervals,
            marks,
        })
    });
    compared.collect()
}

/// Whether more is better: worse for durations and amplification, better for rates of calls and hits, neither for all else.
fn more_is_better(metric: &Metric) -> Option<bool> {
    let column = metric.column.as_str();
    let is_duration = ["avg_ns", "max_ns"].iter().any(|end| column.ends_with(end))
        || column.ends_with("_ns")
            && column.rsplit('_').nth(1).is_some_and(|word| {
                word.starts_with('p') && word.len() > 1 && word[1..].bytes().all(|b| b.is_ascii_digit())
            });
    if is_duration || column.contains("_amp") {
        return Some(false);
    }
    // More requests for the same calls are a cost.
    let is_rate_of_calls = column.starts_with("syscall_") && column.ends_with("_per_s");
    (is_rate_of_calls || column.starts_with("hit_") && column.ends_with("_share")).then_some(true)
}

fn verdict(metric: &Metric, difference: Interval) -> &'static str {
    let is_more = match difference {
        Interval { low, .. } if low > 0.0 => true,
        Interval { high, .. } if high < 0.0 => false,
        _ => return "",
    };
    match more_is_better(metric) {
        None => "changed",
        Some(better) if better == is_more => "better",
        Some(_) => "worse",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_better_follows_from_what_is_measured() {
        let better = |column: &str| more_is_better(&Metric { table: "", row: String::new(), column: column.into() });
        for column in ["avg_ns", "p99_ns", "syscall_read_p50_ns", "block_write_avg_ns", "read_amp_bytes", "max_ns"] {
            assert_eq!(better(column), Some(false), "{column}");
        }
        for column in ["syscall_read_ops_per_s", "hit_pages_share"] {
            assert_eq!(better(column), Some(true), "{column}");
        }
        for column in
            ["total_ns", "ops", "queue_ns", "no_request_share", "step_ns", "block_in_flight", "block_read_ops_per_s"]
        {
            assert_eq!(better(column), None, "{column}");
        }
    }

    fn side(values: &[f64]) -> Side {
        let metric = || Metric { table: "latency", row: "system=etcd".into(), column: "p99_ns".into() };
        let measures = values.iter().map(|value| Measures::from([(metric(), vec![*value])])).collect();
        Side { measures, complete: true, ..Side::default() }
    }

    #[test]
    fn repeats_that_differ_by_more_than_they_vary_are_told() {
        let before = side(&[10.0, 11.0, 10.5, 9.8, 10.2]);
        let marks = |after: &[f64]| compare(&before, &side(after), 0.95, true).remove(0).marks;
        assert_eq!(marks(&[13.0, 14.0, 13.5, 12.9, 13.2]), ["worse"]);
        assert_eq!(marks(&[8.0, 8.5, 7.9, 8.1, 8.3]), ["better"]);
        assert!(marks(&[10.4, 10.9, 9.9, 10.3, 10.0]).is_empty());
        assert_eq!(marks(&[10.0, 10.5]), ["few"]);
    }

    #[test]
    fn of_two_recordings_sums_have_no_interval_and_windows_have_one() {
        let sum = compare(&side(&[10.0]), &side(&[20.0]), 0.95, true).remove(0);
        assert_eq!((sum.intervals, sum.marks.as_slice()), (None, [].as_slice()));
        let windows = |values: Vec<f64>| {
            let metric = Metric { table: "timeline", row: String::new(), column: "syscall_read_ops_per_s".into() };
            Side { measures: vec![Measures::from([(metric, values)])], ..Side::default() }
        };
        let (before, after) = ([5.0, 6.0, 5.5, 5.2, 5.8, 5.1].repeat(3), [2.0, 2.5, 2.2, 2.8, 2.4, 2.1].repeat(3));
        let found = compare(&windows(before), &windows(after), 0.95, false).remove(0);
        assert_eq!(found.marks, ["worse", "windows", "incomplete"]);
    }
}
