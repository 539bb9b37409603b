//! Results that depend on the order of operations in time. A [`Sequence`] covers all operations of a layer that began in some time range. Sequences
//! of consecutive time ranges are merged into that of both, so that several threads can process time ranges at once.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use iostrata_capture::op::{Direction, Layer, Op};
use serde::{Deserialize, Serialize};

use super::Settings;
use super::crossing::{self, Crossing};
use super::in_order::{OrderedAggregate, States};
use super::results::Results;
use crate::entity::{CaptureNumber, Entities, Entity, Place, Places, Scope};

/// Operation, with the fields that results in time order need.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Begin.
    pub ts_ns: i64,
    /// End, if known.
    pub end_ns: Option<i64>,
    /// Offset in the file or on the disk in bytes, if it has one.
    pub position: Option<i64>,
    /// Number of bytes moved.
    pub bytes: u64,
    /// Weight; 0 if it began before the time range and ended in it.
    pub ops: u32,
    /// Direction.
    pub direction: Option<Direction>,
    /// Slot of its system.
    pub slot: u32,
    /// Its process, cgroup, file and disk.
    pub places: Places,
}

impl Point {
    /// Returns the slot and the disk, which determine its subjects.
    pub fn subject(&self) -> (u32, Place) {
        (self.slot, self.places.0[Scope::Device as usize])
    }
}

/// Time range on the clock of `ts_ns`: first and last moment.
pub type Span = (i64, i64);

/// Systems and entities of points.
pub struct Owners<'a> {
    /// Systems by slot.
    pub systems: &'a [&'a str],
    /// Entities by index.
    pub entities: &'a Entities,
}

impl Owners<'_> {
    /// Returns the entity with an index.
    pub fn entity(&self, place: Place) -> Entity {
        self.entities.of(place)
    }
}

/// Group of operations: all, those of a system, or those of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// All operations of the layer.
    All,
    /// Operations of the system with this name.
    System(String),
    /// Operations of a process or file, or on a disk.
    Entity(Entity),
}

/// State of each subject, while points are added.
#[derive(Debug)]
pub struct BySubject<T> {
    all: Option<T>,
    systems: Vec<Option<T>>,
    devices: HashMap<Place, T, RandomState>,
}

impl<T> Default for BySubject<T> {
    fn default() -> Self {
        BySubject { all: None, systems: Vec::new(), devices: HashMap::default() }
    }
}

impl<T: Default> BySubject<T> {
    /// Applies `take` to all subjects of an operation: all operations, the system in that slot, and the disk with that index.
    pub fn each(&mut self, subject: (u32, Place), mut take: impl FnMut(&mut T)) {
        self.each_and_all(subject, |of, _| take(of));
    }

    /// Does the same; `take` gets true for all operations together, which are last.
    pub fn each_and_all(&mut self, (slot, device): (u32, Place), mut take: impl FnMut(&mut T, bool)) {
        let slot = slot as usize;
        if self.systems.len() <= slot {
            self.systems.resize_with(slot + 1, || None);
        }
        take(self.systems[slot].get_or_insert_default(), false);
        take(self.devices.entry(device).or_default(), false);
        take(self.all.get_or_insert_default(), true);
    }

    /// Returns the state of all subjects, without operations on an unknown disk.
    pub fn finish(self, owners: &Owners) -> HashMap<Subject, T, RandomState> {
        let systems = self.systems.into_iter().zip(owners.systems);
        let systems = systems.filter_map(|(of, name)| Some((Subject::System((*name).to_owned()), of?)));
        let devices = self.devices.into_iter().map(|(place, of)| (owners.entity(place), of));
        let devices = devices.filter(|(entity, _)| matches!(entity, Entity::Device(..)));
        let devices = devices.map(|(entity, of)| (Subject::Entity(entity), of));
        self.all.into_iter().map(|of| (Subject::All, of)).chain(systems).chain(devices).collect()
    }
}

/// Results of one time range, or of several consecutive ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sequence {
    /// Aggregates of the operations.
    pub states: States,
    /// Latency breakdown of calls.
    pub crossing: Option<Crossing>,
}

