//! Metrics in the text format of Prometheus (exposition format 0.0.4).

use anyhow::{Context, Result};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric as Line, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::{ALL, Kind, Metric, Sample, Snapshot};

/// Returns the text of all values.
///
/// # Errors
/// If the text cannot be written.
pub fn text(snapshot: &Snapshot) -> Result<String> {
    let families: Vec<MetricFamily> = ALL.iter().filter_map(|metric| family(metric, snapshot)).collect();
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text).context("cannot write the metrics")?;
    String::from_utf8(text).context("cannot write the metrics")
}

fn family(metric: &'static Metric, snapshot: &Snapshot) -> Option<MetricFamily> {
    let lines: Vec<Line> = snapshot.all(metric).map(|sample| line(metric.kind, sample)).collect();
    if lines.is_empty() {
        return None;
    }
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
    });
    family.set_metric(lines);
    Some(family)
}

fn line(kind: Kind, sample: &Sample) -> Line {
    let label = |(name, value): (&String, &String)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.clone());
        pair.set_value(value.clone());
        pair
    };
    let mut line = Line::default();
    line.set_label(sample.labels.iter().map(label).collect());
    match kind {
        Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(sample.value);
            line.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = Gauge::default();
            gauge.set_value(sample.value);
            line.set_gauge(gauge);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::{EVENTS_LOST, EVENTS_SEEN, PAUSED};
    use super::*;

    #[test]
    fn each_metric_has_its_help_and_type_once() {
        let mut snapshot = Snapshot::default();
        snapshot.put_count(&EVENTS_SEEN, &["block"], 12);
        snapshot.put_count(&PAUSED, &[], 0);
        snapshot.put_count(&EVENTS_LOST, &["block", "ring_full"], 3);
        snapshot.put_count(&EVENTS_SEEN, &["sys\"call"], 7);
        insta::assert_snapshot!(text(&snapshot).expect("a text"), @r#"
        # HELP iostrata_events_seen_total Events that were seen and passed the filters, by table.
        # TYPE iostrata_events_seen_total counter
        iostrata_events_seen_total{table="block"} 12
        iostrata_events_seen_total{table="sys\"call"} 7
        # HELP iostrata_events_lost_total Events that were seen and are not in the capture, by table and cause.
        # TYPE iostrata_events_lost_total counter
        iostrata_events_lost_total{cause="ring_full",table="block"} 3
        # HELP iostrata_paused Whether the recording is paused, because the disk has less free space than `--min-free`.
        # TYPE iostrata_paused gauge
        iostrata_paused 0
        "#);
    }
}
