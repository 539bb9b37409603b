//! Distributions of durations by layer, operation and phase.

use std::collections::BTreeMap;

use iostrata_capture::op::{Layer, Op};

use super::sample::{Distribution, Sample};
use super::{Aggregate, Settings};
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
        for phase in Phase::ALL {
            if let Some(ns) = event.durations.get(*phase) {
                let key = (event.layer, event.op, *phase);
                self.samples.entry(key).or_insert_with(|| Sample::empty(self.settings.precision)).update(ns);
            }
        }
    }

    fn combine(&mut self, other: Self) {
        for (key, sample) in other.samples {
            self.samples.entry(key).or_insert_with(|| Sample::empty(self.settings.precision)).combine(sample);
        }
    }

    fn finish(self) -> Self::Output {
        self.samples.into_iter().map(|(key, sample)| (key, sample.finish())).collect()
    }
}
