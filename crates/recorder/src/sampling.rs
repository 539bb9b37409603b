//! `--cpu-limit`: if recorder and BPF programs together exceed the CPU limit, only operations that begin in some time slices are
//! recorded: one in two, in four and so on (`bpf/core/sampling.bpf.h`). The weight of a row is the number of events that it represents.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use iostrata_capture::manifest::Sampling;
use iostrata_capture::message::tell;

use crate::bpf::types;
use crate::clock;
use crate::session::Session;

/// Last step: one in 256.
const LAST_STEP: u32 = 8;

/// Interval between CPU time checks.
const LOOK: Duration = Duration::from_secs(1);

/// Lead time of a change, so that no program applies a part of it.
const AHEAD_NS: u64 = 50_000_000;

/// Maximum number of checks that a decision is based on. One of them includes a flush, which must not decide alone.
const LOOKS: usize = 5;

/// Number of consecutive checks with room for twice the rate before the rate increases.
const CALM_LOOKS: u32 = 5;

/// Maximum number of steps back at a time: four times the rate.
const MOST_BACK: u32 = 2;

/// Number of checks within the limit before twice the rate is tried, because some cost of the programs does not depend on the rate.
/// After a failure, the number doubles.
const TRY_AFTER: u32 = 60;
const TRY_AFTER_MOST: u32 = 960;

/// History of the sampling rate, shared with the threads that produce rows: they may query any time.
#[derive(Debug, Clone, Default)]
pub struct Rates(Arc<RwLock<Vec<(i64, u32)>>>);

impl Rates {
    /// Changes the step to `step` at `from_ns` if `make_it_so` succeeds. No weight can be queried meanwhile.
    fn change(&self, from_ns: i64, step: u32, make_it_so: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut changes = self.0.write().map_err(|_| anyhow!("a thread that produces rows panicked"))?;
        make_it_so()?;
        // A late change is valid from the time at which it is made.
        changes.push((from_ns.max(clock::monotonic_ns()), step));
        Ok(())
    }

    /// Weight of an event that began at `start_ns`, by the monotonic clock.
    pub fn weight_at(&self, start_ns: i64) -> i32 {
        let Ok(changes) = self.0.read() else { return 1 };
        let step = changes.iter().rev().find(|(from_ns, _)| *from_ns <= start_ns).map_or(0, |(_, step)| *step);
        1 << step.min(LAST_STEP)
    }
}

/// Current state of sampling, for status queries.
#[derive(Debug, Default)]
pub struct Standing {
    /// CPU time in the last second, in thousandths of one CPU, plus one; 0 before the first check.
    cpu_permille: AtomicU64,
    /// Sampling factor: one in 2^step is recorded.
    pub step: AtomicU32,
    /// Whether the CPU time exceeds the limit at the last step.
    pub is_over: AtomicBool,
}

impl Standing {
    /// CPU time in the last second, in thousandths of one CPU; none before the first check.
    pub fn cpu_permille(&self) -> Option<u64> {
        self.cpu_permille.load(Relaxed).checked_sub(1)
    }
}

/// CPU time up to a point in time.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    process_ns: u64,
    programs_ns: u64,
}

impl Reading {
    fn take(session: &Session) -> Result<Reading> {
        Ok(Reading { at: Instant::now(), process_ns: clock::process_ns(), programs_ns: session.programs_ns()? })
    }

    /// CPU time since `before`, as a share of one CPU.
    fn share_since(&self, before: &Reading) -> f64 {
        let taken_ns =
            self.process_ns.saturating_sub(before.process_ns) + self.programs_ns.saturating_sub(before.programs_ns);
        taken_ns as f64 / (self.at - before.at).as_nanos().max(1) as f64
    }
}

/// Choice of the step.
#[derive(Debug, Clone)]
struct Steps {
    now: u32,
    /// CPU shares at the last checks since the step changed.
    shares: VecDeque<f64>,
    /// Number of consecutive checks with room for a higher rate.
    calm: u32,
    /// Number of checks since the step changed.
    within: u32,
    try_after: u32,
    /// Whether twice the rate is being tried.
    is_trying: bool,
    /// Whether the step changed in the interval of the next check.
    changed: bool,
}

impl Steps {
    fn new() -> Steps {
        let shares = VecDeque::with_capacity(LOOKS);
        Steps { now: 0, shares, calm: 0, within: 0, try_after: TRY_AFTER, is_trying: false, changed: false }
    }

