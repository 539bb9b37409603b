//! Operations in flight over time: queue depth and utilization.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use iostrata_capture::op::Layer;
use serde::{Deserialize, Serialize};

use crate::aggregate::Precision;
use crate::aggregate::in_order::{self, OrderedAggregate};
use crate::aggregate::requests::Needs;
use crate::aggregate::sequence::{BySubject, Owners, Point, Span, Subject};

/// Begins and ends of operations in a time range, in order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Depth {
    ops: u64,
    /// Number of rows of known duration, and the sum of the durations.
    timed: (u64, u128),
    /// Number of rows of unknown duration.
    untimed: u64,
    /// First and last begin or end.
    ends_ns: Option<(i64, i64)>,
    /// Number in flight at the end, relative to the start.
    net: i64,
    /// Time at each number in flight, relative to the start.
    time_ns: BTreeMap<i64, u128>,
}

impl Depth {
    fn push(&mut self, ns: i64, change: i64) {
        let first = self.until(ns);
        self.ends_ns = Some((first, ns));
        self.net = self.net.saturating_add(change);
    }

    /// Adds the time from the last begin or end to `ns`. Returns the first begin or end.
    fn until(&mut self, ns: i64) -> i64 {
        let Some((first, last)) = self.ends_ns else { return ns };
        if ns > last {
            add(&mut self.time_ns, self.net, u128::from(ns.abs_diff(last)));
        }
        first
    }

    fn append(&mut self, next: Depth) {
        self.ops = self.ops.saturating_add(next.ops);
        self.timed = (self.timed.0.saturating_add(next.timed.0), self.timed.1.saturating_add(next.timed.1));
        self.untimed = self.untimed.saturating_add(next.untimed);
        let Some((begin, end)) = next.ends_ns else { return };
        let first = self.until(begin);
        self.ends_ns = Some((first, end));
        for (depth, ns) in next.time_ns {
            add(&mut self.time_ns, depth.saturating_add(self.net), ns);
        }
        self.net = self.net.saturating_add(next.net);
    }
}

fn add(time_ns: &mut BTreeMap<i64, u128>, depth: i64, ns: u128) {
    let sum = time_ns.entry(depth).or_default();
    *sum = sum.saturating_add(ns);
}

/// Operations in flight by layer and subject.
pub type Depths = BTreeMap<Layer, BTreeMap<Subject, Sums>>;

/// Operations in flight of each subject of a layer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Queue(HashMap<Subject, Depth, RandomState>);

/// Operations in flight of a layer, while operations are added.
#[derive(Default)]
pub struct Walk(BySubject<Depth>);

impl in_order::Walk for Walk {
    fn add(&mut self, points: &[Point], (first_ns, last_ns): Span, _owners: &Owners) {
        let Walk(subjects) = self;
        let mut changes: Vec<(i64, i64, usize)> = Vec::with_capacity(2 * points.len());
        for (number, point) in points.iter().enumerate() {
            let is_new = point.ops > 0;
            if let Some(end_ns) = point.end_ns {
                changes.extend(is_new.then_some((point.ts_ns, 1, number)));
                changes.extend((first_ns..=last_ns).contains(&end_ns).then_some((end_ns, -1, number)));
            }
            if is_new {
                subjects.each(point.subject(), |depth| {
                    depth.ops = depth.ops.saturating_add(u64::from(point.ops));
                    match point.end_ns {
                        Some(end_ns) => {
                            let (rows, ns) = &mut depth.timed;
                            (*rows, *ns) = (*rows + 1, ns.saturating_add(u128::from(end_ns.abs_diff(point.ts_ns))));
                        }
                        None => depth.untimed += 1,
                    }
                });
            }
        }
        // The order of simultaneous changes does not matter: there is no time between them.
        changes.sort_unstable_by_key(|(ns, ..)| *ns);
        for (ns, change, number) in changes {
            subjects.each(points[number].subject(), |depth| depth.push(ns, change));
        }
    }
}

impl Queue {
    /// Computes the operations in flight of points in time order, including those that began before `span` and ended in it.
    #[cfg(test)]
    fn of(points: &[Point], span: Span, owners: &Owners) -> Queue {
        let mut walk = Walk::default();
        in_order::Walk::add(&mut walk, points, span, owners);
        Queue::close(walk, owners)
    }
}

impl OrderedAggregate for Queue {
    const NAME: &'static str = "queue";
    const VERSION: u32 = 2;
    const NEEDS: Needs = Needs { ends: true, ..Needs::NOTHING };
    type Config = ();
    type Walk = Walk;
    type Finished = Depths;

    fn open((): &(), _layer: Layer, _precision: Precision) -> Walk {
        Walk::default()
    }

    fn close(walk: Walk, owners: &Owners) -> Queue {
        Queue(walk.0.finish(owners))
    }

    fn append(&mut self, next: Queue) {
        for (subject, depth) in next.0 {
            self.0.entry(subject).or_default().append(depth);
        }
    }

    fn finish(self, layer: Layer, finished: &mut Self::Finished) {
        let sums = finished.entry(layer).or_default();
        for (subject, depth) in self.0 {
            sums.entry(subject).or_default().combine(depth);
        }
    }
}

