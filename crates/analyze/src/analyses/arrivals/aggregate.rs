//! Interarrival times of operations, and the dispersion of operations over time.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use iostrata_capture::op::{Direction, Layer};
use serde::{Deserialize, Serialize};

use crate::aggregate::Precision;
use crate::aggregate::in_order::{self, OrderedAggregate};
use crate::aggregate::sample::{Distribution, Sample};
use crate::aggregate::sequence::{BySubject, Owners, Point, Span, Subject, recorded_together};

/// Lengths of the intervals in which operations are counted, in nanoseconds.
pub const SCALES_NS: [i64; 5] = [1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];

/// Minimum number of complete intervals: the variance of fewer is meaningless.
const FEWEST_INTERVALS: u64 = 10;

/// Operations by begin in consecutive intervals of one length. The first and the last interval may continue in adjacent time ranges.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Intervals {
    /// Number of the first interval, and count of the operations that begin in it.
    first: (i64, u64),
    last: Option<(i64, u64)>,
    /// Sums over the intervals between them that have any operations.
    between: Moments,
}

/// Sums over intervals.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Moments {
    sum: u128,
    squares: u128,
}

impl Moments {
    fn add(&mut self, count: u64) {
        let count = u128::from(count);
        self.combine(Moments { sum: count, squares: count * count });
    }

    fn combine(&mut self, other: Moments) {
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
    }
}

impl Intervals {
    fn of(number: i64, ops: u64) -> Intervals {
        Intervals { first: (number, ops), last: None, between: Moments::default() }
    }

    fn add(&mut self, number: i64, ops: u64) {
        let (last, count) = self.last.as_mut().unwrap_or(&mut self.first);
        if *last == number {
            *count = count.saturating_add(ops);
        } else if let Some((_, count)) = self.last.replace((number, ops)) {
            self.between.add(count);
        }
    }

    fn append(&mut self, next: Intervals) {
        self.add(next.first.0, next.first.1);
        self.between.combine(next.between);
        next.last.into_iter().for_each(|(number, count)| self.add(number, count));
    }

    /// Returns the sums over the intervals after `first` and before `last`.
    fn within(&self, (first, last): (i64, i64)) -> Moments {
        let mut moments = self.between;
        let ends = [Some(self.first), self.last].into_iter().flatten();
        ends.filter(|(number, _)| (first + 1..last).contains(number)).for_each(|(_, count)| moments.add(count));
        moments
    }
}

/// Number of the interval that contains a moment, for each of [`SCALES_NS`].
type Numbers = [i64; SCALES_NS.len()];

/// Computes these numbers for moments that are mostly in the same intervals as the previous one.
struct Clock {
    numbers: Numbers,
    /// Range of moments with these numbers.
    from_ns: i64,
    until_ns: i64,
}

impl Clock {
    fn new() -> Clock {
        Clock { numbers: [0; SCALES_NS.len()], from_ns: 0, until_ns: 0 }
    }

    fn at(&mut self, ts_ns: i64) -> Numbers {
        if !(self.from_ns..self.until_ns).contains(&ts_ns) {
            self.numbers = SCALES_NS.map(|scale_ns| ts_ns.div_euclid(scale_ns));
            // Each length is a multiple of the shortest one: within an interval of that length the other numbers do not change.
            let passed_ns = ts_ns.rem_euclid(SCALES_NS[0]);
            self.from_ns = ts_ns.saturating_sub(passed_ns);
            self.until_ns = ts_ns.saturating_add(SCALES_NS[0] - passed_ns);
        }
        self.numbers
    }
}

/// Operations in time order; at least one.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stream {
    /// Begin and weight of an operation.
    first: (i64, u32),
    last: (i64, u32),
    ops: u64,
    gaps: Sample,
    /// Sum of the squares of the interarrival times.
    squares: u128,
    intervals: [Intervals; SCALES_NS.len()],
}

impl Stream {
    fn of(at: (i64, u32), numbers: Numbers, precision: Precision) -> Stream {
        let ops = u64::from(at.1);
        let intervals = numbers.map(|number| Intervals::of(number, ops));
        Stream { first: at, last: at, ops, gaps: Sample::empty(precision), squares: 0, intervals }
    }

    fn push(&mut self, at: (i64, u32), numbers: Numbers) {
        let ops = u64::from(at.1);
        self.go_to(at);
        self.last = at;
        self.ops = self.ops.saturating_add(ops);
        for (intervals, number) in self.intervals.iter_mut().zip(numbers) {
            intervals.add(number, ops);
        }
    }

    /// Adds the interarrival time of the next operation.
    fn go_to(&mut self, next: (i64, u32)) {
        if recorded_together(self.last, next) {
            let gap_ns = next.0.abs_diff(self.last.0);
            self.gaps.update(gap_ns, u64::from(next.1));
            let square = u128::from(gap_ns).saturating_mul(u128::from(gap_ns)).saturating_mul(u128::from(next.1));
            self.squares = self.squares.saturating_add(square);
        }
    }

