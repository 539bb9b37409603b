//! Distributions of durations by layer, operation and phase.

use std::collections::BTreeMap;

use iostrata_capture::op::{Layer, Op};

use super::sample::{Distribution, Sample};
use super::{Aggregate, LostByLayer, Settings};
use crate::event::{Event, Phase};

/// One sample for each layer, operation and phase that occurred.
#[derive(Debug, Clone)]
pub struct Latencies {
    settings: Settings,
    samples: BTreeMap<(Layer, Op, Phase), Sample>,
}

impl Aggregate for Latencies {
    /// In order of declaration of layer, operation and phase.
    type Output = Vec<((Layer, Op, Phase), Distribution)>;

    fn empty(settings: Settings) -> Self {
        Latencies { settings, samples: BTreeMap::new() }
    }

    fn update(&mut self, event: &Event) {
        for phase in Phase::of(event.layer) {
            let duration = event.durations.get(*phase);
            if duration.is_none() && !event.durations.is_unknown(*phase) {
                continue;
            }
            let key = (event.layer, event.op, *phase);
            let sample = self.samples.entry(key).or_insert_with(|| Sample::empty(self.settings.precision));
            match duration {
                Some(ns) => sample.update(ns, event.weight),
                None => sample.update_untimed(event.weight),
            }
        }
    }

    fn combine(&mut self, other: Self) {
        for (key, sample) in other.samples {
            self.samples.entry(key).or_insert_with(|| Sample::empty(self.settings.precision)).combine(sample);
        }
    }

    fn finish(self, lost: &LostByLayer) -> Self::Output {
        let timed = self.samples.into_iter().filter(|(_, sample)| sample.count() > 0);
        timed.map(|(key, sample)| (key, sample.finish(lost[key.0 as usize]))).collect()
    }
}