impl Sequence {
    /// Whether it can be merged with others: a file may contain anything.
    pub fn is_sound(&self) -> bool {
        self.states.is_sound()
    }

    /// Adds the next sequence.
    pub fn append(&mut self, next: Sequence) {
        self.states.append(next.states);
        match (&mut self.crossing, next.crossing) {
            (Some(mine), Some(next)) => mine.append(next),
            (mine @ None, next) => *mine = next,
            (Some(_), None) => {}
        }
    }
}

/// Operations of a sequence: number of the capture, and layer.
pub type Of = (CaptureNumber, Layer);

/// Sequences of time ranges by number, in any order of arrival. Consecutive ones are merged at once.
#[derive(Debug, Clone, Default)]
pub struct Sequences(BTreeMap<Of, BTreeMap<usize, (usize, Sequence)>>);

impl Sequences {
    /// Adds the sequence of time range `number`.
    #[cfg(test)]
    pub fn add(&mut self, of: Of, number: usize, sequence: Sequence) {
        self.put(of, (number, number + 1), sequence);
    }

    /// Returns all sequences, each with the number of its first time range and of the one after its last.
    pub fn runs(self) -> impl Iterator<Item = (Of, (usize, usize), Sequence)> {
        let runs = |(of, runs): (Of, BTreeMap<usize, (usize, Sequence)>)| {
            runs.into_iter().map(move |(first, (next, sequence))| (of, (first, next), sequence))
        };
        self.0.into_iter().flat_map(runs)
    }

    /// Adds the sequence of the time ranges from `first` to before `next`.
    pub fn put(&mut self, of: Of, (mut first, mut next): (usize, usize), mut sequence: Sequence) {
        let runs = self.0.entry(of).or_default();
        if let Some((after, later)) = runs.remove(&next) {
            sequence.append(later);
            next = after;
        }
        let before = runs.range(..first).next_back().filter(|(_, (end, _))| *end == first).map(|(begin, _)| *begin);
        if let Some((_, mut earlier)) = before.and_then(|begin| runs.remove(&begin)) {
            earlier.append(sequence);
            sequence = earlier;
            first = before.unwrap_or(first);
        }
        runs.insert(first, (next, sequence));
    }

    /// Adds the sequences of `other`.
    pub fn combine(&mut self, other: Sequences) {
        for (of, runs) in other.0 {
            for (first, (next, sequence)) in runs {
                self.put(of, (first, next), sequence);
            }
        }
    }

    /// Returns the results of all captures.
    pub fn finish(self, settings: &Settings) -> Finished {
        let mut finished = Finished { results: settings.in_order.nothing(settings.precision), ..Finished::default() };
        for ((_, layer), runs) in self.0 {
            let mut whole = Sequence::default();
            runs.into_values().for_each(|(_, next)| whole.append(next));
            let Finished { results, crossings } = &mut finished;
            whole.crossing.into_iter().for_each(|of| of.finish(crossings));
            whole.states.finish(layer, results);
        }
        finished
    }
}

/// Results of sequences.
#[derive(Debug, Default)]
pub struct Finished {
    /// Results of the requested aggregates.
    pub results: Results,
    /// Latency breakdown of calls by subject, kind and call, if requested.
    pub crossings: BTreeMap<(Subject, crossing::Kind, Op), crossing::Sums>,
}

impl Finished {
    /// Returns the result of an aggregate.
    ///
    /// # Errors
    /// If it was not requested.
    pub fn of<A: OrderedAggregate>(&self) -> anyhow::Result<&A::Finished> {
        self.results.of(A::NAME)
    }
}

