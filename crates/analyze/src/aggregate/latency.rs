//! Distributions of durations by layer, operation and phase.

use iostrata_capture::op::{Layer, Op};
use serde::{Deserialize, Serialize};

use super::packed::{Bytes, push, varint};
use super::sample::{Distribution, Sample};
use super::{LostByLayer, Precision};
use crate::event::{PHASES, Phase};

/// One sample for each layer, operation and phase that occurred. There may be a million systems of one process with one operation, so few
/// durations are kept in a few bytes each.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Kept>", into = "Vec<Kept>")]
pub struct Latencies {
    /// Durations while they are few and have weight 1: index of the sample, and duration, in no order. Then there are no samples.
    few: Bytes,
    /// Maximum number of values that a sample keeps exactly.
    limit: usize,
    /// Samples in order of declaration of layer, operation and phase.
    samples: Vec<(u16, Kind)>,
}

/// State of a sample.
#[derive(Debug, Clone)]
enum Kind {
    /// The sample.
    Open(Box<Sample>),
    /// Its results.
    Finished(Box<Distribution>),
}

/// Distributions with their layer, operation and phase, in order of declaration of these.
pub type Distributions = Vec<((Layer, Op, Phase), Distribution)>;

/// Maximum size of `few` in bytes: a dozen durations.
const MOST_BYTES: usize = 64;

const fn index(layer: Layer, op: Op, phase: Phase) -> u16 {
    ((layer as usize * Op::ALL.len() + op as usize) * PHASES + phase as usize) as u16
}

const _: () = assert!(Layer::ALL.len() * Op::ALL.len() * PHASES <= u16::MAX as usize);

/// Returns the layer, operation and phase of an [`index`].
fn key(index: u16) -> (Layer, Op, Phase) {
    let (operation, phase) = (usize::from(index) / PHASES, usize::from(index) % PHASES);
    let layer = Layer::ALL[(operation / Op::ALL.len()) % Layer::ALL.len()];
    (layer, Op::ALL[operation % Op::ALL.len()], Phase::ALL[phase])
}

/// Serialized form of a sample.
type Kept = ((Layer, Op, Phase), Box<Sample>);

impl From<Vec<Kept>> for Latencies {
    fn from(kept: Vec<Kept>) -> Latencies {
        let mut latencies = Latencies::default();
        kept.into_iter().for_each(|(of, sample)| latencies.add(of, sample));
        latencies
    }
}

impl From<Latencies> for Vec<Kept> {
    fn from(mut latencies: Latencies) -> Vec<Kept> {
        latencies.spread();
        let open = |(index, kind)| match kind {
            Kind::Open(sample) => Some((key(index), sample)),
            Kind::Finished(_) => None,
        };
        latencies.samples.into_iter().filter_map(open).collect()
    }
}

impl Latencies {
    /// Adds a duration of one phase with a weight; `None` if it is unknown.
    pub fn update(
        &mut self,
        (layer, op, phase): (Layer, Op, Phase),
        ns: Option<u64>,
        weight: u64,
        precision: Precision,
    ) {
        self.limit = precision.limit();
        let index = index(layer, op, phase);
        match ns {
            Some(ns) if weight == 1 && self.keep(index, &[ns]) => {}
            Some(ns) => self.sample(index).update(ns, weight),
            None => self.sample(index).update_untimed(weight),
        }
    }

    /// Adds the durations of one phase.
    pub fn add(&mut self, (layer, op, phase): (Layer, Op, Phase), sample: Box<Sample>) {
        if sample.is_empty() {
            return;
        }
        let index = index(layer, op, phase);
        if let Some((values, limit)) = sample.plain(MOST_BYTES / 4) {
            self.limit = limit;
            if self.keep(index, &values) {
                return;
            }
        }
        self.combine_sample(index, sample);
    }

    /// Adds durations to `few`, if they fit. Returns whether they do.
    fn keep(&mut self, index: u16, values: &[u64]) -> bool {
        if !self.samples.is_empty() || self.few.len() >= MOST_BYTES {
            return false;
        }
        let before = self.few.len();
        for ns in values {
            push(&mut self.few, index.into());
            push(&mut self.few, (*ns).into());
        }
        let is_kept = self.few.len() <= MOST_BYTES;
        if !is_kept {
            self.few.truncate(before);
        }
        is_kept
    }

