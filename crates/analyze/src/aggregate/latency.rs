//! Distributions of durations by layer, operation and phase.

use iostrata_capture::op::{Layer, Op};
use serde::{Deserialize, Serialize};

use super::LostByLayer;
use super::sample::{Distribution, Sample};
use crate::event::{PHASES, Phase};

/// Samples that there can be.
const SAMPLES: usize = Layer::ALL.len() * Op::ALL.len() * PHASES;

/// One sample for each layer, operation and phase that occurred.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Vec<Kept>", into = "Vec<Kept>")]
pub struct Latencies {
    /// In order of declaration of layer, operation and phase.
    samples: Box<[Option<Box<Sample>>; SAMPLES]>,
}

/// Each with its layer, operation and phase, in order of declaration of these.
pub type Distributions = Vec<((Layer, Op, Phase), Distribution)>;

const fn index(layer: Layer, op: Op, phase: Phase) -> usize {
    (layer as usize * Op::ALL.len() + op as usize) * PHASES + phase as usize
}

/// What [`index`] is of.
fn key(index: usize) -> (Layer, Op, Phase) {
    let (operation, phase) = (index / PHASES, index % PHASES);
    (Layer::ALL[operation / Op::ALL.len()], Op::ALL[operation % Op::ALL.len()], Phase::ALL[phase])
}

/// One of them in a file.
type Kept = ((Layer, Op, Phase), Box<Sample>);

impl From<Vec<Kept>> for Latencies {
    fn from(kept: Vec<Kept>) -> Latencies {
        let mut latencies = Latencies::empty();
        kept.into_iter().for_each(|(of, sample)| latencies.add(of, sample));
        latencies
    }
}

impl From<Latencies> for Vec<Kept> {
    fn from(latencies: Latencies) -> Vec<Kept> {
        let samples = latencies.samples.into_iter().enumerate();
        samples.filter_map(|(index, sample)| Some((key(index), sample?))).collect()
    }
}

impl Latencies {
    /// No durations.
    pub fn empty() -> Self {
        Latencies { samples: Box::new([const { None }; SAMPLES]) }
    }

    /// Adds the durations of one phase.
    pub fn add(&mut self, (layer, op, phase): (Layer, Op, Phase), sample: Box<Sample>) {
        combine(&mut self.samples[index(layer, op, phase)], sample);
    }

    /// Adds the durations of `other`.
    pub fn combine(&mut self, other: Self) {
        for (mine, theirs) in self.samples.iter_mut().zip(*other.samples) {
            theirs.into_iter().for_each(|theirs| combine(mine, theirs));
        }
    }

    /// The distributions that have a duration, when `lost` is not in them.
    pub fn finish(self, lost: &LostByLayer) -> Distributions {
        let samples = self.samples.into_iter().enumerate();
        let timed = samples.filter_map(|(index, sample)| Some((key(index), sample.filter(|s| s.count() > 0)?)));
        timed.map(|(key, sample)| (key, sample.finish(lost[key.0 as usize]))).collect()
    }
}

fn combine(mine: &mut Option<Box<Sample>>, theirs: Box<Sample>) {
    match mine {
        Some(mine) => mine.combine(*theirs),
        None => *mine = Some(theirs),
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
        assert_eq!(expected, SAMPLES);
    }
}
