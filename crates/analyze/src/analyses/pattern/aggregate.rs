//! Access pattern: sequential operations, seek distances of the others, and distances that repeat (strides).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use iostrata_capture::op::{Direction, Layer};
use serde::{Deserialize, Serialize};

use crate::aggregate::Precision;
use crate::aggregate::in_order::{self, OrderedAggregate};
use crate::aggregate::sequence::{Owners, Point, Span, recorded_together};
use crate::entity::{Entity, PerPlace, Place, Scope};

/// Maximum seek distance in bytes of a step that is not a jump.
pub const JUMP_BYTES: u64 = 1_000_000;

/// Maximum number of distinct strides that are counted in one stream.
const MOST_STRIDES: usize = 1_024;

/// Sums over the operations of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Number of operations.
    pub ops: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// Number of steps: operations with a previous one.
    pub steps: u64,
    /// Number of steps that begin at the end of the previous operation.
    pub sequential: u64,
    /// Number of steps with a seek distance of more than [`JUMP_BYTES`].
    pub jumps: u64,
    /// Sum of the seek distances in bytes, forward or backward.
    pub seek_bytes: u128,
    /// Number of steps that are not sequential and have the same distance, from start to start, as the previous step.
    pub strided: u64,
    strides: Strides,
}

/// Strides that repeated, with their counts; `None` if there were too many distinct ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Strides(Option<HashMap<i64, u64, RandomState>>);

impl Default for Strides {
    fn default() -> Strides {
        Strides(Some(HashMap::default()))
    }
}

impl Strides {
    fn add(&mut self, stride: i64, ops: u64) {
        let Some(strides) = &mut self.0 else { return };
        let count = strides.entry(stride).or_default();
        *count = count.saturating_add(ops);
        // A part of the operations has no more strides than all: which time range exceeds the maximum first does not matter.
        if strides.len() > MOST_STRIDES {
            self.0 = None;
        }
    }

    fn combine(&mut self, other: Strides) {
        match other.0 {
            Some(strides) => strides.into_iter().for_each(|(stride, ops)| self.add(stride, ops)),
            None => self.0 = None,
        }
    }
}

impl Sums {
    /// Returns the most frequent stride and its count; of several the shortest.
    pub fn stride(&self) -> Option<(i64, u64)> {
        let strides = self.strides.0.iter().flatten().map(|(stride, ops)| (*stride, *ops));
        strides.max_by_key(|(stride, ops)| (*ops, std::cmp::Reverse((stride.unsigned_abs(), *stride))))
    }

    fn combine(&mut self, other: Sums) {
        let Sums { ops, bytes, steps, sequential, jumps, seek_bytes, strided, strides } = other;
        self.ops = self.ops.saturating_add(ops);
        self.bytes = self.bytes.saturating_add(bytes);
        self.steps = self.steps.saturating_add(steps);
        self.sequential = self.sequential.saturating_add(sequential);
        self.jumps = self.jumps.saturating_add(jumps);
        self.seek_bytes = self.seek_bytes.saturating_add(seek_bytes);
        self.strided = self.strided.saturating_add(strided);
        self.strides.combine(strides);
    }
}

/// Step from one operation of a stream to the next.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Step {
    /// Distance from start to start in bytes; `None` if operations between them may not have been recorded.
    stride: Option<i64>,
    is_sequential: bool,
    /// Weight of the second operation.
    ops: u64,
}

/// Operation of a stream.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct At {
    ts_ns: i64,
    /// Offset in bytes.
    begin: i64,
    bytes: u64,
    ops: u32,
}

impl At {
    fn moved(&self) -> u64 {
        self.bytes.saturating_mul(u64::from(self.ops))
    }
}

/// Operations in one direction in one address space, in time order; at least one. If many processes use many files, most streams have only one.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Stream {
    /// One operation.
    One(At),
    /// Several operations.
    Several(Box<Several>),
}

impl Stream {
    fn of(at: At) -> Stream {
        Stream::One(at)
    }

    /// Returns the stream as one of several operations, to which others can be added.
    fn several(&mut self) -> &mut Several {
        if let Stream::One(at) = self {
            *self = Stream::Several(Box::new(Several::of(*at)));
        }
        match self {
            Stream::Several(several) => several,
            Stream::One(_) => unreachable!("a single operation was converted above"),
        }
    }

    fn push(&mut self, at: At) {
        self.several().push(at);
    }

