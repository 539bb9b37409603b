//! Rows of the next batches: what a record becomes, and what is counted of it.

use std::sync::Arc;

use iostrata_capture::ledger::Amounts;
use iostrata_capture::op::Op;
use iostrata_capture::{ByTable, TableId};

use crate::books::EventCounts;
use crate::classes::Builders;
use crate::decode::Decoder;
use crate::device_filter::DeviceFilter;
use crate::levels::Levels;
use crate::losses::{Cause, Losses};

/// Rows per batch: large enough for a negligible cost per batch, small enough that few rows wait in memory.
const BATCH_ROWS: usize = 8_192;

/// Limit of text bytes per batch. Names and command lines of up to some kilobytes would make a batch of [`BATCH_ROWS`] tens of megabytes.
const BATCH_TEXT_BYTES: usize = 512 << 10;

/// Filters that are applied, and counted, in user space.
pub struct Filtering {
    /// Filter by file system; none without a device filter.
    pub devices: Option<DeviceFilter>,
    /// Whether the filter is by owner. Unattributed rows do not match it then.
    pub by_owner: bool,
    /// Start of the recording, by the monotonic clock.
    pub opened_ns: u64,
}

/// Rows that wait for their batch, and what converts and counts them.
pub struct Intake {
    /// Converts records.
    pub decoder: Decoder,
    /// Filters in user space.
    pub filtering: Filtering,
    /// Number of rows that match the filters.
    pub selected: u64,
    /// Stacking depths of disks.
    pub levels: Levels,
    /// Rows by table.
    pub builders: Builders,
    /// Events of these rows.
    pub waiting: ByTable<EventCounts>,
    /// Losses after the rings.
    pub losses: Arc<Losses>,
    /// I/O of requests that were queued before the recording began.
    pub earlier: Amounts,
}

impl Intake {
    /// Creates an empty one.
    pub fn new(decoder: Decoder, filtering: Filtering, levels: Levels, losses: Arc<Losses>) -> Intake {
        Intake {
            decoder,
            filtering,
            selected: 0,
            levels,
            builders: Builders::default(),
            waiting: ByTable::default(),
            losses,
            earlier: Amounts::default(),
        }
    }

    /// Whether the rows of `table` make a batch.
    pub fn is_full(&self, table: TableId) -> bool {
        self.builders.rows(table) >= BATCH_ROWS || self.builders.text_bytes(table) >= BATCH_TEXT_BYTES
    }

    /// Whether the device filter keeps a row of process `pid` on the file system, or device, `dev`.
    pub fn keeps(&mut self, table: TableId, cpu: u16, (dev, pid): (Option<i32>, i32)) -> bool {
        let Some(devices) = &mut self.filtering.devices else { return true };
        if dev.is_none_or(|dev| devices.keeps(dev, pid)) {
            return true;
        }
        let mut one = EventCounts::default();
        one.count(cpu, &Amounts::default());
        self.losses.add(table, Cause::LeftOut, &one);
        false
    }
}

/// I/O of a file operation: the bytes completed.
pub fn file_amounts(op: Op, ret: i64) -> Amounts {
    Amounts::of(op.direction(), u64::try_from(ret).unwrap_or(0))
}