/// Time of a subject at each number of operations in flight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Number of operations.
    pub ops: u64,
    /// Number of operations of known duration; the times below are of these only.
    pub timed: u64,
    /// Sum of their durations in ns.
    pub sum_ns: u128,
    /// Number of operations of unknown duration.
    pub untimed: u64,
    /// Time in ns at each number in flight, from the first begin to the last end.
    pub time_ns: BTreeMap<u64, u128>,
}

impl Sums {
    fn combine(&mut self, depth: Depth) {
        self.ops = self.ops.saturating_add(depth.ops);
        self.timed = self.timed.saturating_add(depth.timed.0);
        self.sum_ns = self.sum_ns.saturating_add(depth.timed.1);
        self.untimed = self.untimed.saturating_add(depth.untimed);
        for (depth, ns) in depth.time_ns {
            let sum = self.time_ns.entry(u64::try_from(depth).unwrap_or(0)).or_default();
            *sum = sum.saturating_add(ns);
        }
    }

    /// Returns the time in ns from the first begin to the last end.
    pub fn span_ns(&self) -> u128 {
        self.time_ns.values().fold(0, |sum, ns| sum.saturating_add(*ns))
    }

    /// Returns the time in ns with at least one operation in flight.
    pub fn busy_ns(&self) -> u128 {
        self.span_ns().saturating_sub(self.time_ns.get(&0).copied().unwrap_or(0))
    }

    /// Returns the mean number of operations in flight over the span: the integral of the depth over time, divided by the span.
    pub fn average(&self) -> Option<f64> {
        let integral = self
            .time_ns
            .iter()
            .fold(0u128, |sum, (depth, ns)| sum.saturating_add(u128::from(*depth).saturating_mul(*ns)));
        let span_ns = self.span_ns();
        (span_ns > 0).then(|| integral as f64 / span_ns as f64)
    }

    /// Returns the same by Little's law: arrival rate times mean duration.
    pub fn expected(&self) -> Option<f64> {
        let span_ns = self.span_ns();
        let (rate, each_ns) = (self.timed as f64 / span_ns as f64, self.sum_ns as f64 / self.timed as f64);
        (span_ns > 0 && self.timed > 0).then_some(rate * each_ns)
    }

    /// Returns the number of operations in flight that is not exceeded for `percent` of the span.
    pub fn at(&self, percent: u32) -> Option<u64> {
        let wanted = self.span_ns().checked_mul(u128::from(percent))?.div_ceil(100);
        let mut passed = 0u128;
        let reached = self.time_ns.iter().find(|(_, ns)| {
            passed = passed.saturating_add(**ns);
            passed >= wanted && passed > 0
        });
        reached.map(|(depth, _)| *depth)
    }

    /// Returns the maximum number of operations in flight.
    pub fn max(&self) -> Option<u64> {
        self.time_ns.last_key_value().map(|(depth, _)| *depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::sequence::tests::{Told, points, within};
    use proptest::prelude::*;

    const ALWAYS: Span = (i64::MIN, i64::MAX);

    fn timed(ns: Option<i64>) -> Told {
        Told { ns, ..Told::default() }
    }

    fn sums(queue: Queue) -> BTreeMap<Subject, Sums> {
        let mut finished = BTreeMap::new();
        queue.finish(Layer::Block, &mut finished);
        finished.remove(&Layer::Block).expect("operations")
    }

    #[test]
    fn depths_are_counted_by_the_time_that_they_last() {
        let operations =
            [(0, timed(Some(10))), (5, timed(Some(10))), (5, timed(Some(0))), (30, timed(Some(10))), (31, timed(None))];
        points(&operations, |points, owners| {
            let sums = sums(Queue::of(points, ALWAYS, owners));
            let all = &sums[&Subject::All];
            assert_eq!(all.time_ns, BTreeMap::from([(0, 15), (1, 20), (2, 5)]));
            assert_eq!((all.ops, all.timed, all.untimed, all.sum_ns), (5, 4, 1, 30));
            assert_eq!((all.span_ns(), all.busy_ns(), all.max()), (40, 25, Some(2)));
            assert_eq!((all.average(), all.expected()), (Some(0.75), Some(0.75)));
            assert_eq!(
                [all.at(0), all.at(37), all.at(38), all.at(87), all.at(88), all.at(100)],
                [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2)]
            );
        });
    }

    proptest! {
        #[test]
        fn stretches_put_together_are_the_whole(
            mut times in prop::collection::vec((0i64..100, any::<Told>()), 1..60),
            (one, other) in (0i64..130, 0i64..130),
        ) {
            times.sort_by_key(|(ts_ns, _)| *ts_ns);
            points(&times, |points, owners| {
                let (one, other) = (one.min(other), one.max(other));
                let within = |span: Span| Queue::of(&within(points, span), span, owners);
                let (mut first, mut middle) = (within((i64::MIN, one - 1)), within((one, other - 1)));
                middle.append(within((other, i64::MAX)));
                first.append(middle);
                let whole = sums(within(ALWAYS));
                for of in whole.values() {
                    assert!(of.average().zip(of.expected()).is_none_or(|(found, law)| (found - law).abs() < 1e-9));
                }
                assert_eq!(sums(first), whole);
            });
        }
    }
}