    fn append(&mut self, next: Stream) {
        match next {
            Stream::One(at) => self.push(at),
            Stream::Several(next) => self.several().append(*next),
        }
    }

    fn sums(self) -> Sums {
        match self {
            Stream::One(at) => Several::of(at).sums,
            Stream::Several(several) => several.sums,
        }
    }
}

/// Operations of a stream; each except the first follows another.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Several {
    first: At,
    last: At,
    /// First and last step.
    steps: Option<(Step, Step)>,
    sums: Sums,
}

impl Several {
    fn of(at: At) -> Several {
        let sums = Sums { ops: u64::from(at.ops), bytes: at.moved(), ..Sums::default() };
        Several { first: at, last: at, steps: None, sums }
    }

    fn push(&mut self, at: At) {
        self.sums.ops = self.sums.ops.saturating_add(u64::from(at.ops));
        self.sums.bytes = self.sums.bytes.saturating_add(at.moved());
        self.go_to(at);
    }

    /// Adds the step to the next operation.
    fn go_to(&mut self, next: At) {
        let (last, ops) = (self.last, u64::from(next.ops));
        let distance = last.begin.saturating_add_unsigned(last.bytes).abs_diff(next.begin);
        let is_known = recorded_together((last.ts_ns, last.ops), (next.ts_ns, next.ops));
        if is_known {
            let sums = &mut self.sums;
            sums.steps = sums.steps.saturating_add(ops);
            sums.sequential = sums.sequential.saturating_add(if distance == 0 { ops } else { 0 });
            sums.jumps = sums.jumps.saturating_add(if distance > JUMP_BYTES { ops } else { 0 });
            sums.seek_bytes = sums.seek_bytes.saturating_add(u128::from(distance) * u128::from(ops));
        }
        let stride = is_known.then(|| next.begin.saturating_sub(last.begin));
        let step = Step { stride, is_sequential: distance == 0, ops };
        self.follow(step, step);
        self.last = next;
    }

    /// Adds the steps that follow, given the first and the last of them.
    fn follow(&mut self, first: Step, last: Step) {
        let before = self.steps.and_then(|(_, before)| before.stride);
        if let Some(stride) = first.stride.filter(|_| !first.is_sequential && before == first.stride) {
            self.sums.strided = self.sums.strided.saturating_add(first.ops);
            self.sums.strides.add(stride, first.ops);
        }
        self.steps = Some((self.steps.map_or(first, |(first, _)| first), last));
    }

    fn append(&mut self, next: Several) {
        self.go_to(next.first);
        next.steps.into_iter().for_each(|(first, last)| self.follow(first, last));
        self.last = next.last;
        self.sums.combine(next.sums);
    }
}

/// Access patterns of processes, files and disks, by layer and direction.
pub type Patterns = BTreeMap<Layer, BTreeMap<(Entity, Direction), Sums>>;

/// Key of a stream: owner and address space, as numbers of entities, and direction. The address space is a file; for requests it is the disk.
type Key = (u32, u32, Direction);

/// Streams of a layer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Pattern {
    /// Entities by number. There are far more streams than entities.
    entities: Vec<Entity>,
    streams: HashMap<Key, Stream, RandomState>,
}

/// Scopes of the owners of streams.
const SCOPES: [Scope; 3] = [Scope::Process, Scope::File, Scope::Device];

/// Numbers of entities.
struct Numbers<'a> {
    all: &'a mut Vec<Entity>,
    known: HashMap<Entity, u32, RandomState>,
}

impl<'a> Numbers<'a> {
    fn of(all: &'a mut Vec<Entity>) -> Self {
        let known = all.iter().zip(0..).map(|(entity, number)| (*entity, number)).collect();
        Numbers { all, known }
    }

    fn number(&mut self, entity: Entity) -> u32 {
        let all = &mut *self.all;
        *self.known.entry(entity).or_insert_with(|| numbered(all, entity))
    }
}

/// Adds an entity, and returns its number.
fn numbered(all: &mut Vec<Entity>, entity: Entity) -> u32 {
    all.push(entity);
    // More entities exceed any memory.
    u32::try_from(all.len() - 1).unwrap_or(u32::MAX)
}

/// Streams of a layer, while operations are added.
pub struct Walk {
    layer: Layer,
    pattern: Pattern,
    /// Number of each entity, by its index in the partial result.
    numbers: PerPlace<u32>,
}

