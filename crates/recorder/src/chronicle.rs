//! The recorder's own tables: how wall time moved (`clock`) and what was lost when (`loss`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use iostrata_capture::column::Comm;
use iostrata_capture::ledger::{Books, Lost};
use iostrata_capture::manifest::{Clock, ClockPair};
use iostrata_capture::table::TableBuilder;
use iostrata_capture::tables::{ClockBuilder, ClockRow, LossBuilder, LossRow};

use crate::books::{Fate, Tally, settle};
use crate::bpf::types;
use crate::classes::{CLASSES, CLOCK, Class, LOSS};
use crate::clock;
use crate::losses::Losses;
use crate::sink::{Batch, ParquetSink, Sink, Totals};
use crate::unfinished::Settled;

/// How often losses are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often the clocks are told of.
const CLOCKS: Duration = Duration::from_secs(10);

/// A wall clock that is so far from where it was last told to be was set, or the machine slept: that is told at once.
const STEP_NS: u64 = 500_000;

/// Writes the recorder's own tables.
pub struct Chronicle {
    sink: Option<ParquetSink>,
    class_names: Vec<String>,
    offset_ns: i64,
    losses: Arc<Losses>,
    totals: Arc<Totals>,
    /// By class and CPU: what was lost when it was last told.
    told: HashMap<(String, u32), Lost>,
    told_ns: i64,
    looked: Instant,
    clocks_told: Option<Instant>,
    /// By how much wall time was ahead of the monotonic clock then.
    told_offset_ns: i64,
    /// Whether to wait for room: nothing more comes.
    patient: bool,
}

impl Chronicle {
    /// For a recording that has the clock `start`. Its pair is the first row: wall time may have moved since it was read.
    pub fn start(
        sink: Option<ParquetSink>,
        class_names: Vec<String>,
        start: &Clock,
        (totals, losses): (Arc<Totals>, Arc<Losses>),
    ) -> Chronicle {
        let mut chronicle = Chronicle {
            sink,
            class_names,
            offset_ns: start.offset_ns,
            losses,
            totals,
            told: HashMap::new(),
            told_ns: clock::monotonic_ns() + start.offset_ns,
            looked: Instant::now(),
            clocks_told: None,
            told_offset_ns: start.offset_ns,
            patient: false,
        };
        if let Some(pair) = start.pairs.first() {
            chronicle.tell_clocks(pair);
        }
        chronicle
    }

    /// Writes down what is due. To be called often; `accounts` are the kernel side's.
    pub fn look(&mut self, accounts: &[Vec<types::account>]) {
        if self.sink.is_none() {
            return;
        }
        let pair = clock::pair();
        if self.clocks_told.is_none_or(|at| at.elapsed() >= CLOCKS) || self.is_step(&pair) {
            self.tell_clocks(&pair);
        }
        if self.looked.elapsed() >= LOOK {
            self.tell_losses(accounts);
            self.looked = Instant::now();
        }
    }

    /// The last words: everything is detached, and what was lost on the way to the writer is known.
    pub fn finish(mut self, accounts: &[Vec<types::account>]) {
        self.patient = true;
        self.tell_clocks(&clock::pair());
        self.tell_losses(accounts);
    }

    /// What was seen and lost until now. What was written is known at the end only.
    pub fn books(&self, accounts: &[Vec<types::account>]) -> Books {
        let nothing_left = Settled::default();
        settle(&self.class_names, accounts, &vec![Fate::default(); CLASSES], &self.losses, Vec::new(), &nothing_left)
    }

    fn is_step(&self, pair: &ClockPair) -> bool {
        (pair.wall_ns - pair.monotonic_ns).abs_diff(self.told_offset_ns) > STEP_NS
    }

    /// What cannot be handed over now is told at the next look.
    fn tell_clocks(&mut self, pair: &ClockPair) {
        let mut rows = ClockBuilder::default();
        let ts_ns = pair.monotonic_ns + self.offset_ns;
        rows.push(ClockRow { ts_ns, wall_ns: pair.wall_ns, boot_ns: clock::boot_ns_at(pair) });
        if self.send(CLOCK, rows) {
            self.clocks_told = Some(Instant::now());
            self.told_offset_ns = pair.wall_ns - pair.monotonic_ns;
        }
    }

    /// What cannot be handed over now is part of what is told next.
    fn tell_losses(&mut self, accounts: &[Vec<types::account>]) {
        let now_ns = clock::monotonic_ns() + self.offset_ns;
        let books = self.books(accounts);
        let mut rows = LossBuilder::default();
        for account in &books.accounts {
            let told = self.told.get(&(account.class.clone(), account.cpu)).copied().unwrap_or_default();
            for ((cause, sum), (_, told)) in account.lost.by_cause().into_iter().zip(told.by_cause()) {
                if sum > told {
                    rows.push(LossRow {
                        ts_ns: now_ns,
                        since_ns: self.told_ns,
                        class: Comm::of(&account.class),
                        cpu: i32::try_from(account.cpu).unwrap_or(i32::MAX),
                        cause: Comm::of(cause),
                        events: i64::try_from(sum - told).unwrap_or(i64::MAX),
                    });
                }
            }
        }
        if rows.rows() == 0 || self.send(LOSS, rows) {
            self.told_ns = now_ns;
            self.told =
                books.accounts.into_iter().map(|account| ((account.class, account.cpu), account.lost)).collect();
        }
    }

    fn send<B: TableBuilder>(&mut self, class: Class, mut rows: B) -> bool {
        let Some(sink) = self.sink.as_mut() else { return false };
        // There is no room on the disk for anything but the last words.
        if self.totals.paused.load(Relaxed) && !self.patient {
            return false;
        }
        let batch = rows.finish().map(|rows| Batch { class, rows, tally: Tally::default() });
        let mut hand_over = |batch| if self.patient { sink.put(batch) } else { sink.offer(batch) };
        batch.is_ok_and(|batch| hand_over(batch).is_ok())
    }
}