    fn append(&mut self, next: Stream) {
        self.go_to(next.first);
        self.last = next.last;
        self.ops = self.ops.saturating_add(next.ops);
        self.gaps.combine(next.gaps);
        self.squares = self.squares.saturating_add(next.squares);
        for (mine, next) in self.intervals.iter_mut().zip(next.intervals) {
            mine.append(next);
        }
    }
}

/// Operations of a stream: all, or those in one direction.
pub const WAYS: [Option<Direction>; 3] = [None, Some(Direction::Read), Some(Direction::Write)];

/// Streams of a subject, in the order of [`WAYS`].
type Streams = [Option<Stream>; WAYS.len()];

/// Interarrival times by layer and subject, and by index in [`WAYS`].
pub type Interarrivals = BTreeMap<Layer, BTreeMap<(Subject, usize), Sums>>;

/// Streams of all subjects of a layer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Arrivals(HashMap<Subject, Streams, RandomState>);

/// Streams of a layer, while operations are added.
pub struct Walk {
    precision: Precision,
    clock: Clock,
    subjects: BySubject<Streams>,
}

impl Walk {
    /// Creates streams without operations.
    fn new(precision: Precision) -> Walk {
        Walk { precision, clock: Clock::new(), subjects: BySubject::default() }
    }
}

impl in_order::Walk for Walk {
    fn add(&mut self, points: &[Point], _span: Span, _owners: &Owners) {
        let Walk { precision, clock, subjects } = self;
        for point in points.iter().filter(|point| point.ops > 0) {
            let (at, numbers) = ((point.ts_ns, point.ops), clock.at(point.ts_ns));
            subjects.each(point.subject(), |streams| {
                for (stream, way) in streams.iter_mut().zip(WAYS) {
                    match stream {
                        _ if way.is_some() && way != point.direction => {}
                        Some(stream) => stream.push(at, numbers),
                        None => *stream = Some(Stream::of(at, numbers, *precision)),
                    }
                }
            });
        }
    }
}

impl Arrivals {
    /// Creates the streams of points in time order.
    #[cfg(test)]
    pub fn of(points: &[Point], owners: &Owners, precision: Precision) -> Arrivals {
        let mut walk = Walk::new(precision);
        in_order::Walk::add(&mut walk, points, (i64::MIN, i64::MAX), owners);
        Arrivals::close(walk, owners)
    }
}

impl OrderedAggregate for Arrivals {
    const NAME: &'static str = "arrivals";
    const VERSION: u32 = 2;
    type Config = ();
    type Walk = Walk;
    type Finished = Interarrivals;

    fn open((): &(), _layer: Layer, precision: Precision) -> Walk {
        Walk::new(precision)
    }

    fn close(walk: Walk, owners: &Owners) -> Arrivals {
        Arrivals(walk.subjects.finish(owners))
    }

    fn append(&mut self, next: Arrivals) {
        for (subject, streams) in next.0 {
            let mine = self.0.entry(subject).or_default();
            for (mine, stream) in mine.iter_mut().zip(streams) {
                match (mine, stream) {
                    (Some(mine), Some(stream)) => mine.append(stream),
                    (mine @ None, stream) => *mine = stream,
                    (Some(_), None) => {}
                }
            }
        }
    }

    fn finish(self, layer: Layer, finished: &mut Self::Finished) {
        let sums = finished.entry(layer).or_default();
        let all = self.0.get(&Subject::All).and_then(|streams| streams[0].as_ref());
        let Some((from_ns, until_ns)) = all.map(|all| (all.first.0, all.last.0)) else { return };
        let ends = SCALES_NS.map(|scale_ns| (from_ns.div_euclid(scale_ns), until_ns.div_euclid(scale_ns)));
        for (subject, streams) in self.0 {
            for (way, stream) in streams.into_iter().enumerate() {
                let Some(stream) = stream else { continue };
                let intervals = std::array::from_fn(|scale| Dispersion::of(&stream.intervals[scale], ends[scale]));
                let Stream { ops, gaps, squares, .. } = stream;
                let mine = Sums { ops, span_ns: until_ns.abs_diff(from_ns), gaps, squares, intervals };
                match sums.entry((subject.clone(), way)) {
                    std::collections::btree_map::Entry::Occupied(mut sums) => sums.get_mut().combine(mine),
                    std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(mine)),
                }
            }
        }
    }
}

/// Intervals of one length, including those without operations.
#[derive(Debug, Clone, Copy, Default)]
struct Dispersion {
    intervals: u64,
    moments: Moments,
}

impl Dispersion {
    fn of(intervals: &Intervals, ends: (i64, i64)) -> Dispersion {
        let whole = ends.1.abs_diff(ends.0).saturating_sub(1);
        Dispersion { intervals: whole, moments: intervals.within(ends) }
    }

