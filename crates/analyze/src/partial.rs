//! Partial results: everything that a scan keeps of some rows. Partial results merge in any order to the same result.

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
use crate::loss::during::During;
use crate::stacking::ExcludedRequests;
use crate::texts::{List, Names};
use crate::valid::Checked;

/// Aggregates of one system. There may be as many systems as processes. A new aggregate is a field here, and a line in each of the methods below.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct System {
    /// Operations and bytes.
    pub counts: KeptCounts,
    /// Latency.
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

/// Rows that represent more than one event each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    /// Number of such rows.
    pub rows: u64,
    /// Maximum weight of these rows; 0 if there are none.
    pub greatest: u64,
}

impl Sampled {
    /// Adds a row that represents `weight` events.
    pub fn add(&mut self, weight: u64) {
        self.combine(Sampled { rows: 1, greatest: weight });
    }

    fn combine(&mut self, other: Sampled) {
        self.rows = self.rows.saturating_add(other.rows);
        self.greatest = self.greatest.max(other.greatest);
    }
}

/// Sums and aggregates of some rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Partial {
    slots: Names,
    systems: Vec<System>,
    /// Bytes by process, cgroup, file and device.
    pub entities: Entities,
    /// I/O on files in memory. It is in no system because it reaches no device.
    pub memory: Counts,
    /// Operations of the systems that serve calls that are counted too; in no total.
    pub served: Counts,
    /// Bytes of these operations.
    pub served_flows: Flows,
    /// Unattributed operations that may match the filters; in no system.
    pub doubtful: Counts,
    /// Whether any row matched the filters.
    pub selected: bool,
    /// Checks of the values of rows.
    pub checked: Checked,
    /// Requests of other levels than that of the totals; in no system.
    pub left_out: ExcludedRequests,
    /// Rows per loss window.
    pub during: During,
    /// Rows that represent more than one event.
    pub sampled: Sampled,
    /// Aggregates by time window, if requested.
    pub timeline: Option<Timeline>,
    /// Operation sizes, if requested.
    pub sizes: Option<Sizes>,
    /// Operations by time, latency and offset, if requested.
    pub heatmap: Option<Heatmap>,
    /// Touched blocks, if requested.
    pub footprint: Option<Footprint>,
    /// Individual operations, if requested.
    #[serde(skip)]
    pub spans: Option<Spans>,
    /// Number of rows, including those in no system.
    pub rows: u64,
}

/// Result of all rows.
#[derive(Debug)]
pub struct Finished {
    /// Results by system.
    pub systems: Systems,
    /// All systems together, except operations that serve calls of others.
    pub total: Counts,
    /// Bytes of all systems together, except operations that serve calls of others.
    pub total_flows: Flows,
    /// Operations of the systems that serve calls of others.
    pub served: Counts,
    /// Bytes of these operations.
    pub served_flows: Flows,
    /// Bytes by process, cgroup, file and device, in order.
    pub entities: entity::Finished,
    /// Activity of each of these, in order, if requested.
    pub active: Vec<(Entity, Activity)>,
    /// I/O on files in memory, in no system.
    pub memory: Counts,
    /// Unattributed operations that may match the filters; in no system.
    pub doubtful: Counts,
    /// Whether any row matched the filters.
    pub selected: bool,
    /// Checks of the values of rows.
    pub checked: Checked,
    /// Requests of other levels than that of the totals; in no system.
    pub left_out: ExcludedRequests,
    /// Rows per loss window.
    pub during: During,
    /// Rows that represent more than one event.
    pub sampled: Sampled,
    /// Aggregates by time window, if requested.
    pub timeline: Vec<timeline::Finished>,
    /// Length of a time window.
    pub window_ns: i64,
    /// Operation sizes, if requested.
    pub sizes: Vec<sizes::Finished>,
    /// Operations by time, latency and offset, if requested.
    pub heatmap: heatmap::Finished,
    /// Touched blocks, if requested.
    pub footprint: Footprint,
    /// Individual operations, if requested.
    pub spans: spans::Finished,
    /// Results that depend on the order of operations, if requested.
    pub order: sequence::Finished,
    /// Number of rows, including those in no system.
    pub rows: u64,
}

