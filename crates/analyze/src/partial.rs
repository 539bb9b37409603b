//! A partial: everything that a scan keeps of some rows. Partials merge in any order to the same result.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::aggregate::LostByLayer;
use crate::aggregate::activity::Activity;
use crate::aggregate::count::Counts;
use crate::aggregate::flow::Flows;
use crate::aggregate::footprint::Footprint;
use crate::aggregate::heatmap::{self, Heatmap};
use crate::aggregate::latency::{Distributions, Latencies};
use crate::aggregate::sequence;
use crate::aggregate::sizes::{self, Sizes};
use crate::aggregate::spans::{self, Spans};
use crate::aggregate::timeline::{self, Timeline};
use crate::entity::{Entities, Entity};
use crate::event::Anomalies;
use crate::levels::LeftOut;
use crate::loss::during::During;

/// The aggregates of one system. A new aggregate is a field here, and a line in each of the verbs below.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct System {
    /// Operations and bytes.
    pub counts: Counts,
    /// Durations.
    pub latency: Latencies,
    /// Bytes from the application to the device.
    pub flows: Flows,
}

impl System {
    fn empty() -> Self {
        System { counts: Counts::default(), latency: Latencies::empty(), flows: Flows::default() }
    }

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
    slots: HashMap<String, u32, RandomState>,
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
    /// Values that could not be used.
    pub anomalies: Anomalies,
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
    pub systems: Vec<FinishedSystem>,
    /// All systems together, but for what serves calls of others.
    pub total: Counts,
    /// Bytes of all systems together, but for what serves calls of others.
    pub total_flows: Flows,
    /// What of the systems serves calls of others.
    pub served: Counts,
    /// Bytes of that.
    pub served_flows: Flows,
    /// Bytes by process, cgroup, file and device, in order.
    pub entities: Vec<(Entity, Flows)>,
    /// What each of these did, in order, if that was asked for.
    pub active: Vec<(Entity, Activity)>,
    /// I/O on files in memory, in no system.
    pub memory: Counts,
    /// What may be asked for, and is in no system because nobody knows whose it is.
    pub doubtful: Counts,
    /// Whether there was anything that is asked for.
    pub selected: bool,
    /// Values that could not be used.
    pub anomalies: Anomalies,
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

/// What the rows of one system come to.
#[derive(Debug)]
pub struct FinishedSystem {
    /// The system's name.
    pub name: String,
    /// Operations and bytes.
    pub counts: Counts,
    /// Bytes from the application to the device.
    pub flows: Flows,
    /// Distributions of durations.
    pub latency: Distributions,
}

impl Partial {
    /// The slot of the system called `name`, for [`Partial::system`].
    pub fn slot(&mut self, name: &str) -> u32 {
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        // As many systems are beyond any memory.
        let slot = u32::try_from(self.systems.len()).unwrap_or(u32::MAX);
        self.systems.push(System::empty());
        self.slots.insert(name.to_owned(), slot);
        slot
    }

    /// Whether it can be added to others: one from a file may claim anything.
    pub fn is_sound(&self) -> bool {
        self.slots.len() == self.systems.len()
            && self.slots.values().all(|slot| (*slot as usize) < self.systems.len())
            && self.timeline.as_ref().is_none_or(Timeline::is_sound)
            && self.sizes.as_ref().is_none_or(Sizes::is_sound)
            && self.heatmap.as_ref().is_none_or(Heatmap::is_sound)
            && self.footprint.as_ref().is_none_or(Footprint::is_sound)
    }

    /// The names of systems by slot.
    pub fn names(&self) -> Vec<&str> {
        let mut names = vec![""; self.systems.len()];
        self.slots.iter().for_each(|(name, slot)| names[*slot as usize] = name);
        names
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
        let mut theirs: Vec<Option<System>> = other.systems.into_iter().map(Some).collect();
        let mut slots = vec![u32::MAX; theirs.len()];
        for (name, slot) in other.slots {
            if let Some(system) = theirs[slot as usize].take() {
                let mine = self.slot(&name);
                self.system(mine).combine(system);
                slots[slot as usize] = mine;
            }
        }
        let places = self.entities.combine(other.entities);
        self.memory.combine(&other.memory);
        self.served.combine(&other.served);
        self.served_flows.combine(&other.served_flows);
        self.doubtful.combine(&other.doubtful);
        self.selected |= other.selected;
        self.anomalies.combine(other.anomalies);
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
        let mut theirs: Vec<Option<System>> = self.systems.into_iter().map(Some).collect();
        let mut systems = Vec::with_capacity(theirs.len());
        for (name, slot) in self.slots {
            if let Some(System { counts, latency, flows }) = theirs[slot as usize].take() {
                total.combine(&counts);
                total_flows.combine(&flows);
                systems.push(FinishedSystem { name, counts, flows, latency: latency.finish(lost) });
            }
        }
        systems.sort_by(|a, b| a.name.cmp(&b.name));
        total.take_off(&self.served);
        total_flows.take_off(&self.served_flows);
        let Partial {
            memory,
            served,
            served_flows,
            doubtful,
            selected,
            anomalies,
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
            anomalies,
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
