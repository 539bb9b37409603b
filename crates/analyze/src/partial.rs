//! A partial: everything that a scan keeps of some rows. Partials merge in any order to the same result.

use serde::{Deserialize, Serialize};

use crate::aggregate::LostByLayer;
use crate::aggregate::activity::Activity;
use crate::aggregate::count::{Counts, Kept as KeptCounts};
use crate::aggregate::flow::{Flows, Kept as KeptFlows};
use crate::aggregate::footprint::Footprint;
use crate::aggregate::heatmap::{self, Heatmap};
use crate::aggregate::latency::{Distributions, Latencies};
use crate::aggregate::sequence;
use crate::aggregate::sizes::{self, Sizes};
use crate::aggregate::spans::{self, Spans};
use crate::aggregate::timeline::{self, Timeline};
use crate::entity::{self, Entities, Entity};
use crate::levels::LeftOut;
use crate::loss::during::During;
use crate::texts::{List, Names};
use crate::valid::Checked;

/// The aggregates of one system, of which there may be as many as processes. A new aggregate is a field here, and a line in each of the verbs below.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct System {
    /// Operations and bytes.
    pub counts: KeptCounts,
    /// Durations.
    pub latency: Latencies,
    /// Bytes from the application to the device.
    pub flows: KeptFlows,
}

impl System {
    fn combine(&mut self, other: Self) {
        self.counts.combine(&other.counts);
        self.latency.combine(other.latency);
        self.flows.combine(&other.flows);
    }
}

/// Rows that stand for more than one event each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    /// How many.
    pub rows: u64,
    /// For how many events one of them stands at most; 0 where there are none.
    pub greatest: u64,
}

impl Sampled {
    /// Adds a row that stands for `weight` events.
    pub fn add(&mut self, weight: u64) {
        self.combine(Sampled { rows: 1, greatest: weight });
    }

    fn combine(&mut self, other: Sampled) {
        self.rows = self.rows.saturating_add(other.rows);
        self.greatest = self.greatest.max(other.greatest);
    }
}

/// What some rows come to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Partial {
    slots: Names,
    systems: Vec<System>,
    /// Bytes by process, cgroup, file and device.
    pub entities: Entities,
    /// I/O on files in memory, which is left out of the systems because it reaches no device.
    pub memory: Counts,
    /// What of the systems serves calls that are counted too, and is in no total.
    pub served: Counts,
    /// Bytes of that.
    pub served_flows: Flows,
    /// What may be asked for, and is in no system because nobody knows whose it is.
    pub doubtful: Counts,
    /// Whether there was anything that is asked for.
    pub selected: bool,
    /// What is known of the values of rows.
    pub checked: Checked,
    /// Requests of other levels than the one that totals are of, in no system.
    pub left_out: LeftOut,
    /// Rows in the times in which something was lost.
    pub during: During,
    /// Rows that stand for more than one event.
    pub sampled: Sampled,
    /// What happened when, if that was asked for.
    pub timeline: Option<Timeline>,
    /// How large operations are, if that was asked for.
    pub sizes: Option<Sizes>,
    /// Where operations are in time, duration and place, if that was asked for.
    pub heatmap: Option<Heatmap>,
    /// Which blocks are touched, if that was asked for.
    pub footprint: Option<Footprint>,
    /// Operations one by one, if that was asked for.
    #[serde(skip)]
    pub spans: Option<Spans>,
    /// All rows, those in no system included.
    pub rows: u64,
}

