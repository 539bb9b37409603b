//! Collection of durations for the distributions of systems.

use iostrata_capture::op::{Layer, Op};

use super::accumulators::NO_SLOT;
use super::chunk::{Chunk, OpAmounts};
use crate::aggregate::Precision;
use crate::aggregate::sample::Sample;
use crate::event::{PHASES, Phase, UNKNOWN};
use crate::partial::Partial;

/// Number of pairs of layer and operation.
const OPERATIONS: usize = Layer::ALL.len() * Op::ALL.len();

/// Index of no series.
const NONE: u32 = u32::MAX;

/// Number of systems with series. Durations of other systems are added to the partial result at once: there may be a million of these with one
/// operation each.
const SYSTEMS: u32 = 256;

/// Durations of one operation of a layer in one system.
struct Series {
    of: (u32, Layer, Op),
    phases: [Sample; PHASES],
}

/// Returns the duration of a phase of a row: `Some(None)` if the row has the phase and its duration is unknown, `None` if it does
/// not have the phase.
fn told(chunk: &Chunk, phase: Phase, row: usize) -> Option<Option<u64>> {
    let known = |phase: Phase| Some(chunk.durations[phase as usize][row]).filter(|ns| *ns != UNKNOWN);
    let ns = known(phase);
    // A request that was never inserted bypassed the scheduler, if its other times are known.
    (ns.is_some() || phase != Phase::Insert || known(Phase::Total).is_none()).then_some(ns)
}

/// Series of one partial result.
pub struct Durations {
    precision: Precision,
    series: Vec<Series>,
    /// Index of the series, by system and operation.
    by_operation: Vec<u32>,
    /// Index of the series of each row of a chunk.
    of_row: Vec<u32>,
}

impl Durations {
    /// Creates an empty collection.
    pub fn new(precision: Precision) -> Self {
        Durations { precision, series: Vec::new(), by_operation: Vec::new(), of_row: Vec::new() }
    }

    /// Adds the durations of a chunk of `layer`; those of systems without series go to `partial`.
    pub fn add(&mut self, layer: Layer, chunk: &Chunk, partial: &mut Partial) {
        let mut of_row = std::mem::take(&mut self.of_row);
        of_row.clear();
        of_row.extend(chunk.accounts.iter().zip(&chunk.done).map(|(account, OpAmounts { ops, op, .. })| {
            // A row that aggregates events has the duration of no single event.
            let is_timed = account.slot < SYSTEMS && *ops > 0 && !op.is_gathered();
            if is_timed { self.find(account.slot, layer, *op) } else { NONE }
        }));
        for phase in Phase::of(layer) {
            self.add_phase(*phase, chunk, &of_row);
        }
        self.of_row = of_row;
        self.add_others(layer, chunk, partial);
    }

    /// Adds the durations of systems without series.
    fn add_others(&self, layer: Layer, chunk: &Chunk, partial: &mut Partial) {
        let rows = chunk.accounts.iter().zip(&chunk.done).enumerate();
        let others = rows.filter(|(_, (account, done))| {
            account.slot >= SYSTEMS && account.slot != NO_SLOT && done.ops > 0 && !done.op.is_gathered()
        });
        for (row, (account, OpAmounts { ops, op, .. })) in others {
            for phase in Phase::of(layer) {
                let latency = &mut partial.system(account.slot).latency;
                let add = |ns| latency.update((layer, *op, *phase), ns, u64::from(*ops), self.precision);
                told(chunk, *phase, row).into_iter().for_each(add);
            }
        }
    }

    fn add_phase(&mut self, phase: Phase, chunk: &Chunk, of_row: &[u32]) {
        let durations = of_row.iter().zip(&chunk.durations[phase as usize]).zip(&chunk.done);
        for (row, ((series, ns), OpAmounts { ops, .. })) in durations.enumerate() {
            let Some(series) = self.series.get_mut(*series as usize) else { continue };
            let sample = &mut series.phases[phase as usize];
            if *ns != UNKNOWN {
                sample.update(*ns, u64::from(*ops));
            } else if told(chunk, phase, row).is_some() {
                sample.update_untimed(u64::from(*ops));
            }
        }
    }

    #[inline]
    fn find(&mut self, slot: u32, layer: Layer, op: Op) -> u32 {
        let place = slot as usize * OPERATIONS + layer as usize * Op::ALL.len() + op as usize;
        match self.by_operation.get(place) {
            Some(series) if *series != NONE => *series,
            _ => self.begin(place, (slot, layer, op)),
        }
    }

    fn begin(&mut self, place: usize, of: (u32, Layer, Op)) -> u32 {
        if self.by_operation.len() <= place {
            self.by_operation.resize(place + 1, NONE);
        }
        let phases = std::array::from_fn(|_| Sample::empty(self.precision));
        self.series.push(Series { of, phases });
        self.by_operation[place] = u32::try_from(self.series.len() - 1).unwrap_or(NONE);
        self.by_operation[place]
    }

    /// Adds all series to the systems of `partial`.
    pub fn close(self, partial: &mut Partial) {
        for Series { of: (slot, layer, op), phases } in self.series {
            for (phase, sample) in Phase::ALL.iter().zip(phases) {
                partial.system(slot).latency.add((layer, op, *phase), Box::new(sample));
            }
        }
    }
}
