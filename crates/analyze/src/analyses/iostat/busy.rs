//! Utilization of disks: time with at least one request in flight, by time window.

use std::cmp::Ordering;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use iostrata_capture::op::Layer;
use serde::{Deserialize, Serialize};

use super::aggregate::MOST;
use crate::aggregate::Precision;
use crate::aggregate::in_order::{self, OrderedAggregate};
use crate::aggregate::requests::Needs;
use crate::aggregate::sequence::{Owners, Point, Span};
use crate::aggregate::windowed::{self, Most, Windowed};
use crate::analyses::timeline::aggregate::Windows;
use crate::entity::{Disk, Entity, Place, Scope};

/// Idle times of a disk in a time range.
///
/// The number in flight at the start of the range is unknown, so numbers are relative to it. Only the lowest number of the range can be zero, so only the time at
/// that number is kept. If it turns out to be above zero, the disk was never idle in the range.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Idle {
    /// First and last begin or end.
    ends_ns: Option<Span>,
    /// Number in flight at the end, relative to the start.
    net: i64,
    /// Lowest number in flight, relative to the start.
    least: i64,
    /// Time at that number, from the first to the last begin or end.
    times: Windowed<(), ()>,
}

impl Idle {
    fn new(Windows { width_ns, most }: Windows) -> Idle {
        let times = Windowed::new(width_ns, Most { windows: most, ..MOST });
        Idle { ends_ns: None, net: 0, least: 0, times }
    }

    fn is_sound(&self) -> bool {
        self.times.is_sound(MOST) && self.least <= 0 && self.ends_ns.is_none_or(|(first, last)| first <= last)
    }

    fn push(&mut self, ns: i64, change: i64) {
        self.until(ns);
        self.net = self.net.saturating_add(change);
        if self.net < self.least {
            self.least = self.net;
            self.times.clear();
        }
    }

    /// Adds the time from the last begin or end to `ns`.
    fn until(&mut self, ns: i64) {
        let (first, last) = self.ends_ns.unwrap_or((ns, ns));
        if self.net == self.least && ns > last {
            self.times.fill((), (last, ns), 1);
        }
        self.ends_ns = Some((first, ns));
    }

    fn append(&mut self, next: Idle) {
        let Some((first, last)) = next.ends_ns else { return };
        self.until(first);
        self.ends_ns = self.ends_ns.map(|(first, _)| (first, last));
        let least = self.net.saturating_add(next.least);
        match least.cmp(&self.least) {
            Ordering::Less => (self.least, self.times) = (least, next.times),
            Ordering::Equal => self.times.combine(next.times),
            Ordering::Greater => {}
        }
        self.net = self.net.saturating_add(next.net);
    }

    /// Returns the length of a window in ns.
    pub fn width_ns(&self) -> i64 {
        self.times.width_ns()
    }

    /// Returns the busy time in ns in the windows with these numbers, which are at least as long as its own.
    pub fn busy_ns(&self, (first, last): (i64, i64), width_ns: i64) -> Vec<u64> {
        let Some((begin_ns, end_ns)) = self.ends_ns else { return Vec::new() };
        // The first range began with nothing in flight.
        let idle = (self.least == 0).then(|| self.times.clone().widened(width_ns).finish().1.pop()).flatten();
        let mut idle = idle.map(|(_, line)| line.over((first, last)));
        let busy = |number: i64| {
            let within_ns = windowed::overlap_ns(number, width_ns, (begin_ns, end_ns)).max(0).unsigned_abs();
            let idle_ns = idle.as_mut().and_then(Iterator::next).map_or(0, |of| of.in_flight_ns);
            within_ns.saturating_sub(u64::try_from(idle_ns).unwrap_or(0))
        };
        (first..=last).map(busy).collect()
    }
}

/// Idle times of each disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Busy(HashMap<Disk, Idle, RandomState>);

/// Idle times of each disk, while requests are added.
pub struct Walk {
    windows: Windows,
    is_block: bool,
    disks: HashMap<Place, Idle, RandomState>,
}

impl in_order::Walk for Walk {
    fn add(&mut self, points: &[Point], (first_ns, last_ns): Span, _owners: &Owners) {
        if !self.is_block {
            return;
        }
        let mut changes: Vec<(i64, i64, Place)> = Vec::with_capacity(2 * points.len());
        for point in points {
            let disk = point.places.0[Scope::Device as usize];
            let Some(end_ns) = point.end_ns else { continue };
            changes.extend((point.ops > 0).then_some((point.ts_ns, 1, disk)));
            changes.extend((first_ns..=last_ns).contains(&end_ns).then_some((end_ns, -1, disk)));
        }
        // Begins first: a request of no duration does not end before it begins.
        changes.sort_unstable_by_key(|(ns, change, _)| (*ns, -change));
        for (ns, change, disk) in changes {
            self.disks.entry(disk).or_insert_with(|| Idle::new(self.windows)).push(ns, change);
        }
    }
}