/// What all rows come to, systems in order of their names.
#[derive(Debug)]
pub struct Finished {
    /// By system.
    pub systems: Systems,
    /// All systems together, but for what serves calls of others.
    pub total: Counts,
    /// Bytes of all systems together, but for what serves calls of others.
    pub total_flows: Flows,
    /// What of the systems serves calls of others.
    pub served: Counts,
    /// Bytes of that.
    pub served_flows: Flows,
    /// Bytes by process, cgroup, file and device, in order.
    pub entities: entity::Finished,
    /// What each of these did, in order, if that was asked for.
    pub active: Vec<(Entity, Activity)>,
    /// I/O on files in memory, in no system.
    pub memory: Counts,
    /// What may be asked for, and is in no system because nobody knows whose it is.
    pub doubtful: Counts,
    /// Whether there was anything that is asked for.
    pub selected: bool,
    /// What is known of the values of rows.
    pub checked: Checked,
    /// Requests of other levels than the one that totals are of, in no system.
    pub left_out: LeftOut,
    /// Rows in the times in which something was lost.
    pub during: During,
    /// Rows that stand for more than one event.
    pub sampled: Sampled,
    /// What happened when, if that was asked for.
    pub timeline: Vec<timeline::Finished>,
    /// How long a window of it is.
    pub window_ns: i64,
    /// How large operations are, if that was asked for.
    pub sizes: Vec<sizes::Finished>,
    /// Where operations are in time, duration and place, if that was asked for.
    pub heatmap: heatmap::Finished,
    /// Which blocks are touched, if that was asked for.
    pub footprint: Footprint,
    /// Operations one by one, if that was asked for.
    pub spans: spans::Finished,
    /// What depends on the order of operations, if that was asked for.
    pub order: sequence::Finished,
    /// All rows, those in no system included.
    pub rows: u64,
}

/// What the rows of all systems come to, in order of their names.
#[derive(Debug)]
pub struct Systems {
    names: List,
    all: Vec<System>,
    order: Vec<u32>,
    lost: LostByLayer,
}

/// What the rows of one system come to.
#[derive(Debug, Clone, Copy)]
pub struct FinishedSystem<'a> {
    /// The system's name.
    pub name: &'a str,
    system: &'a System,
    lost: &'a LostByLayer,
}

impl FinishedSystem<'_> {
    /// Operations and bytes.
    pub fn counts(&self) -> Counts {
        self.system.counts.get()
    }

    /// How many operations.
    pub fn ops(&self) -> u64 {
        self.system.counts.ops()
    }

    /// Bytes from the application to the device.
    pub fn flows(&self) -> Flows {
        self.system.flows.get()
    }

    /// Distributions of durations.
    pub fn latency(&self) -> Distributions {
        self.system.latency.distributions(self.lost)
    }
}

impl Systems {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The one at this place in order.
    pub fn at(&self, place: usize) -> FinishedSystem<'_> {
        let slot = self.order[place];
        FinishedSystem { name: self.names.get(slot), system: &self.all[slot as usize], lost: &self.lost }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = FinishedSystem<'_>> {
        (0..self.len()).map(|place| self.at(place))
    }

    /// The system of this name.
    pub fn called(&self, name: &str) -> Option<FinishedSystem<'_>> {
        let at = self.order.binary_search_by(|slot| self.names.get(*slot).cmp(name)).ok()?;
        Some(self.at(at))
    }

    /// The places of those that did most operations, at most so many, in order.
    pub fn busiest(&self, most: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.len()).collect();
        if places.len() > most {
            places.sort_by_cached_key(|place| std::cmp::Reverse(self.at(*place).ops()));
            places.truncate(most);
            places.sort_unstable();
        }
        places
    }
}

impl Partial {
    /// The slot of the system called `name`, for [`Partial::system`].
    pub fn slot(&mut self, name: &str) -> u32 {
        let slot = self.slots.number(name);
        if slot as usize >= self.systems.len() {
            self.systems.push(System::default());
        }
        slot
    }

    /// Whether it can be added to others: one from a file may claim anything.
    pub fn is_sound(&self) -> bool {
        self.slots.list().len() == self.systems.len()
            && self.timeline.as_ref().is_none_or(Timeline::is_sound)
            && self.sizes.as_ref().is_none_or(Sizes::is_sound)
            && self.heatmap.as_ref().is_none_or(Heatmap::is_sound)
            && self.footprint.as_ref().is_none_or(Footprint::is_sound)
    }

    /// The names of systems by slot.
    pub fn names(&self) -> Vec<&str> {
        self.slots.list().iter().collect()
    }

    /// The system in `slot`, which [`Partial::slot`] of this partial returned.
    pub fn system(&mut self, slot: u32) -> &mut System {
        &mut self.systems[slot as usize]
    }