impl Walk {
    /// Creates the streams of `layer`, without operations.
    fn new(layer: Layer) -> Walk {
        Walk { layer, pattern: Pattern::default(), numbers: PerPlace::default() }
    }
}

impl in_order::Walk for Walk {
    fn add(&mut self, points: &[Point], _span: Span, owners: &Owners) {
        let Walk { layer, pattern: Pattern { entities, streams }, numbers } = self;
        let mut number = |place: Place, entity: Entity| *numbers.of(place, || numbered(entities, entity));
        for point in points.iter().filter(|point| point.ops > 0 && point.bytes > 0) {
            let (Some(direction), Some(begin)) = (point.direction, point.position) else { continue };
            let at = At { ts_ns: point.ts_ns, begin, bytes: point.bytes, ops: point.ops };
            let space = point.places.of_positions(*layer);
            let of_space = owners.entity(space);
            for who in SCOPES.map(|scope| point.places.0[scope as usize]) {
                let entity = owners.entity(who);
                if !has_positions_in(&entity, &of_space) {
                    continue;
                }
                match streams.entry((number(who, entity), number(space, of_space), direction)) {
                    Entry::Occupied(mut stream) => stream.get_mut().push(at),
                    Entry::Vacant(place) => drop(place.insert(Stream::of(at))),
                }
            }
        }
    }
}

impl Pattern {
    /// Creates the streams of points of `layer` in time order.
    #[cfg(test)]
    fn of(layer: Layer, points: &[Point], owners: &Owners) -> Pattern {
        let mut walk = Walk::new(layer);
        in_order::Walk::add(&mut walk, points, (i64::MIN, i64::MAX), owners);
        walk.pattern
    }
}

impl OrderedAggregate for Pattern {
    const NAME: &'static str = "pattern";
    const VERSION: u32 = 2;
    type Config = ();
    type Walk = Walk;
    type Finished = Patterns;

    fn open((): &(), layer: Layer, _precision: Precision) -> Walk {
        Walk::new(layer)
    }

    fn close(walk: Walk, _owners: &Owners) -> Pattern {
        walk.pattern
    }

    fn is_sound(&self) -> bool {
        let known = |number: &u32| (*number as usize) < self.entities.len();
        self.streams.keys().all(|(who, space, _)| known(who) && known(space))
    }

    fn append(&mut self, next: Pattern) {
        let mut numbers = Numbers::of(&mut self.entities);
        let theirs: Vec<u32> = next.entities.into_iter().map(|entity| numbers.number(entity)).collect();
        for ((who, space, direction), stream) in next.streams {
            match self.streams.entry((theirs[who as usize], theirs[space as usize], direction)) {
                Entry::Occupied(mut mine) => mine.get_mut().append(stream),
                Entry::Vacant(place) => drop(place.insert(stream)),
            }
        }
    }

    /// Adds the sums of each process, file and disk in each direction, over all address spaces.
    fn finish(self, layer: Layer, finished: &mut Self::Finished) {
        let sums = finished.entry(layer).or_default();
        for ((who, _, direction), stream) in self.streams {
            sums.entry((self.entities[who as usize], direction)).or_default().combine(stream.sums());
        }
    }
}

