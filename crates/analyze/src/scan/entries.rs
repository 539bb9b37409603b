//! Entries of a chunk of rows, as aggregates see them.

use iostrata_capture::op::{Direction, Layer, Op};

use super::accumulators::{AccumulatorId, Accumulators, NO_SLOT};
use super::chunk::{Chunk, KeyedRow, OpAmounts};
use crate::entity::{CaptureNumber, Entities, Places};
use crate::event::{Phase, UNKNOWN};

/// Selected entries of a chunk. A row has one entry, or several for bytes with different owners.
pub struct Entries<'a> {
    /// Layer.
    pub layer: Layer,
    /// Number of the capture.
    pub capture: CaptureNumber,
    /// Entities by index.
    pub entities: &'a Entities,
    pub(super) chunk: &'a Chunk,
    pub(super) accounts: &'a Accumulators,
}

/// Entry of a row.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Begin.
    pub ts_ns: i64,
    /// Operation.
    pub op: Op,
    /// Direction in the counts of its layer.
    pub direction: Option<Direction>,
    /// Number of operations that the row represents; 0 if it has bytes of an operation that is counted elsewhere.
    pub ops: u32,
    /// Bytes of all these operations that belong to its owner.
    pub bytes: u64,
    /// Bytes of one whole operation, including those of other owners.
    pub size: u64,
    /// Offset in the file or on the disk in bytes, if needed and known.
    pub position: Option<i64>,
    /// Number of bios of a request, if needed.
    pub bios: u32,
    /// Duration in ns, if known.
    pub total_ns: Option<u64>,
    asked: &'a KeyedRow,
    account: AccumulatorId,
    index: usize,
}

impl Entry<'_> {
    /// Returns the slot of its system.
    pub fn slot(&self) -> u32 {
        self.account.slot
    }

    /// Returns its disk, if the row has it.
    pub fn disk(&self) -> Option<i32> {
        self.asked.key.told().disk.is()
    }
}

impl<'a> Entries<'a> {
    /// Iterates over the entries in a system.
    #[inline]
    pub fn each(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let total_ns = &self.chunk.durations[Phase::Total as usize];
        let rows = self.chunk.accounts.iter().zip(&self.chunk.asked).zip(&self.chunk.done).zip(total_ns).enumerate();
        rows.filter(|(_, (((account, _), _), _))| account.slot != NO_SLOT).map(
            |(index, (((account, asked), done), ns))| {
                let OpAmounts { bytes, ops, op, direction, bios, size, position } = *done;
                let total_ns = Some(*ns).filter(|ns| *ns != UNKNOWN);
                let ts_ns = asked.ts_ns;
                Entry {
                    ts_ns,
                    op,
                    direction,
                    ops,
                    bytes,
                    size,
                    position,
                    bios,
                    total_ns,
                    asked,
                    account: *account,
                    index,
                }
            },
        )
    }

    /// Iterates over the same without operations that serve calls of others: those calls count.
    #[inline]
    pub fn each_once(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        self.each().filter(|entry| !entry.account.serves)
    }

    /// Returns the entities that an entry counts for.
    #[inline]
    pub fn places(&self, entry: &Entry) -> Option<Places> {
        self.accounts.places(entry.account)
    }

    /// Returns the duration of a phase of an entry in ns, if known.
    pub fn phase_ns(&self, entry: &Entry, phase: Phase) -> Option<u64> {
        self.chunk.durations[phase as usize].get(entry.index).copied().filter(|ns| *ns != UNKNOWN)
    }
}