    /// Iterates over the durations in `few`, with the indexes of their samples.
    fn each_of_few(few: &Bytes) -> impl Iterator<Item = (u16, u64)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            (at < few.len()).then(|| {
                let (index, after) = varint(few, at);
                let (ns, end) = varint(few, after);
                at = end;
                (u16::try_from(index).unwrap_or(0), u64::try_from(ns).unwrap_or(u64::MAX))
            })
        })
    }

    /// Converts the durations in `few` to samples.
    fn spread(&mut self) {
        let few = std::mem::take(&mut self.few);
        for (index, ns) in Latencies::each_of_few(&few) {
            self.open(index).update(ns, 1);
        }
    }

    fn sample(&mut self, index: u16) -> &mut Sample {
        self.spread();
        self.open(index)
    }

    /// Returns the sample with this index, a new one if there is none; ignores `few`.
    fn open(&mut self, index: u16) -> &mut Sample {
        let place = self.samples.partition_point(|(known, _)| *known < index);
        let limit = self.limit;
        let new = || Kind::Open(Box::new(Sample::limited(limit)));
        match self.samples.get(place) {
            Some((known, Kind::Open(_))) if *known == index => {}
            // Nothing is added to a finished sample.
            Some((known, _)) if *known == index => self.samples[place].1 = new(),
            _ => self.samples.insert(place, (index, new())),
        }
        match &mut self.samples[place].1 {
            Kind::Open(sample) => sample,
            Kind::Finished(_) => unreachable!("the sample was opened above"),
        }
    }

    fn combine_sample(&mut self, index: u16, theirs: Box<Sample>) {
        self.spread();
        let place = self.samples.partition_point(|(known, _)| *known < index);
        match self.samples.get_mut(place) {
            Some((known, Kind::Open(mine))) if *known == index => mine.combine(*theirs),
            Some((known, mine)) if *known == index => *mine = Kind::Open(theirs),
            _ => self.samples.insert(place, (index, Kind::Open(theirs))),
        }
    }

    /// Adds the durations of `other`.
    pub fn combine(&mut self, mut other: Self) {
        if self.limit == 0 {
            self.limit = other.limit;
        }
        if self.samples.is_empty() && other.samples.is_empty() && self.few.len() + other.few.len() <= MOST_BYTES {
            self.few.extend_from_slice(&other.few);
            return;
        }
        other.spread();
        for (index, theirs) in other.samples {
            if let Kind::Open(theirs) = theirs {
                self.combine_sample(index, theirs);
            }
        }
        self.spread_beside_others();
    }

    /// Converts the durations in `few` to samples, if there are other samples.
    fn spread_beside_others(&mut self) {
        if !self.samples.is_empty() {
            self.spread();
        }
    }

    /// Replaces samples by their results; `lost` events are not in them. `few` stays as it is.
    pub fn finish(&mut self, lost: &LostByLayer) {
        self.spread_beside_others();
        self.samples = std::mem::take(&mut self.samples)
            .into_iter()
            .filter_map(|(index, kind)| finished(index, kind, lost))
            .collect();
    }

    /// Returns the distributions with any duration, after the call of `finish`.
    pub fn distributions(&self, lost: &LostByLayer) -> Distributions {
        let all = if self.few.is_empty() {
            self.samples.clone()
        } else {
            let mut few = Latencies { few: self.few.clone(), limit: self.limit, samples: Vec::new() };
            few.spread();
            few.finish(lost);
            few.samples
        };
        let finished = |(index, kind)| match kind {
            Kind::Finished(distribution) => Some((key(index), *distribution)),
            Kind::Open(_) => None,
        };
        all.into_iter().filter_map(finished).collect()
    }
}

fn finished(index: u16, kind: Kind, lost: &LostByLayer) -> Option<(u16, Kind)> {
    match kind {
        Kind::Open(sample) if sample.count() > 0 => {
            let distribution = sample.finish(lost[key(index).0 as usize]);
            Some((index, Kind::Finished(Box::new(distribution))))
        }
        Kind::Open(_) => None,
        finished @ Kind::Finished(_) => Some((index, finished)),
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
    }

    #[test]
    fn few_durations_come_to_the_same_as_many_do() {
        let (read, write) = ((Layer::Block, Op::Read, Phase::Device), (Layer::Vfs, Op::Write, Phase::Total));
        for count in [1, 3, 12, 40] {
            let (mut one_by_one, mut together) = (Latencies::default(), Latencies::default());
            let mut samples = [Sample::empty(Precision::DEFAULT), Sample::empty(Precision::DEFAULT)];
            for number in 0..count {
                let (which, ns) = (number as usize % 2, number * number * 1_000);
                one_by_one.update([read, write][which], Some(ns), 1, Precision::DEFAULT);
                samples[which].update(ns, 1);
                // As a separate partial result.
                let mut alone = Latencies::default();
                alone.update([read, write][which], Some(ns), 1, Precision::DEFAULT);
                together.combine(alone);
            }
            assert_eq!(one_by_one.samples.is_empty(), count < 40, "{count}");
            let mut whole = Latencies::default();
            [read, write].into_iter().zip(samples).for_each(|(of, sample)| whole.add(of, Box::new(sample)));
            let lost = [0, 3, 0, 9];
            let [one, two, three] = [one_by_one, together, whole].map(|mut latencies| {
                latencies.finish(&lost);
                latencies.distributions(&lost)
            });
            assert!(!one.is_empty() && one == two && two == three, "{count}: {one:?} {two:?} {three:?}");
        }
    }
}
