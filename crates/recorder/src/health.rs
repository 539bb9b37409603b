//! Health of a running recording, as printed on SIGUSR1 and by `iostrata status`: what its metrics say.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::metrics::{
    CPU, DRAIN_SILENCE, DRAINED, ELAPSED, EVENTS_LOST, EVENTS_SEEN, OVER_LIMIT, PART_BYTES, PARTS, PAUSED, QUEUED,
    RESIDENT, SAMPLING, Sample, Snapshot, WRITER_SILENCE,
};
use crate::report;

/// Time without a heartbeat after which a thread counts as stalled. An idle thread sends heartbeats; a writer with a stalled
/// disk does not.
const SILENCE: Duration = Duration::from_secs(5);

/// Time of a thread's last heartbeat.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// Records a heartbeat.
    pub fn beat(&self) {
        self.0.store(clock::monotonic_ns().cast_unsigned(), Relaxed);
    }

    /// Time since the last heartbeat; none if there was none.
    pub fn silence(&self) -> Option<Duration> {
        let last = self.0.load(Relaxed);
        (last != 0).then(|| Duration::from_nanos(clock::monotonic_ns().cast_unsigned().saturating_sub(last)))
    }
}

/// Counters of a class of events so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassHealth {
    /// Class, by the name of its table.
    pub class: String,
    /// Events seen.
    pub seen: u64,
    /// Events lost, by cause.
    pub lost: BTreeMap<String, u64>,
}

/// State of a recording so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Process id of the recorder.
    pub pid: u32,
    /// Id of the capture.
    pub capture_id: String,
    /// Time since everything was attached.
    pub elapsed_ms: u64,
    /// Events drained from the rings.
    pub drained_events: u64,
    /// Finished parts.
    pub parts: u64,
    /// Size of the finished parts.
    pub part_bytes: u64,
    /// Resident memory of the process (RSS).
    pub resident_bytes: u64,
    /// CPU time of recorder and BPF programs in the last second, in thousandths of one CPU; none without `--cpu-limit`.
    pub cpu_permille: Option<u64>,
    /// Sampling factor: one in N time slices is recorded.
    pub recorded_one_in: u32,
    /// Whether the CPU time exceeds the limit at the maximum sampling factor.
    pub over_cpu_limit: bool,
    /// Bytes of the batches that wait for the writer.
    pub queued_bytes: u64,
    /// Time since the last heartbeat of the drain thread.
    pub drain_silent_ms: Option<u64>,
    /// Time since the last heartbeat of the writer thread; none if no capture is written.
    pub writer_silent_ms: Option<u64>,
    /// Whether the writer waits for free space on the disk.
    pub paused: bool,
    /// First error of the writer.
    pub error: Option<String>,
    /// Events seen and lost.
    pub classes: Vec<ClassHealth>,
    /// All metrics.
    pub metrics: Snapshot,
}

impl Health {
    /// Interprets the metrics of a recording. `error` is the first error of its writer.
    pub fn of(capture_id: &str, metrics: Snapshot, error: Option<String>) -> Health {
        let millis = |metric| metrics.get(metric).map(|seconds| (seconds * 1000.0) as u64);
        let lost = |table: &str| {
            let of_table = metrics.all(&EVENTS_LOST).filter(|sample| sample.label("table") == table);
            let lost = of_table.filter(|sample| sample.count() > 0);
            lost.map(|sample| (sample.label("cause").to_owned(), sample.count())).collect()
        };
        let class = |sample: &Sample| {
            let class = sample.label("table").to_owned();
            ClassHealth { seen: sample.count(), lost: lost(&class), class }
        };
        Health {
            pid: std::process::id(),
            capture_id: capture_id.to_owned(),
            elapsed_ms: millis(&ELAPSED).unwrap_or(0),
            drained_events: metrics.count(&DRAINED),
            parts: metrics.count(&PARTS),
            part_bytes: metrics.count(&PART_BYTES),
            resident_bytes: metrics.count(&RESIDENT),
            cpu_permille: metrics.get(&CPU).map(|ratio| (ratio * 1000.0).round() as u64),
            recorded_one_in: u32::try_from(metrics.count(&SAMPLING)).unwrap_or(u32::MAX),
            over_cpu_limit: metrics.count(&OVER_LIMIT) > 0,
            queued_bytes: metrics.count(&QUEUED),
            drain_silent_ms: millis(&DRAIN_SILENCE),
            writer_silent_ms: millis(&WRITER_SILENCE),
            paused: metrics.count(&PAUSED) > 0,
            error,
            classes: metrics.all(&EVENTS_SEEN).map(class).collect(),
            metrics,
        }
    }

