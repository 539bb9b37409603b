//! Self-telemetry, the recorder's own tables: clock pairs (`clock`) and losses by time (`loss`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use iostrata_capture::column::Comm;
use iostrata_capture::ledger::{EventAccounting, Lost};
use iostrata_capture::manifest::{Clock, ClockPair};
use iostrata_capture::message::tell;
use iostrata_capture::table::TableBuilder;
use iostrata_capture::tables::{ClockBuilder, ClockRow, LossBuilder, LossRow};
use iostrata_capture::{ByTable, TableId};

use crate::books::{EventCounts, settle};
use crate::clock;
use crate::losses::Losses;
use crate::pace::BATCH_AGE;
use crate::session::{Accounts, SharedAccounts};
use crate::sink::{Batch, ParquetSink, Sink, Totals};
use crate::unfinished::Settled;

/// Interval between clock checks.
const CLOCK_LOOK: Duration = Duration::from_millis(100);

/// Name of [`Lost::channel_full`] in the table.
const CHANNEL_FULL: &str = "channel_full";

/// Interval between loss checks, in addition to each flush.
const LOOK: Duration = Duration::from_secs(1);

/// Interval between rows of `clock`.
const CLOCKS: Duration = Duration::from_secs(10);

/// Deviation from the last recorded clock offset above which the wall clock was set or the machine slept. It is recorded at once.
const STEP_NS: u64 = 500_000;

/// Returns the events seen and lost so far, from the BPF programs' `accounts` and the recorder's own `losses`. The written ones are known only
/// at the end.
pub fn books_until_now(accounts: &Accounts, losses: &Losses) -> EventAccounting {
    settle(accounts, &ByTable::default(), losses, Vec::new(), &Settled::default())
}

/// Writes the recorder's own tables.
pub struct SelfTelemetry {
    sink: Option<ParquetSink>,
    losses: Arc<Losses>,
    accounts: SharedAccounts,
    has_failed: bool,
    offset_ns: i64,
    totals: Arc<Totals>,
    /// Losses at the last row, by class and CPU.
    told: HashMap<(String, u32), Lost>,
    told_ns: i64,
    began_ns: i64,
    looked: Instant,
    losses_looked: Instant,
    clocks_told: Option<Instant>,
    /// Offset of the wall clock from the monotonic clock at that time.
    told_offset_ns: i64,
    /// Whether to wait for space, because nothing else follows.
    patient: bool,
}

impl SelfTelemetry {
    /// Starts the tables of a recording with the clock `start`, which began at `began_ns` (in `ts_ns` time). The clock's pair is the first row,
    /// because wall time may have moved since it was read.
    pub fn start(
        sink: Option<ParquetSink>,
        (losses, accounts): (Arc<Losses>, SharedAccounts),
        (start, began_ns): (&Clock, i64),
        totals: Arc<Totals>,
    ) -> SelfTelemetry {
        let mut chronicle = SelfTelemetry {
            sink,
            losses,
            accounts,
            has_failed: false,
            offset_ns: start.offset_ns,
            totals,
            told: HashMap::new(),
            told_ns: began_ns,
            began_ns,
            looked: Instant::now(),
            losses_looked: Instant::now(),
            clocks_told: None,
            told_offset_ns: start.offset_ns,
            patient: false,
        };
        if let Some(pair) = start.pairs.first() {
            chronicle.tell_clocks(pair);
        }
        chronicle
    }

    /// Writes the rows that are due. Must be called often.
    pub fn look(&mut self) {
        if self.sink.is_none() || self.looked.elapsed() < CLOCK_LOOK {
            return;
        }
        let pair = clock::pair();
        if self.clocks_told.is_none_or(|at| at.elapsed() >= CLOCKS) || self.is_step(&pair) {
            self.tell_clocks(&pair);
        }
        self.looked = Instant::now();
        if self.losses_looked.elapsed() >= LOOK {
            self.tell_losses();
        }
    }

    /// Writes the final rows. Everything is detached, and the losses before the writer are known. Returns the same as
    /// [`SelfTelemetry::tell_losses`].
    pub fn finish(&mut self) -> Option<u64> {
        self.patient = true;
        self.tell_clocks(&clock::pair());
        self.tell_losses()
    }

    fn is_step(&self, pair: &ClockPair) -> bool {
        (pair.wall_ns - pair.monotonic_ns).abs_diff(self.told_offset_ns) > STEP_NS
    }

    /// Queues a clock row. If the queue has no space, the next check tries again.
    fn tell_clocks(&mut self, pair: &ClockPair) {
        let mut rows = ClockBuilder::default();
        let ts_ns = pair.monotonic_ns + self.offset_ns;
        rows.push(ClockRow { ts_ns, wall_ns: pair.wall_ns, boot_ns: clock::boot_ns_at(pair) });
        if self.send(TableId::Clock, rows) {
            self.clocks_told = Some(Instant::now());
            self.told_offset_ns = pair.wall_ns - pair.monotonic_ns;
        }
    }

    /// Queues the losses since the last rows. Returns the number of events that the writer had lost by then; `None` if the rows could not be
    /// queued, in which case the next rows include them.
    pub fn tell_losses(&mut self) -> Option<u64> {
        self.sink.as_ref()?;
        self.losses_looked = Instant::now();
        let accounts = match self.accounts.read() {
            Ok(accounts) => accounts,
            Err(error) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    tell(&format!("iostrata: {error:#}; losses are recorded late; after a kill they may be missing\n"));
                }
                return None;
            }
        };
        let now_ns = clock::monotonic_ns() + self.offset_ns;
        // Read before the sums, so the sums include it.
        let in_writing = self.losses.in_writing();
        let books = books_until_now(&accounts, &self.losses);
        let mut rows = LossBuilder::default();
        for account in &books.accounts {
            let told = self.told.get(&(account.class.clone(), account.cpu)).copied().unwrap_or_default();
            for ((cause, sum), (_, told)) in account.lost.by_cause().into_iter().zip(told.by_cause()) {
                if sum > told {
                    // The rows of a batch waited for it to fill.
                    let waited_ns = if cause == CHANNEL_FULL { BATCH_AGE.as_nanos() as i64 } else { 0 };
                    rows.push(LossRow {
                        ts_ns: now_ns,
                        since_ns: self.told_ns.saturating_sub(waited_ns).max(self.began_ns),
                        class: Comm::of(&account.class),
                        cpu: i32::try_from(account.cpu).unwrap_or(i32::MAX),
                        cause: Comm::of(cause),
                        events: i64::try_from(sum - told).unwrap_or(i64::MAX),
                    });
                }
            }
        }
        if rows.rows() > 0 && !self.send(TableId::Loss, rows) {
            return None;
        }
        self.told_ns = now_ns;
        self.told = books.accounts.into_iter().map(|account| ((account.class, account.cpu), account.lost)).collect();
        Some(in_writing)
    }

    fn send<B: TableBuilder>(&mut self, table: TableId, mut rows: B) -> bool {
        let Some(sink) = self.sink.as_mut() else { return false };
        // While paused, the disk has no space for anything but the final rows.
        if self.totals.paused.load(Relaxed) && !self.patient {
            return false;
        }
        let batch = rows.finish().map(|rows| Batch { table, rows, tally: EventCounts::default() });
        let mut hand_over = |batch| if self.patient { sink.put(batch) } else { sink.offer(batch) };
        batch.is_ok_and(|batch| hand_over(batch).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_that_is_told_of_an_earlier_time_is_one() {
        assert!(Lost::default().by_cause().iter().any(|(name, _)| *name == CHANNEL_FULL));
    }
}
