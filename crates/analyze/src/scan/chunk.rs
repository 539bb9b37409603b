//! Chunks of rows in columns. Each step of their processing is a short loop over one or two columns, in which the CPU can wait for the
//! memory of several rows at once.

use iostrata_capture::op::{Direction, Layer, Op};

use super::accumulators::AccumulatorId;
use super::attribution::{AttributionKey, RowAttribution};
use crate::event::{Durations, PHASES, Phase, UNKNOWN};
use crate::valid::Checked;

/// Maximum number of rows in a chunk: their columns fit into the CPU's cache.
pub const CHUNK_ROWS: usize = 1_024;

/// Attribution key of an entry, with the fields for the lookup of its accumulator.
pub struct KeyedRow {
    /// Attribution key.
    pub key: AttributionKey,
    /// Begin.
    pub ts_ns: i64,
    /// Number of the row in its batch.
    pub row: u32,
}

/// Operation of an entry, and its amounts.
#[derive(Clone, Copy)]
pub struct OpAmounts {
    /// Bytes of all operations that the row represents.
    pub bytes: u64,
    /// Number of operations that the row represents; 0 if it has bytes of an operation that is counted elsewhere.
    pub ops: u32,
    /// Operation.
    pub op: Op,
    /// Direction in the counts of its layer.
    pub direction: Option<Direction>,
    /// Number of bios of a request, if needed.
    pub bios: u32,
    /// Bytes of one whole operation, including those of other owners.
    pub size: u64,
    /// Offset in the file or on the disk in bytes, if needed and known.
    pub position: Option<i64>,
}

impl OpAmounts {
    /// Creates an entry for bytes of an operation that is counted elsewhere.
    pub fn part(bytes: u64, op: Op, direction: Option<Direction>) -> OpAmounts {
        OpAmounts { bytes, ops: 0, op, direction, bios: 0, size: 0, position: None }
    }
}

/// Entries of one layer. A row has one or several.
#[derive(Default)]
pub struct Chunk {
    /// Attribution key of each entry.
    pub asked: Vec<KeyedRow>,
    /// Operation of each entry.
    pub done: Vec<OpAmounts>,
    /// Durations by phase; empty for phases that no operation of the layer has.
    pub durations: [Vec<u64>; PHASES],
    /// Accumulator of each entry.
    pub accounts: Vec<AccumulatorId>,
}

impl Chunk {
    /// Adds an entry of row `row` of `layer`, which began at `ts_ns`.
    #[inline]
    pub fn push(
        &mut self,
        layer: Layer,
        (row, ts_ns): (usize, i64),
        told: &RowAttribution,
        done: OpAmounts,
        durations: &Durations,
    ) {
        // A batch has thousands of rows, so the number fits.
        self.asked.push(KeyedRow { key: AttributionKey::of(told), ts_ns, row: row as u32 });
        self.done.push(done);
        for phase in Phase::of(layer) {
            self.durations[*phase as usize].push(durations[*phase as usize]);
        }
    }

    /// Adds the bytes and durations of the entries to `checked`: an upper bound for every sum in the results.
    pub fn check(&self, layer: Layer, checked: &mut Checked) {
        for OpAmounts { bytes, ops, size, bios, .. } in &self.done {
            // Sums of sizes and of bios count whole operations, sums of bytes only the owned part.
            let whole = u64::from(*ops).saturating_mul((*size).max(u64::from(*bios)));
            checked.all_bytes = checked.all_bytes.saturating_add(u128::from(whole.max(*bytes)));
        }
        for (row, OpAmounts { ops, .. }) in self.done.iter().enumerate() {
            let known = Phase::of(layer).iter().filter_map(|phase| self.durations[*phase as usize].get(row));
            let longest = known.filter(|ns| **ns != UNKNOWN).max().copied().unwrap_or(0);
            checked.all_ns = checked.all_ns.saturating_add(u128::from(longest) * u128::from(*ops));
        }
    }

    /// Clears the chunk.
    pub fn clear(&mut self) {
        let Chunk { asked, done, durations, accounts } = self;
        asked.clear();
        done.clear();
        durations.iter_mut().for_each(Vec::clear);
        accounts.clear();
    }
}
