//! Rows on their way into a partial, as columns: what is done to each of them is a short loop over one or two columns, in which the
//! CPU can wait for the memory of several rows at once.

use iostrata_capture::op::{Direction, Layer, Op};

use super::accounts::AccountId;
use super::told::{Key, Told};
use crate::event::{Durations, PHASES, Phase, UNKNOWN};
use crate::valid::Checked;

/// How many rows of a batch are taken at once: their columns fit into the CPU's cache.
pub const CHUNK_ROWS: usize = 1_024;

/// Whose something is, for those who look for its account.
pub struct Asked {
    /// What does not change from one row of an account to the next.
    pub key: Key,
    /// When it began.
    pub ts_ns: i64,
    /// The number of the row in its batch.
    pub row: u32,
}

/// What was done.
#[derive(Clone, Copy)]
pub struct Done {
    /// Bytes of all operations that the row stands for.
    pub bytes: u64,
    /// For how many operations it stands: none, where it tells bytes of one that is counted elsewhere.
    pub ops: u32,
    /// Which operation.
    pub op: Op,
    /// Which way it counts in its layer's reads and writes.
    pub direction: Option<Direction>,
    /// Of how many bios a request was made, where that is looked at.
    pub bios: u32,
    /// Bytes of one operation as a whole, whoever owns parts of it.
    pub size: u64,
    /// Where in the file or on the disk it begins, in bytes, where that is looked at and known.
    pub position: Option<i64>,
}

impl Done {
    /// Bytes of an operation that is counted elsewhere.
    pub fn part(bytes: u64, op: Op, direction: Option<Direction>) -> Done {
        Done { bytes, ops: 0, op, direction, bios: 0, size: 0, position: None }
    }
}

/// Entries of one layer: rows, or one of several things that a row tells.
#[derive(Default)]
pub struct Chunk {
    /// Whose each is.
    pub asked: Vec<Asked>,
    /// What each is.
    pub done: Vec<Done>,
    /// How long it took, by phase; phases that no operation of the layer has are empty.
    pub durations: [Vec<u64>; PHASES],
    /// Where each is counted.
    pub accounts: Vec<AccountId>,
}

impl Chunk {
    /// Adds an entry of row `row` of `layer`, which began at `ts_ns`.
    #[inline]
    pub fn push(&mut self, layer: Layer, (row, ts_ns): (usize, i64), told: &Told, done: Done, durations: &Durations) {
        // A batch has thousands of rows.
        self.asked.push(Asked { key: Key::of(told), ts_ns, row: row as u32 });
        self.done.push(done);
        for phase in Phase::of(layer) {
            self.durations[*phase as usize].push(durations[*phase as usize]);
        }
    }

    /// Adds up what the entries have of bytes and of time: an upper bound for every sum in the results.
    pub fn check(&self, layer: Layer, checked: &mut Checked) {
        for Done { bytes, ops, size, bios, .. } in &self.done {
            // Sums of sizes and of bios are of whole operations, those of bytes of what is whose.
            let whole = u64::from(*ops).saturating_mul((*size).max(u64::from(*bios)));
            checked.all_bytes = checked.all_bytes.saturating_add(u128::from(whole.max(*bytes)));
        }
        for (row, Done { ops, .. }) in self.done.iter().enumerate() {
            let known = Phase::of(layer).iter().filter_map(|phase| self.durations[*phase as usize].get(row));
            let longest = known.filter(|ns| **ns != UNKNOWN).max().copied().unwrap_or(0);
            checked.all_ns = checked.all_ns.saturating_add(u128::from(longest) * u128::from(*ops));
        }
    }

    /// Makes it empty.
    pub fn clear(&mut self) {
        let Chunk { asked, done, durations, accounts } = self;
        asked.clear();
        done.clear();
        durations.iter_mut().for_each(Vec::clear);
        accounts.clear();
    }
}