impl OrderedAggregate for Busy {
    const NAME: &'static str = "busy";
    const VERSION: u32 = 1;
    const NEEDS: Needs = Needs { ends: true, ..Needs::NOTHING };
    type Config = Windows;
    type Walk = Walk;
    type Finished = HashMap<Disk, Idle, RandomState>;

    fn open(windows: &Windows, layer: Layer, _precision: Precision) -> Walk {
        Walk { windows: *windows, is_block: layer == Layer::Block, disks: HashMap::default() }
    }

    fn close(walk: Walk, owners: &Owners) -> Busy {
        let disks = walk.disks.into_iter().filter_map(|(place, idle)| match owners.entity(place) {
            Entity::Device(capture, dev) => Some(((capture, dev), idle)),
            _ => None,
        });
        Busy(disks.collect())
    }

    fn is_sound(&self) -> bool {
        self.0.values().all(Idle::is_sound)
    }

    fn append(&mut self, next: Busy) {
        for (disk, idle) in next.0 {
            match self.0.get_mut(&disk) {
                Some(mine) => mine.append(idle),
                None => drop(self.0.insert(disk, idle)),
            }
        }
    }

    fn finish(self, _layer: Layer, finished: &mut Self::Finished) {
        finished.extend(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::sequence::tests::{Told, points, within};
    use proptest::prelude::*;

    const WINDOWS: Windows = Windows { width_ns: 20, most: 4 };

    fn on(disk: i32, ns: Option<i64>) -> Told {
        Told { ns, disk, ..Told::default() }
    }

    fn of(points: &[Point], span: Span, owners: &Owners) -> Busy {
        let mut walk = Busy::open(&WINDOWS, Layer::Block, Precision::DEFAULT);
        in_order::Walk::add(&mut walk, points, span, owners);
        Busy::close(walk, owners)
    }

    fn part(points: &[Point], span: Span, owners: &Owners) -> Busy {
        of(&within(points, span), span, owners)
    }

    const ALWAYS: Span = (i64::MIN, i64::MAX);

    #[test]
    fn a_disk_is_busy_while_anything_is_in_flight() {
        let told = [
            (5, on(1, Some(10))),
            (10, on(1, Some(12))),
            (10, on(1, Some(0))),
            (43, on(1, Some(4))),
            (50, on(1, None)),
        ];
        points(&told, |points, owners| {
            let busy = of(points, ALWAYS, owners);
            let disk = busy.0.values().next().expect("a disk");
            // From 5 to 22, and from 43 to 47.
            assert_eq!(disk.busy_ns((0, 3), 20), [15, 2, 4, 0]);
            assert_eq!(disk.busy_ns((-1, 1), 40), [0, 17, 4]);
        });
    }

    proptest! {
        #[test]
        fn ranges_put_together_are_the_whole_and_each_moment_is_counted_once(
            mut times in prop::collection::vec((0i64..100, any::<Told>()), 1..40),
            (one, other) in (0i64..130, 0i64..130),
        ) {
            times.sort_by_key(|(ts_ns, _)| *ts_ns);
            points(&times, |points, owners| {
                let (one, other) = (one.min(other), one.max(other));
                let whole = part(points, ALWAYS, owners);
                for (disk, idle) in &whole.0 {
                    let in_flight = |moment: i64| {
                        let mut on_disk = times.iter().filter(|(_, told)| told.disk == disk.1);
                        on_disk.any(|(ts_ns, told)| told.ns.is_some_and(|ns| (*ts_ns..ts_ns + ns).contains(&moment)))
                    };
                    let width_ns = idle.width_ns();
                    let busy = idle.busy_ns((0, 130 / width_ns), width_ns);
                    for (number, busy_ns) in (0..).zip(busy) {
                        let moments = number * width_ns..(number + 1) * width_ns;
                        assert_eq!(busy_ns, moments.filter(|moment| in_flight(*moment)).count() as u64);
                    }
                }
                let told = |busy: &Busy| {
                    let mut all: Vec<_> = busy.0.iter().map(|(disk, idle)| (*disk, idle.busy_ns((0, 1), 160))).collect();
                    all.sort_unstable();
                    all
                };
                let (mut first, mut middle) =
                    (part(points, (i64::MIN, one - 1), owners), part(points, (one, other - 1), owners));
                OrderedAggregate::append(&mut middle, part(points, (other, i64::MAX), owners));
                OrderedAggregate::append(&mut first, middle);
                assert_eq!(told(&first), told(&whole));
            });
        }
    }
}