/// Whether the owner and the address space are known, and the offsets apply to this owner.
fn has_positions_in(who: &Entity, space: &Entity) -> bool {
    match (who, space) {
        (Entity::Process(..) | Entity::File(..), Entity::File(..) | Entity::Device(..)) => true,
        // Offsets in files do not determine the offsets on the disk.
        (Entity::Device(..), Entity::Device(..)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{CaptureNumber, Entities, FileId, Places};
    use proptest::prelude::*;

    /// Returns operations of one process on one file, each with its begin and length.
    fn of(entities: &mut Entities, layer: Layer, operations: &[(i64, u64)]) -> Vec<Point> {
        let file = FileId { dev: 1, ino: 1, generation: None };
        let all = [
            Entity::Process(CaptureNumber::default(), 1, 1),
            Entity::Cgroup(CaptureNumber::default(), 1),
            Entity::File(CaptureNumber::default(), file),
            Entity::Device(CaptureNumber::default(), 1),
        ];
        let places = Places(all.map(|entity| entities.place(entity)));
        let point = |(number, (begin, bytes)): (usize, &(i64, u64))| Point {
            ts_ns: number as i64,
            end_ns: None,
            position: Some(*begin),
            bytes: *bytes,
            ops: 1,
            direction: Some(Direction::Read),
            slot: 0,
            places,
        };
        assert!(matches!(layer, Layer::Block | Layer::Syscall));
        operations.iter().enumerate().map(point).collect()
    }

    fn sums(pattern: Pattern) -> Vec<(Entity, Sums)> {
        let mut finished = BTreeMap::new();
        pattern.finish(Layer::Block, &mut finished);
        finished.into_values().flatten().map(|((entity, _), sums)| (entity, sums)).collect()
    }

    fn pattern(operations: &[(i64, u64)]) -> Vec<(Entity, Sums)> {
        let mut entities = Entities::default();
        let points = of(&mut entities, Layer::Block, operations);
        sums(Pattern::of(Layer::Block, &points, &Owners { systems: &[], entities: &entities }))
    }

    #[test]
    fn sequential_is_what_begins_where_the_one_before_ended() {
        let found = pattern(&[(0, 10), (10, 10), (20, 5), (20, 5), (2_000_000, 5), (0, 1)]);
        assert_eq!(found.len(), 3, "of the process, the file and the disk");
        for (_, sums) in &found {
            let Sums { ops, bytes, steps, sequential, jumps, seek_bytes, strided, .. } = sums;
            assert_eq!((*ops, *bytes, *steps, *sequential, *jumps, *strided), (6, 36, 5, 2, 2, 0));
            assert_eq!(*seek_bytes, 5 + (2_000_000 - 25) + 2_000_005);
        }
    }

    #[test]
    fn a_stride_is_a_distance_that_repeats() {
        let found = pattern(&[(0, 1), (100, 1), (200, 1), (300, 1), (50, 1), (40, 1), (30, 1), (20, 1), (10, 1)]);
        let (_, sums) = &found[0];
        assert_eq!((sums.strided, sums.stride(), sums.sequential), (5, Some((-10, 3)), 0));
        let (_, sums) = &pattern(&[(0, 10), (10, 10), (20, 10), (30, 10)])[0];
        assert_eq!((sums.strided, sums.stride(), sums.sequential), (0, None, 3), "sequential steps are not strided");
    }

    #[test]
    fn strides_are_not_told_where_they_are_too_many() {
        let mut operations = vec![(0, 1)];
        for stride in 2..2 * MOST_STRIDES as i64 {
            for _ in 0..2 {
                operations.push((operations[operations.len() - 1].0 + stride * 7, 1));
            }
        }
        let (_, sums) = &pattern(&operations)[0];
        assert_eq!((sums.strided, sums.stride()), (2 * MOST_STRIDES as u64 - 2, None));
    }

    #[test]
    fn between_what_was_not_recorded_together_there_is_no_step() {
        let mut entities = Entities::default();
        let mut points = of(&mut entities, Layer::Block, &[(0, 10), (10, 10), (20, 10)]);
        points.iter_mut().for_each(|point| point.ops = 4);
        points[2].ts_ns = 1 << 27;
        let found = sums(Pattern::of(Layer::Block, &points, &Owners { systems: &[], entities: &entities }));
        assert_eq!((found[0].1.ops, found[0].1.steps, found[0].1.sequential), (12, 4, 4));
    }

    #[test]
    fn positions_in_files_are_none_of_a_disk() {
        let mut entities = Entities::default();
        let points = of(&mut entities, Layer::Syscall, &[(0, 10), (10, 10)]);
        let found = sums(Pattern::of(Layer::Syscall, &points, &Owners { systems: &[], entities: &entities }));
        let scopes: Vec<Scope> = found.iter().map(|(entity, _)| entity.scope()).collect();
        assert_eq!(scopes, [Scope::Process, Scope::File]);
    }

    proptest! {
        #[test]
        fn stretches_put_together_are_the_whole(
            operations in prop::collection::vec((0i64..12, 1u64..4), 1..60),
            (one, other) in (0usize..60, 0usize..60),
        ) {
            let mut entities = Entities::default();
            let points = of(&mut entities, Layer::Block, &operations);
            let owners = Owners { systems: &[], entities: &entities };
            let (one, other) = (one.min(other).min(points.len()), one.max(other).min(points.len()));
            let part = |points: &[Point]| Pattern::of(Layer::Block, points, &owners);
            let (mut first, mut middle) = (part(&points[..one]), part(&points[one..other]));
            middle.append(part(&points[other..]));
            first.append(middle);
            prop_assert_eq!(sums(first), sums(part(&points)));
        }
    }
}
