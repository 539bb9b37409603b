//! Metrics of the recorder about itself. Each is declared once, with kind, unit and help, and collected in one place, a [`Snapshot`]: what
//! `iostrata status` prints, as text, JSON or for Prometheus, is read from there.
//!
//! A value that is not known has no sample, and is never zero.

mod exposition;
mod sources;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use exposition::text;
pub use sources::{Process, Source};

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sum since the start, which only grows.
    Counter,
    /// Current value.
    Gauge,
}

/// Declaration of a metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name, with its unit; that of a counter ends in `_total`.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Names of the labels.
    pub labels: &'static [&'static str],
    /// Meaning.
    pub help: &'static str,
}

/// Declares the metrics.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $metric:ident: $kind:ident = $name:literal [$($label:literal),*];)+) => {
        $($(#[doc = $help])+ pub static $metric: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: concat!($($help,)+).trim_ascii(),
        };)+

        /// All metrics, in order of declaration.
        pub static ALL: &[&Metric] = &[$(&$metric,)+];
    };
}

metrics! {
    /// Time since everything was attached.
    ELAPSED: Gauge = "iostrata_elapsed_seconds" [];
    /// Events that were seen and passed the filters, by table.
    EVENTS_SEEN: Counter = "iostrata_events_seen_total" ["table"];
    /// Events that were seen and are not in the capture, by table and cause.
    EVENTS_LOST: Counter = "iostrata_events_lost_total" ["table", "cause"];
    /// Records drained from the rings.
    DRAINED: Counter = "iostrata_drained_events_total" [];
    /// Finished parts.
    PARTS: Counter = "iostrata_finished_parts_total" [];
    /// Size of the finished parts.
    PART_BYTES: Counter = "iostrata_finished_part_bytes_total" [];
    /// Batches that wait for the writer.
    QUEUED: Gauge = "iostrata_queued_bytes" [];
    /// Resident memory of the recorder (RSS).
    RESIDENT: Gauge = "iostrata_resident_memory_bytes" [];
    /// CPU time of the recorder's threads, by name of the thread.
    THREAD_CPU: Counter = "iostrata_thread_cpu_seconds_total" ["thread"];
    /// CPU time of the BPF programs of the layers, estimated from a sample of their runs. Only with `--cpu-limit`.
    PROGRAM_CPU: Counter = "iostrata_program_cpu_seconds_total" [];
    /// CPU time of recorder and BPF programs in the last second, as a share of one CPU. Only with `--cpu-limit`.
    CPU: Gauge = "iostrata_cpu_ratio" [];
    /// Sampling factor: one in this many time slices is recorded.
    SAMPLING: Gauge = "iostrata_sampling_factor" [];
    /// Whether the CPU time exceeds the limit at the maximum sampling factor.
    OVER_LIMIT: Gauge = "iostrata_over_cpu_limit" [];
    /// Time since the last heartbeat of the thread that drains the rings.
    DRAIN_SILENCE: Gauge = "iostrata_drain_silence_seconds" [];
    /// Time since the last heartbeat of the thread that writes the capture.
    WRITER_SILENCE: Gauge = "iostrata_writer_silence_seconds" [];
    /// Whether the recording is paused, because the disk has less free space than `--min-free`.
    PAUSED: Gauge = "iostrata_paused" [];
    /// Whether the writer has met an error: its events are lost.
    WRITER_FAILED: Gauge = "iostrata_writer_failed" [];
    /// Maximum number of entries seen in a bounded map of the kernel side, sampled every ten seconds.
    MAP_PEAK: Gauge = "iostrata_map_peak_entries" ["map"];
    /// Maximum number of entries of this map.
    MAP_SIZE: Gauge = "iostrata_map_max_entries" ["map"];
}

impl Metric {
    /// Returns the metric with this name.
    pub fn named(name: &str) -> Option<&'static Metric> {
        ALL.iter().copied().find(|metric| metric.name == name)
    }
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Name of the metric.
    pub name: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

/// Metrics at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Snapshot(Vec<Sample>);

impl Snapshot {
    /// Collects the metrics of all sources.
    pub fn of(sources: &[&dyn Source]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        sources.iter().for_each(|source| source.collect(&mut snapshot));
        snapshot
    }

    /// Adds a value, with the labels in the order of the declaration.
    pub fn put(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let labels = metric.labels.iter().zip(labels).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.0.push(Sample { name: metric.name.to_owned(), labels: labels.collect(), value });
    }

    /// Adds a count.
    pub fn put_count(&mut self, metric: &'static Metric, labels: &[&str], count: u64) {
        self.put(metric, labels, count as f64);
    }

    /// Iterates over the values of a metric.
    pub fn all<'a>(&'a self, metric: &'static Metric) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(|sample| sample.name == metric.name)
    }

    /// Returns the value of a metric without labels; none if it is not known.
    pub fn get(&self, metric: &'static Metric) -> Option<f64> {
        self.all(metric).next().map(|sample| sample.value)
    }

    /// Returns a count; 0 if it is not known.
    pub fn count(&self, metric: &'static Metric) -> u64 {
        self.get(metric).map_or(0, whole)
    }

    /// Iterates over all values.
    pub fn samples(&self) -> &[Sample] {
        &self.0
    }
}

impl Sample {
    /// Returns a label.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// Returns the value of a counter.
    pub fn count(&self) -> u64 {
        whole(self.value)
    }
}

/// Counts are exact up to 2^53.
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_kind_and_a_help_has_an_end() {
        for metric in ALL {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.name.starts_with("iostrata_") && metric.help.ends_with('.'), "{}", metric.name);
            assert_eq!(Metric::named(metric.name), Some(*metric), "declared twice");
        }
    }
}
