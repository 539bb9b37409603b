//! Consecutive time ranges that are read together, each row group once. Their rows are collected until a time range is complete and can be
//! processed in time order.

use std::convert::identity;

use iostrata_capture::op::{Direction, Layer};

use super::pile::{BySource, Source};
use crate::aggregate::crossing::{Call, Commit, Crossed, Request, Share};
use crate::aggregate::sequence::{Point, Span};
use crate::entity::Places;

/// Compact form of a point: it is kept until its time range is complete.
#[derive(Debug, Clone, Copy)]
struct Kept {
    ts_ns: i64,
    end_ns: i64,
    position: i64,
    bytes: u64,
    places: Places,
    ops: u32,
    slot: u32,
    direction: Option<Direction>,
    has_end: bool,
    has_position: bool,
}

impl From<Point> for Kept {
    fn from(point: Point) -> Kept {
        let Point { ts_ns, end_ns, position, bytes, ops, direction, slot, places } = point;
        let (has_end, has_position) = (end_ns.is_some(), position.is_some());
        let (end_ns, position) = (end_ns.unwrap_or_default(), position.unwrap_or_default());
        Kept { ts_ns, end_ns, position, bytes, places, ops, slot, direction, has_end, has_position }
    }
}

impl From<Kept> for Point {
    fn from(kept: Kept) -> Point {
        let Kept { ts_ns, end_ns, position, bytes, places, ops, slot, direction, has_end, has_position } = kept;
        let (end_ns, position) = (has_end.then_some(end_ns), has_position.then_some(position));
        Point { ts_ns, end_ns, position, bytes, ops, direction, slot, places }
    }
}

/// Operations of a layer that began or ended in one time range.
#[derive(Debug, Default)]
pub struct Points(BySource<Kept>);

impl Points {
    /// Returns the operations in time order, and those of the same time in the order of their sources.
    pub fn in_order(self) -> Vec<Point> {
        let mut all = self.0.in_order(Point::from);
        if !all.is_sorted_by_key(|point| point.ts_ns) {
            // Sorts the times: each of the points, which are large, is moved once.
            all.sort_by_cached_key(|point| point.ts_ns);
        }
        all
    }
}

/// Rows for the matching of requests to calls, while they are collected.
#[derive(Debug, Default)]
pub struct Crossing {
    calls: BySource<Call>,
    requests: BySource<Request>,
    shares: BySource<Share>,
    commits: BySource<Commit>,
}

impl Crossing {
    /// Returns all rows, each kind in the order of sources.
    pub fn all(self) -> Crossed {
        let Crossing { calls, requests, shares, commits } = self;
        Crossed {
            calls: calls.in_order(identity),
            requests: requests.in_order(identity),
            shares: shares.in_order(identity),
            commits: commits.in_order(identity),
        }
    }
}

/// Collected rows of one time range.
#[derive(Debug, Default)]
struct Left {
    points: [Points; Layer::ALL.len()],
    crossed: Crossing,
}

/// All rows of one time range.
pub struct Whole {
    /// Time range.
    pub span: Span,
    /// Operations, by layer.
    pub points: [Points; Layer::ALL.len()],
    /// Rows for the matching of requests to calls.
    pub crossed: Crossing,
}

/// Time ranges; each begins at the end of the previous one.
#[derive(Debug)]
pub struct TimeRanges {
    spans: Vec<Span>,
    left: Vec<Left>,
    /// Index of the time range of the previous row, which is most often that of the next.
    last: usize,
    /// Number of time ranges that were taken.
    taken: usize,
    /// Source that is being read.
    source: Source,
    /// Whether its rows are processed in time order.
    has_order: bool,
}

impl TimeRanges {
    /// Creates time ranges without rows; there is at least one.
    pub fn new(spans: Vec<Span>) -> TimeRanges {
        let left = spans.iter().map(|_| Left::default()).collect();
        TimeRanges { spans, left, last: 0, taken: 0, source: 0, has_order: false }
    }

    /// Sets the source of the following rows.
    pub fn read(&mut self, source: Source, has_order: bool) {
        (self.source, self.has_order) = (source, has_order);
    }

    /// Returns the range from the first to the last moment.
    pub fn span(&self) -> Span {
        let ends = self.spans.first().zip(self.spans.last());
        ends.map_or((i64::MAX, i64::MIN), |((first_ns, _), (_, last_ns))| (*first_ns, *last_ns))
    }

    /// Whether a moment is in any of them.
    pub fn has(&self, ns: i64) -> bool {
        let (first_ns, last_ns) = self.span();
        (first_ns..=last_ns).contains(&ns)
    }

    /// Whether something in flight between two moments was in flight in any of them.
    pub fn reaches(&self, (begin_ns, end_ns): Span) -> bool {
        let (first_ns, last_ns) = self.span();
        begin_ns <= last_ns && end_ns >= first_ns
    }

    /// Returns the time range of a moment, if any.
    fn at(&mut self, ns: i64) -> Option<usize> {
        if self.spans.get(self.last).is_some_and(|(first_ns, last_ns)| (*first_ns..=*last_ns).contains(&ns)) {
            return Some(self.last);
        }
        let found = self.spans.partition_point(|(_, last_ns)| *last_ns < ns);
        self.spans.get(found).filter(|(first_ns, _)| *first_ns <= ns)?;
        self.last = found;
        Some(found)
    }