    /// Updates the step after a second with a CPU share of `share`, at a limit of `limit`.
    fn look(&mut self, share: f64, limit: f64) {
        if std::mem::take(&mut self.changed) {
            return;
        }
        if self.shares.len() == LOOKS {
            self.shares.pop_front();
        }
        self.shares.push_back(share);
        let mean = self.shares.iter().sum::<f64>() / self.shares.len() as f64;
        if share > 2.0 * limit || (mean > limit && self.shares.len() > 1) {
            if self.is_trying {
                self.try_after = (self.try_after * 2).min(TRY_AFTER_MOST);
            }
            // The number of steps that would suffice if the cost were proportional to the rate.
            let steps = (share.max(mean) / limit).log2().ceil().clamp(1.0, f64::from(LAST_STEP));
            return self.go_to((self.now + steps as u32).min(LAST_STEP));
        }
        self.within += 1;
        if self.within == self.try_after && self.is_trying {
            (self.try_after, self.is_trying) = (TRY_AFTER, false);
        }
        self.calm = if share * 2.0 < limit * 0.9 { self.calm + 1 } else { 0 };
        if self.now > 0 && self.calm >= CALM_LOOKS {
            let back = if share * 4.0 < limit * 0.9 { MOST_BACK } else { 1 };
            self.go_to(self.now.saturating_sub(back));
        } else if self.now > 0 && self.within >= self.try_after {
            self.go_to(self.now - 1);
            self.is_trying = true;
        }
    }

    fn go_to(&mut self, step: u32) {
        self.changed = step != self.now;
        self.now = step;
        self.shares.clear();
        (self.calm, self.within, self.is_trying) = (0, 0, false);
    }
}

/// Rate controller: keeps the CPU time within the limit.
pub struct RateController<'a> {
    /// Limit in percent of one CPU, as the user typed it.
    limit_percent: f64,
    session: &'a Session<'a>,
    standing: Arc<Standing>,
    rates: Rates,
    steps: Steps,
    told_kernel: types::sampling,
    last: Reading,
    sampled: Duration,
    greatest: u32,
}

impl<'a> RateController<'a> {
    /// Starts the controller of a recording, with a limit of `percent` of one CPU.
    pub fn start(percent: f64, session: &'a Session<'a>, rates: Rates, standing: Arc<Standing>) -> Result<Self> {
        Ok(RateController {
            limit_percent: percent,
            session,
            standing,
            rates,
            steps: Steps::new(),
            told_kernel: types::sampling::default(),
            last: Reading::take(session)?,
            sampled: Duration::ZERO,
            greatest: 0,
        })
    }

    /// Checks the CPU time if a check is due, and adapts the rate. Must be called often.
    pub fn look(&mut self) -> Result<()> {
        if self.last.at.elapsed() < LOOK {
            return Ok(());
        }
        let now = Reading::take(self.session)?;
        let share = now.share_since(&self.last);
        if self.steps.now > 0 {
            self.sampled += now.at - self.last.at;
        }
        self.last = now;
        let (before, was_settled) = (self.steps.now, !self.steps.changed);
        let limit = self.limit_percent / 100.0;
        self.steps.look(share, limit);
        self.standing.cpu_permille.store((share * 1000.0) as u64 + 1, Relaxed);
        self.standing.is_over.store(before == LAST_STEP && was_settled && share > limit, Relaxed);
        if self.steps.now == before {
            return Ok(());
        }
        if let Err(error) = self.change() {
            // The rate has not changed; the next check tries again.
            self.steps.go_to(before);
            return Err(error);
        }
        self.standing.step.store(self.steps.now, Relaxed);
        if self.greatest == 0 {
            let (percent, limit) = (share * 100.0, self.limit_percent);
            tell(&format!(
                "iostrata: CPU usage is {percent:.1} % of one CPU and --cpu-limit is {limit}: the recording is sampled from now \
                 on, and each row has a weight, the number of events that it represents\n"
            ));
        }
        self.greatest = self.greatest.max(self.steps.now);
        Ok(())
    }

