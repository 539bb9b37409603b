//! What rows move, added up by whose it is before it is counted for a system, a process, a cgroup, a file and a disk: an addition for
//! each row, in place of five.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use iostrata_capture::op::{Direction, Evidence, IoClass};

use crate::aggregate::count::DIRECTIONS;
use crate::aggregate::flow::{Path, Step};
use crate::entity::Places;
use crate::partial::Partial;

/// Those whose bytes are added up together, in the [`Ledger`] that told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group(u32);

/// Steps, in either direction.
const WAYS: usize = DIRECTIONS.len() * STEPS;
const STEPS: usize = Path::ALL.len() + 2 + IoClass::ALL.len() * Evidence::ALL.len();

/// Which of [`WAYS`] a step is.
#[inline]
const fn way(direction: Direction, step: Step) -> usize {
    const CACHE: usize = Path::ALL.len();
    const DEVICE: usize = CACHE + 2;
    let step = match step {
        Step::Application(path) => path as usize,
        Step::Cache { mapped } => CACHE + mapped as usize,
        Step::Device(class, evidence) => DEVICE + class as usize * Evidence::ALL.len() + evidence as usize,
    };
    direction as usize * STEPS + step
}

/// Every step in either direction, with its number.
fn ways() -> impl Iterator<Item = (usize, Direction, Step)> {
    let applications = Path::ALL.iter().map(|path| Step::Application(*path));
    let caches = [false, true].map(|mapped| Step::Cache { mapped });
    let devices =
        IoClass::ALL.iter().flat_map(|class| Evidence::ALL.iter().map(|evidence| Step::Device(*class, *evidence)));
    let steps: Vec<Step> = applications.chain(caches).chain(devices).collect();
    DIRECTIONS
        .into_iter()
        .flat_map(move |direction| steps.clone().into_iter().map(move |step| (way(direction, step), direction, step)))
}

/// Bytes by group and step.
pub struct Ledger {
    groups: Vec<(usize, Places)>,
    known: HashMap<(usize, Places), Group, RandomState>,
    /// By way and then by group: few ways are ever taken.
    sums: [Vec<u64>; WAYS],
}

impl Ledger {
    /// Nothing yet.
    pub fn new() -> Self {
        Ledger { groups: Vec::new(), known: HashMap::default(), sums: [const { Vec::new() }; WAYS] }
    }

    /// Those who are in the system in `slot` and at `places`.
    pub fn group(&mut self, slot: usize, places: Places) -> Group {
        let groups = &mut self.groups;
        *self.known.entry((slot, places)).or_insert_with(|| {
            groups.push((slot, places));
            // A table of four billion is beyond any memory.
            Group(u32::try_from(groups.len() - 1).unwrap_or(u32::MAX))
        })
    }

    /// Adds bytes of a row.
    #[inline]
    pub fn add(&mut self, Group(group): Group, direction: Direction, step: Step, bytes: u64) {
        let sums = &mut self.sums[way(direction, step)];
        if sums.len() <= group as usize {
            sums.resize(self.groups.len(), 0);
        }
        let sum = &mut sums[group as usize];
        *sum = sum.saturating_add(bytes);
    }

    /// Counts all of it for whose it is.
    pub fn settle(self, partial: &mut Partial) {
        for (way, direction, step) in ways() {
            for (bytes, (slot, places)) in self.sums[way].iter().zip(&self.groups).filter(|(bytes, _)| **bytes > 0) {
                partial.system(*slot).flows.add(direction, step, *bytes);
                partial.entities.add(*places, (direction, step, *bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_place_of_its_own() {
        let all: Vec<usize> = ways().map(|(way, ..)| way).collect();
        assert_eq!(all, (0..WAYS).collect::<Vec<_>>());
    }
}