    /// Problems, one line each; empty if there are none.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut silent = |what: &str, millis: Option<u64>| {
            if let Some(silence) = millis.map(Duration::from_millis).filter(|silence| *silence > SILENCE) {
                let silence = humantime::format_duration(Duration::from_secs(silence.as_secs()));
                complaints.push(format!("{what} for {silence}"));
            }
        };
        silent("the rings have not been drained", self.drain_silent_ms);
        silent("the disk has not accepted any writes", self.writer_silent_ms);
        if self.paused {
            complaints.push("paused: the disk has less free space than --min-free".to_owned());
        }
        if self.over_cpu_limit {
            complaints.push("CPU usage is above --cpu-limit at the maximum sampling factor".to_owned());
        }
        complaints.extend(self.error.as_ref().map(|error| format!("error: {error}")));
        let lost: u64 = self.classes.iter().flat_map(|class| class.lost.values()).sum();
        if lost > 0 {
            complaints.push(format!("{} events lost", HumanCount(lost)));
        }
        complaints
    }

    /// Summary in one line.
    pub fn headline(&self) -> String {
        let cpu = self.cpu_permille.map(|permille| {
            let sampled = if self.recorded_one_in > 1 {
                format!(", sampled, one in {}", self.recorded_one_in)
            } else {
                String::new()
            };
            format!(", {:.1} % of a CPU{sampled}", permille as f64 / 10.0)
        });
        format!(
            "recording for {}: {} events drained, {} finished parts ({}), {} of memory{}",
            humantime::format_duration(Duration::from_secs(self.elapsed_ms / 1000)),
            HumanCount(self.drained_events),
            HumanCount(self.parts),
            HumanBytes(self.part_bytes),
            HumanBytes(self.resident_bytes),
            cpu.unwrap_or_default(),
        )
    }

    /// Text output.
    pub fn text(&self) -> String {
        let mut text = format!("status    {}\n", self.headline());
        let width = self.classes.iter().map(|class| class.class.len()).max().unwrap_or(0).max(8);
        for class in &self.classes {
            let causes = report::causes(class.lost.iter().map(|(cause, count)| (cause.as_str(), *count)));
            let lost: u64 = class.lost.values().sum();
            let _ = writeln!(text, "status    {:<width$} seen {}, lost {lost}{causes}", class.class, class.seen);
        }
        for complaint in self.complaints() {
            let _ = writeln!(text, "warning   {complaint}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Health {
        Health {
            elapsed_ms: 65_000,
            drained_events: 1234,
            drain_silent_ms: Some(80),
            writer_silent_ms: Some(400),
            recorded_one_in: 1,
            classes: vec![ClassHealth { class: "block".into(), seen: 1234, lost: BTreeMap::new() }],
            ..Health::default()
        }
    }

    #[test]
    fn a_recording_that_goes_well_has_no_complaints() {
        assert_eq!(well().complaints(), [""; 0]);
        insta::assert_snapshot!(well().text(), @r"
        status    recording for 1m 5s: 1,234 events drained, 0 finished parts (0 B), 0 B of memory
        status    block    seen 1234, lost 0
        ");
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let mut ill = Health { drain_silent_ms: Some(6_100), writer_silent_ms: Some(70_000), paused: true, ..well() };
        ill.error = Some("cannot write".into());
        ill.classes[0].lost.insert("ring_full".into(), 1_000);
        insta::assert_snapshot!(ill.text(), @r"
        status    recording for 1m 5s: 1,234 events drained, 0 finished parts (0 B), 0 B of memory
        status    block    seen 1234, lost 1000 (ring_full 1000)
        warning   the rings have not been drained for 6s
        warning   the disk has not accepted any writes for 1m 10s
        warning   paused: the disk has less free space than --min-free
        warning   error: cannot write
        warning   1,000 events lost
        ");
    }
}