    fn combine(&mut self, other: Dispersion) {
        self.intervals = self.intervals.saturating_add(other.intervals);
        self.moments.combine(other.moments);
    }

    /// Returns the variance of the counts divided by their mean.
    fn index(&self) -> Option<f64> {
        let Moments { sum, squares } = self.moments;
        let intervals = u128::from(self.intervals);
        let spread = intervals.checked_mul(squares)?.checked_sub(sum.checked_mul(sum)?)?;
        (self.intervals >= FEWEST_INTERVALS && sum > 0).then(|| spread as f64 / (intervals as f64 * sum as f64))
    }
}

/// Sums over operations of a subject, all or in one direction.
#[derive(Debug, Clone)]
pub struct Sums {
    /// Number of operations.
    pub ops: u64,
    /// Time in ns from the first to the last operation of the layer, summed over captures.
    pub span_ns: u64,
    gaps: Sample,
    squares: u128,
    intervals: [Dispersion; SCALES_NS.len()],
}

impl Sums {
    fn combine(&mut self, other: Sums) {
        self.ops = self.ops.saturating_add(other.ops);
        self.span_ns = self.span_ns.saturating_add(other.span_ns);
        self.gaps.combine(other.gaps);
        self.squares = self.squares.saturating_add(other.squares);
        self.intervals.iter_mut().zip(other.intervals).for_each(|(mine, other)| mine.combine(other));
    }

    /// Returns the distribution of interarrival times.
    pub fn gaps(&self) -> Distribution {
        self.gaps.clone().finish(0)
    }

    /// Returns the squared coefficient of variation of the interarrival times: their variance divided by the square of their mean.
    pub fn variation(&self) -> Option<f64> {
        let (count, sum) = (u128::from(self.gaps.count()), self.gaps.sum());
        let spread = count.checked_mul(self.squares)?.checked_sub(sum.checked_mul(sum)?)?;
        (count >= u128::from(FEWEST_INTERVALS) && sum > 0).then(|| spread as f64 / (sum as f64 * sum as f64))
    }

    /// Returns the index of dispersion for each of [`SCALES_NS`]; `None` with too few intervals.
    pub fn dispersion(&self) -> [Option<f64>; SCALES_NS.len()] {
        self.intervals.map(|intervals| intervals.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::sequence::tests::{Told, points};
    use proptest::prelude::*;

    fn of(points: &[Point], owners: &Owners) -> Arrivals {
        Arrivals::of(points, owners, Precision::Histogram { above: 8 })
    }

    fn told(arrivals: Arrivals) -> String {
        let mut finished = BTreeMap::new();
        arrivals.finish(Layer::Block, &mut finished);
        let sums = &finished[&Layer::Block];
        let told = |(of, sums): (&(Subject, usize), &Sums)| {
            format!("{of:?} {} {:?} {:?} {:?}\n", sums.ops, sums.gaps(), sums.variation(), sums.dispersion())
        };
        sums.iter().map(told).collect()
    }

    fn all(arrivals: Arrivals) -> Sums {
        let mut finished = BTreeMap::new();
        arrivals.finish(Layer::Block, &mut finished);
        let mut sums = finished.remove(&Layer::Block).expect("operations");
        sums.remove(&(Subject::All, 0)).expect("operations")
    }

    #[test]
    fn a_timer_is_even_and_a_burst_is_not() {
        let even: Vec<(i64, Told)> = (0..1_000).map(|number| (number * 100_000, Told::default())).collect();
        points(&even, |points, owners| {
            let sums = all(of(points, owners));
            assert_eq!((sums.ops, sums.gaps().avg_ns, sums.variation()), (1_000, Some(100_000), Some(0.0)));
            assert_eq!(sums.dispersion()[..2], [Some(0.0), None], "ten per millisecond; too few intervals of 10 ms");
        });
        let burst: Vec<(i64, Told)> =
            (0..1_000).map(|at| (at / 100 * 10_000_000 + at % 100, Told::default())).collect();
        points(&burst, |points, owners| {
            // A hundred in every tenth of the milliseconds between the first and the last: 8 of 89.
            let mean = 800.0 / 89.0;
            let expected = (8.0 * 100.0 * 100.0 / 89.0 - mean * mean) / mean;
            let found = all(of(points, owners)).dispersion()[0].expect("enough");
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        });
    }

    proptest! {
        #[test]
        fn stretches_put_together_are_the_whole(
            mut times in prop::collection::vec((0i64..60_000_000, any::<Told>()), 1..60),
            (one, other) in (0usize..60, 0usize..60),
        ) {
            times.sort_by_key(|(ts_ns, _)| *ts_ns);
            points(&times, |points, owners| {
                let (one, other) = (one.min(other).min(points.len()), one.max(other).min(points.len()));
                let (mut first, mut middle) = (of(&points[..one], owners), of(&points[one..other], owners));
                middle.append(of(&points[other..], owners));
                first.append(middle);
                assert!(told(first) == told(of(points, owners)));
            });
        }
    }
}