/// Results of all systems, in order of their names.
#[derive(Debug)]
pub struct Systems {
    names: List,
    all: Vec<System>,
    order: Vec<u32>,
    lost: LostByLayer,
}

/// Result of one system.
#[derive(Debug, Clone, Copy)]
pub struct FinishedSystem<'a> {
    /// Name of the system.
    pub name: &'a str,
    system: &'a System,
    lost: &'a LostByLayer,
}

impl FinishedSystem<'_> {
    /// Returns operations and bytes.
    pub fn counts(&self) -> Counts {
        self.system.counts.get()
    }

    /// Number of operations.
    pub fn ops(&self) -> u64 {
        self.system.counts.ops()
    }

    /// Returns bytes from the application to the device.
    pub fn flows(&self) -> Flows {
        self.system.flows.get()
    }

    /// Returns latency distributions.
    pub fn latency(&self) -> Distributions {
        self.system.latency.distributions(self.lost)
    }
}

impl Systems {
    /// Number of systems.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is no system.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns the system at this position in the order.
    pub fn at(&self, place: usize) -> FinishedSystem<'_> {
        let slot = self.order[place];
        FinishedSystem { name: self.names.get(slot), system: &self.all[slot as usize], lost: &self.lost }
    }

    /// Iterates over all systems, by name.
    pub fn iter(&self) -> impl Iterator<Item = FinishedSystem<'_>> {
        (0..self.len()).map(|place| self.at(place))
    }

    /// Returns the system with this name.
    pub fn called(&self, name: &str) -> Option<FinishedSystem<'_>> {
        let at = self.order.binary_search_by(|slot| self.names.get(*slot).cmp(name)).ok()?;
        Some(self.at(at))
    }

    /// Returns the positions of the systems with the most operations, at most `most`, in order.
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
    /// Returns the slot of the system `name`, for [`Partial::system`].
    pub fn slot(&mut self, name: &str) -> u32 {
        let slot = self.slots.number(name);
        if slot as usize >= self.systems.len() {
            self.systems.push(System::default());
        }
        slot
    }

    /// Whether it is consistent and can be merged: a file may have any content.
    pub fn is_sound(&self) -> bool {
        self.slots.list().len() == self.systems.len()
            && self.timeline.as_ref().is_none_or(Timeline::is_sound)
            && self.sizes.as_ref().is_none_or(Sizes::is_sound)
            && self.heatmap.as_ref().is_none_or(Heatmap::is_sound)
            && self.footprint.as_ref().is_none_or(Footprint::is_sound)
    }

    /// Returns the names of systems by slot.
    pub fn names(&self) -> Vec<&str> {
        self.slots.list().iter().collect()
    }

    /// Returns the system in `slot`, which [`Partial::slot`] of this partial result returned.
    pub fn system(&mut self, slot: u32) -> &mut System {
        &mut self.systems[slot as usize]
    }

    /// Merges all of them into the first.
    pub fn sum(partials: impl IntoIterator<Item = Partial>) -> Partial {
        let add = |mut sum: Partial, partial| {
            sum.combine(partial);
            sum
        };
        partials.into_iter().reduce(add).unwrap_or_default()
    }

    /// Merges the rows of `other`.
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

    /// Returns the result, which lacks the events in `lost`; `order` must be from the same rows.
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

/// Merges optional aggregates.
fn combine<T>(mine: &mut Option<T>, theirs: Option<T>, combine: fn(&mut T, T)) {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => combine(mine, theirs),
        (mine @ None, theirs) => *mine = theirs,
        (Some(_), None) => {}
    }
}

#[cfg(test)]
mod tests;