    /// Adds an operation of `layer` to the time range in which it began and, with `ends`, to that in which it ended.
    pub fn point(&mut self, layer: Layer, point: Point, ends: bool) {
        if !self.has_order {
            return;
        }
        let (layer, source) = (layer as usize, self.source);
        let began = self.at(point.ts_ns);
        if let Some(began) = began {
            self.left[began].points[layer].0.push(source, point.into());
        }
        let ended =
            point.end_ns.filter(|_| ends).and_then(|end_ns| self.at(end_ns)).filter(|ended| Some(*ended) != began);
        if let Some(ended) = ended {
            self.left[ended].points[layer].0.push(source, Point { ops: 0, ..point }.into());
        }
    }

    /// Adds a call to all time ranges that it overlaps.
    pub fn call(&mut self, call: &Call) {
        if !self.reaches((call.ts_ns, call.end_ns)) {
            return;
        }
        let (first_ns, last_ns) = self.span();
        let ends = (self.at(call.ts_ns.max(first_ns)), self.at(call.end_ns.min(last_ns)));
        let (Some(first), Some(last)) = ends else { return };
        for left in &mut self.left[first..=last] {
            left.crossed.calls.push(self.source, call.clone());
        }
    }

    /// Adds a request to the time range in which it was queued.
    pub fn request(&mut self, request: Request) {
        if let Some(stretch) = self.at(request.ts_ns) {
            self.left[stretch].crossed.requests.push(self.source, request);
        }
    }

    /// Adds a part of a request to the time range in which the request was queued.
    pub fn share(&mut self, share: Share) {
        if let Some(stretch) = self.at(share.of.0) {
            self.left[stretch].crossed.shares.push(self.source, share);
        }
    }

    /// Adds a commit to the time range in which it ended.
    pub fn commit(&mut self, commit: Commit) {
        if let Some(stretch) = self.at(commit.end_ns) {
            self.left[stretch].crossed.commits.push(self.source, commit);
        }
    }

    /// Takes all rows of the next time range, if its number is below `until`.
    pub fn next_before(&mut self, until: usize) -> Option<Whole> {
        let number = self.taken;
        let (span, left) = self.spans.get(number).zip(self.left.get_mut(number)).filter(|_| number < until)?;
        self.taken += 1;
        let Left { points, crossed } = std::mem::take(left);
        Some(Whole { span: *span, points, crossed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::sequence::tests::{Told, points};

    const LAYER: Layer = Layer::Block;

    fn taken(stretches: &mut TimeRanges) -> Vec<Vec<(i64, u32)>> {
        let of = |Whole { mut points, .. }: Whole| std::mem::take(&mut points[LAYER as usize]).in_order();
        let told = |points: Vec<Point>| points.iter().map(|point| (point.ts_ns, point.ops)).collect();
        std::iter::from_fn(|| stretches.next_before(usize::MAX)).map(of).map(told).collect()
    }

    #[test]
    fn an_operation_is_where_it_began_and_where_it_ended() {
        let timed = |ns| Told { ns, ..Told::default() };
        points(&[(1, timed(Some(1))), (5, timed(Some(20))), (12, timed(Some(90))), (25, timed(None))], |points, _| {
            for ends in [false, true] {
                let mut stretches = TimeRanges::new(vec![(i64::MIN, 9), (10, 19), (20, 29)]);
                stretches.read(0, true);
                points.iter().for_each(|point| stretches.point(LAYER, *point, ends));
                let third = if ends { vec![(5, 0), (25, 1)] } else { vec![(25, 1)] };
                assert_eq!(taken(&mut stretches), [vec![(1, 1), (5, 1)], vec![(12, 1)], third]);
            }
        });
    }

    #[test]
    fn operations_of_the_same_time_are_in_the_order_of_the_row_groups() {
        let told = |system| Told { system, ..Told::default() };
        points(&[(7, told(0)), (7, told(1)), (7, told(2)), (3, told(3))], |points, _| {
            let mut stretches = TimeRanges::new(vec![(0, 9)]);
            for (source, point) in [(4, 2), (2, 0), (2, 1), (9, 3)] {
                stretches.read(source, true);
                stretches.point(LAYER, points[point], true);
            }
            let mut whole = stretches.next_before(1).expect("one");
            assert!(stretches.next_before(1).is_none());
            let slots: Vec<u32> =
                std::mem::take(&mut whole.points[LAYER as usize]).in_order().iter().map(|point| point.slot).collect();
            assert_eq!(slots, [3, 0, 1, 2]);
        });
    }

    #[test]
    fn a_moment_is_in_one_stretch_or_none() {
        let mut stretches = TimeRanges::new(vec![(0, 9), (10, 19), (20, 29)]);
        for (ns, stretch) in
            [(0, Some(0)), (9, Some(0)), (29, Some(2)), (10, Some(1)), (-1, None), (30, None), (5, Some(0))]
        {
            assert_eq!((stretches.at(ns), stretches.has(ns)), (stretch, stretch.is_some()), "{ns}");
        }
    }
}
