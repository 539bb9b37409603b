//! Partial results: everything that a scan keeps of some rows. Partial results merge in any order to the same result.

use serde::{Deserialize, Serialize};

use anyhow::Result;

use crate::aggregate::activity::Activity;
use crate::aggregate::any_order::{Aggregate, Context, Moved, States};
use crate::aggregate::count::{Counts, Kept as KeptCounts};
use crate::aggregate::flow::{Flows, Kept as KeptFlows};
use crate::aggregate::latency::{Distributions, Latencies};
use crate::aggregate::results::Results;
use crate::aggregate::sequence;
use crate::aggregate::{LostByLayer, Settings};
use crate::entity::{self, Entities, Entity};
use crate::loss::during::During;
use crate::stacking::ExcludedRequests;
use crate::texts::{List, Names};
use crate::valid::Checked;

/// Name of what every unit has, in the list of versions of a file: a [`Partial`] without its aggregates, lookups, and the latency breakdown of calls.
pub const ROWS: &str = "rows";

/// Version of that, as [`Aggregate::VERSION`].
pub const VERSION: u32 = 2;

/// Aggregates of one system. There may be as many systems as processes.
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
    /// Requested aggregates.
    pub aggregates: States,
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
    /// Results of the requested aggregates.
    pub results: Results,
    /// Results that depend on the order of operations, if requested.
    pub order: sequence::Finished,
    /// Number of rows, including those in no system.
    pub rows: u64,
}

impl Finished {
    /// Returns the result of an aggregate.
    ///
    /// # Errors
    /// If it was not requested.
    pub fn of<A: Aggregate>(&self) -> Result<&A::Finished> {
        self.results.of(A::NAME)
    }
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
        self.slots.list().len() == self.systems.len() && self.aggregates.is_sound()
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
        self.aggregates.combine(other.aggregates, &Moved { slots: &slots, places: &places });
        self.rows = self.rows.saturating_add(other.rows);
    }

    /// Returns the result, which lacks the events in `lost`; `order` must be from the same rows.
    pub fn finish(mut self, settings: &Settings, lost: &LostByLayer, order: sequence::Finished) -> Finished {
        let aggregates = std::mem::take(&mut self.aggregates);
        let context = Context { lost, entities: &self.entities, systems: &self.names() };
        let results = aggregates.finish(&settings.any_order, settings.precision, &context);
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
            ..
        } = self;
        let active = entities.finish_active();
        let entities = entities.finish();
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
            results,
            order,
            rows,
        }
    }
}

#[cfg(test)]
mod tests;
