//! Distributions of durations by layer, operation and phase.

use iostrata_capture::op::{Layer, Op};

use super::sample::{Distribution, Sample};
use super::{Aggregate, LostByLayer, Settings};
use crate::event::{Event, Phase};

/// Phases of operations that there can be.
const PHASES: usize = Layer::ALL.len() * Op::ALL.len() * Phase::ALL.len();

/// One sample for each layer, operation and phase that occurred.
#[derive(Debug, Clone)]
pub struct Latencies {
    settings: Settings,
    /// In order of declaration of layer, operation and phase.
    samples: Box<[Option<Box<Sample>>; PHASES]>,
}

const fn index(layer: Layer, op: Op, phase: Phase) -> usize {
    (layer as usize * Op::ALL.len() + op as usize) * Phase::ALL.len() + phase as usize
}

/// What [`index`] is of.
fn key(index: usize) -> (Layer, Op, Phase) {
    let (operation, phase) = (index / Phase::ALL.len(), index % Phase::ALL.len());
    (Layer::ALL[operation / Op::ALL.len()], Op::ALL[operation % Op::ALL.len()], Phase::ALL[phase])
}

impl Aggregate for Latencies {
    /// In order of declaration of layer, operation and phase.
    type Output = Vec<((Layer, Op, Phase), Distribution)>;

    fn empty(settings: Settings) -> Self {
        Latencies { settings, samples: Box::new([const { None }; PHASES]) }
    }

    fn update(&mut self, event: &Event) {
        for phase in Phase::of(event.layer) {
            let duration = event.durations.get(*phase);
            if duration.is_none() && !event.durations.is_unknown(*phase) {
                continue;
            }
            let sample = &mut self.samples[index(event.layer, event.op, *phase)];
            let sample = sample.get_or_insert_with(|| Box::new(Sample::empty(self.settings.precision)));
            match duration {
                Some(ns) => sample.update(ns, event.weight),
                None => sample.update_untimed(event.weight),
            }
        }
    }

    fn combine(&mut self, other: Self) {
        for (mine, theirs) in self.samples.iter_mut().zip(*other.samples) {
            match (mine, theirs) {
                (Some(mine), Some(theirs)) => mine.combine(*theirs),
                (mine, theirs @ Some(_)) => *mine = theirs,
                (_, None) => {}
            }
        }
    }

    fn finish(self, lost: &LostByLayer) -> Self::Output {
        let samples = self.samples.into_iter().enumerate();
        let timed = samples.filter_map(|(index, sample)| Some((key(index), sample.filter(|s| s.count() > 0)?)));
        timed.map(|(key, sample)| (key, sample.finish(lost[key.0 as usize]))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_of_every_operation_has_a_place_of_its_own() {
        let mut expected = 0;
        for layer in Layer::ALL {
            for op in Op::ALL {
                for phase in Phase::ALL {
                    let place = index(*layer, *op, *phase);
                    assert_eq!((place, key(place)), (expected, (*layer, *op, *phase)));
                    expected += 1;
                }
            }
        }
        assert_eq!(expected, PHASES);
    }
}