/// Whether everything between two operations was recorded, given the time and weight of each. Weights above one occur only with sampling, and within
/// a time slice of sampling everything is recorded (docs/explanation/sampling.md).
pub fn recorded_together((earlier_ns, earlier_ops): (i64, u32), (later_ns, later_ops): (i64, u32)) -> bool {
    const PERIOD_NS: u64 = 1 << 28;
    let weight = u64::from(earlier_ops.max(later_ops));
    weight <= 1 || later_ns.abs_diff(earlier_ns) <= PERIOD_NS / weight
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::aggregate::Precision;
    use crate::analyses::arrivals::aggregate::Arrivals;
    use iostrata_capture::op::IoClass;
    use proptest::prelude::*;

    /// Fields of an operation besides its begin.
    #[derive(Debug, Clone, Copy)]
    pub struct Told {
        pub ns: Option<i64>,
        pub direction: Option<Direction>,
        pub system: u32,
        pub disk: i32,
    }

    impl Default for Told {
        fn default() -> Told {
            Told { ns: None, direction: Some(Direction::Read), system: 0, disk: 0 }
        }
    }

    impl Arbitrary for Told {
        type Parameters = ();
        type Strategy = BoxedStrategy<Told>;

        fn arbitrary_with((): ()) -> BoxedStrategy<Told> {
            let direction = prop::option::of(prop_oneof![Just(Direction::Read), Just(Direction::Write)]);
            let told = (prop::option::of(0i64..30), direction, 0u32..2, 0i32..3);
            told.prop_map(|(ns, direction, system, disk)| Told { ns, direction, system, disk }).boxed()
        }
    }

    /// Returns the points of a time range as a walk gets them: those that ended in it and began before have a weight of 0.
    pub fn within(points: &[Point], span: Span) -> Vec<Point> {
        let is_in = |ns: &i64| (span.0..=span.1).contains(ns);
        let taken = |point: &Point| match is_in(&point.ts_ns) {
            true => Some(*point),
            false => point.end_ns.filter(is_in).map(|_| Point { ops: 0, ..*point }),
        };
        points.iter().filter_map(taken).collect()
    }

    /// Calls `take` with points that begin at these times. Disk 0 is unknown.
    pub fn points(told: &[(i64, Told)], take: impl FnOnce(&[Point], &Owners)) {
        let mut entities = Entities::default();
        let point = |(ts_ns, Told { ns, direction, system, disk }): &(i64, Told)| {
            let nobody = Scope::ALL.map(|scope| Entity::Nobody(scope, IoClass::Data));
            let [process, cgroup, file, nothing] = nobody;
            let disk = if *disk > 0 { Entity::Device(CaptureNumber::default(), *disk) } else { nothing };
            let places = Places([process, cgroup, file, disk].map(|entity| entities.place(entity)));
            let end_ns = ns.map(|ns| ts_ns + ns);
            Point {
                ts_ns: *ts_ns,
                end_ns,
                position: None,
                bytes: 0,
                ops: 1,
                direction: *direction,
                slot: *system,
                places,
            }
        };
        let points: Vec<Point> = told.iter().map(point).collect();
        take(&points, &Owners { systems: &["one", "other"], entities: &entities });
    }

    proptest! {
        #[test]
        fn stretches_are_put_together_in_their_order_whatever_the_order_in_which_they_come(
            mut times in prop::collection::vec((0i64..100, any::<Told>()), 1..30),
            (order, cut) in (Just((0..30).collect::<Vec<usize>>()).prop_shuffle(), 0usize..30),
        ) {
            times.sort_by_key(|(ts_ns, _)| *ts_ns);
            points(&times, |points, owners| {
                let of = |points: &[Point]| {
                    let mut states = States::default();
                    states.put(Arrivals::of(points, owners, Precision::DEFAULT));
                    Sequence { states, crossing: None }
                };
                let told = |sequences: Sequences| {
                    let mut settings = Settings::new(Precision::DEFAULT);
                    settings.in_order.request::<Arrivals>(());
                    let finished = sequences.finish(&settings);
                    let of = &finished.of::<Arrivals>().expect("requested")[&Layer::Block];
                    format!("{:?}", of.iter().map(|(of, sums)| (of, sums.gaps(), sums.ops)).collect::<Vec<_>>())
                };
                let place = (CaptureNumber::default(), Layer::Block);
                let (mut mine, mut others) = (Sequences::default(), Sequences::default());
                for number in order.iter().filter(|number| **number < points.len()) {
                    let to = if *number < cut { &mut mine } else { &mut others };
                    to.add(place, *number, of(&points[*number..=*number]));
                }
                mine.combine(others);
                assert!(mine.0[&place].len() == 1);
                let mut whole = Sequences::default();
                whole.add(place, 0, of(points));
                assert!(told(mine) == told(whole));
            });
        }
    }
}