    /// All of them together: the first is taken as it is.
    pub fn sum(partials: impl IntoIterator<Item = Partial>) -> Partial {
        let add = |mut sum: Partial, partial| {
            sum.combine(partial);
            sum
        };
        partials.into_iter().reduce(add).unwrap_or_default()
    }

    /// Adds the rows that `other` has seen.
    pub fn combine(&mut self, other: Partial) {
        let mut slots = Vec::with_capacity(other.systems.len());
        for (name, system) in other.slots.list().iter().zip(other.systems) {
            let mine = self.slot(name);
            self.system(mine).combine(system);
            slots.push(mine);
        }
        drop(other.slots);
        let places = self.entities.combine(other.entities);
        self.memory.combine(&other.memory);
        self.served.combine(&other.served);
        self.served_flows.combine(&other.served_flows);
        self.doubtful.combine(&other.doubtful);
        self.selected |= other.selected;
        self.checked.combine(other.checked);
        self.left_out.combine(other.left_out);
        self.during.combine(other.during);
        self.sampled.combine(other.sampled);
        combine(&mut self.timeline, other.timeline, Timeline::combine);
        combine(&mut self.sizes, other.sizes, Sizes::combine);
        combine(&mut self.heatmap, other.heatmap, Heatmap::combine);
        combine(&mut self.footprint, other.footprint, Footprint::combine);
        match (&mut self.spans, other.spans) {
            (Some(mine), Some(theirs)) => mine.combine(theirs, &slots, &places),
            (None, Some(theirs)) => {
                let mut mine = theirs.emptied();
                mine.combine(theirs, &slots, &places);
                self.spans = Some(mine);
            }
            (_, None) => {}
        }
        self.rows = self.rows.saturating_add(other.rows);
    }

    /// The result, when `lost` is not in it; `order` is of the same rows.
    pub fn finish(mut self, lost: &LostByLayer, order: sequence::Finished) -> Finished {
        let spans = self.spans.take().map(|spans| {
            let by_slot = self.names().into_iter().map(str::to_owned).collect();
            spans.finish(&self.entities, by_slot)
        });
        let spans = spans.unwrap_or_default();
        let mut total = Counts::default();
        let mut total_flows = Flows::default();
        let (names, mut all) = (self.slots.into_list(), self.systems);
        for System { counts, latency, flows } in &mut all {
            total.combine(&counts.get());
            total_flows.combine(&flows.get());
            latency.finish(lost);
        }
        let mut by_name: Vec<u32> = (0..u32::try_from(all.len()).unwrap_or(u32::MAX)).collect();
        by_name.sort_unstable_by(|one, other| names.get(*one).cmp(names.get(*other)));
        let systems = Systems { names, all, order: by_name, lost: *lost };
        total.take_off(&self.served);
        total_flows.take_off(&self.served_flows);
        let Partial {
            memory,
            served,
            served_flows,
            doubtful,
            selected,
            checked,
            left_out,
            during,
            sampled,
            rows,
            mut entities,
            timeline,
            sizes,
            heatmap,
            footprint,
            ..
        } = self;
        let active = entities.finish_active();
        let entities = entities.finish();
        let sizes = sizes.map(|sizes| sizes.finish(lost)).unwrap_or_default();
        let window_ns = timeline.as_ref().map_or(0, Timeline::width_ns);
        let timeline = timeline.map(Timeline::finish).unwrap_or_default();
        Finished {
            systems,
            total,
            total_flows,
            served,
            served_flows,
            entities,
            active,
            memory,
            doubtful,
            selected,
            checked,
            left_out,
            during,
            sampled,
            timeline,
            window_ns,
            sizes,
            heatmap: heatmap.map(Heatmap::finish).unwrap_or_default(),
            footprint: footprint.unwrap_or_default(),
            spans,
            order,
            rows,
        }
    }
}

/// Adds to what may not have been asked for.
fn combine<T>(mine: &mut Option<T>, theirs: Option<T>, combine: fn(&mut T, T)) {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => combine(mine, theirs),
        (mine @ None, theirs) => *mine = theirs,
        (Some(_), None) => {}
    }
}

#[cfg(test)]
mod tests;