    /// Updates the sampling state, which programs read at any time. It is written one word at a time, and each intermediate state is
    /// valid: until the last word is written and the change is due, the previous rate applies.
    fn change(&mut self) -> Result<()> {
        let at_ns = clock::monotonic_ns().cast_unsigned() + AHEAD_NS;
        let (session, told) = (self.session, &mut self.told_kernel);
        self.rates.change(at_ns.cast_signed(), self.steps.now, || {
            told.shift_before = told.shift_after;
            session.set_sampling(told)?;
            told.change_ns = at_ns;
            session.set_sampling(told)?;
            let next = types::sampling { shift_after: u64::from(self.steps.now), ..*told };
            session.set_sampling(&next)?;
            *told = next;
            Ok(())
        })
    }

    /// Summary for the manifest.
    pub fn summary(&self) -> Sampling {
        Sampling {
            cpu_limit_percent: self.limit_percent,
            greatest_weight: 1 << self.greatest,
            sampled_ms: u64::try_from(self.sampled.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(shares: &[f64]) -> Vec<u32> {
        let mut steps = Steps::new();
        let look = |share: &f64| {
            steps.look(*share, 0.1);
            steps.now
        };
        shares.iter().map(look).collect()
    }

    #[test]
    fn as_many_steps_as_it_takes_and_none_before_the_last_has_shown_what_it_does() {
        assert_eq!(steps(&[0.05, 0.1, 0.11, 0.15, 0.15, 0.15, 0.15]), [0, 0, 0, 1, 1, 1, 2]);
        // Far too high a share does not wait for a second check.
        assert_eq!(steps(&[0.35, 0.35, 0.25]), [2, 2, 4]);
        assert_eq!(steps(&[100.0, 100.0, 100.0]), [8, 8, 8]);
    }

    #[test]
    fn a_flush_now_and_then_does_not_decide_alone() {
        let flushes: Vec<f64> = (0..100).map(|second| if second % 5 == 4 { 0.18 } else { 0.06 }).collect();
        assert_eq!(steps(&flushes), vec![0; 100]);
    }

    #[test]
    fn more_is_recorded_after_some_time_with_room() {
        let calm = CALM_LOOKS as usize;
        let quiet = steps(&[vec![0.25; 2], vec![0.04; calm + 1]].concat());
        assert_eq!(quiet, [vec![2; calm + 1], vec![1; 2]].concat());
        // Without any load: four times the rate.
        assert_eq!(steps(&[vec![0.9; 2], vec![0.001; calm]].concat())[1..], [vec![4; calm], vec![2]].concat());
        // The quiet time was interrupted, and started again.
        let disturbed = [vec![0.25; 2], vec![0.04; calm - 1], vec![0.06], vec![0.04; calm - 1]].concat();
        assert_eq!(steps(&disturbed).last(), Some(&2));
    }

    #[test]
    fn where_looking_costs_most_of_it_more_is_tried_now_and_then() {
        // 0.06 regardless of the rate, plus 0.01 for the full rate.
        let mut steps = Steps::new();
        let cost = |step: u32| 0.06 + 0.01 / f64::from(1 << step);
        [0.3, 0.3].iter().for_each(|share| steps.look(*share, 0.1));
        assert_eq!(steps.now, 2);
        for _ in 0..3 * TRY_AFTER {
            steps.look(cost(steps.now), 0.1);
        }
        assert_eq!(steps.now, 0);
        // If twice the rate is too much, each try comes later.
        let mut steps = Steps::new();
        let cost = |step: u32| 0.06 + 0.06 / f64::from(1 << step);
        let mut tries = 0;
        for _ in 0..1_000 {
            let before = steps.now;
            steps.look(cost(before), 0.1);
            tries += u32::from(steps.now < before);
        }
        assert!((2..6).contains(&tries), "{tries}");
    }

    #[test]
    fn an_event_stands_for_as_many_as_when_it_began() {
        let rates = Rates::default();
        assert_eq!(rates.weight_at(0), 1);
        let start = clock::monotonic_ns() + 1_000_000_000_000;
        for (at, step) in [(100, 3), (200, 1), (300, 0)] {
            rates.change(start + at, step, || Ok(())).expect("no panic");
        }
        assert!(rates.change(start + 400, 5, || Err(anyhow!("refused"))).is_err());
        assert_eq!([99, 100, 199, 200, 299, 300, 400].map(|at| rates.weight_at(start + at)), [1, 8, 8, 2, 2, 1, 1]);
    }
}
