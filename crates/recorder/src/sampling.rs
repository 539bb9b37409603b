//! `--cpu-limit`: where recorder and kernel programs together take more of a CPU than they may, only what begins in some moments
//! is recorded, in steps: one in two, in four and so on (`bpf/sampling.bpf.h`). Every row says for how many events it stands.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use iostrata_capture::manifest::Sampling;

use crate::bpf::types;
use crate::clock;
use crate::report::tell;
use crate::session::Session;

/// The last step: one in 256.
const LAST_STEP: u32 = 8;

/// How often the CPU time is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// So far ahead of its moment a change is told of, so that nobody meets half of it.
const AHEAD_NS: u64 = 50_000_000;

/// A request that was left out may be met so long after everything is recorded again.
const LONGEST_REQUEST_NS: u64 = 60_000_000_000;

/// Looks in a row that leave room for twice as much, before there is more.
const CALM_LOOKS: u32 = 5;

/// Steps back at a time, at most: four times as much.
const MOST_BACK: u32 = 2;

/// From when how much was recorded, for those who make rows of it: each may ask of any time.
#[derive(Debug, Clone, Default)]
pub struct Rates(Arc<RwLock<Vec<(i64, u32)>>>);

impl Rates {
    fn change(&self, from_ns: i64, step: u32) {
        if let Ok(mut changes) = self.0.write() {
            changes.push((from_ns, step));
        }
    }

    /// For how many events one stands that began at `start_ns` by the monotonic clock.
    pub fn weight_at(&self, start_ns: i64) -> i32 {
        let Ok(changes) = self.0.read() else { return 1 };
        let step = changes.iter().rev().find(|(from_ns, _)| *from_ns <= start_ns).map_or(0, |(_, step)| *step);
        1 << step.min(LAST_STEP)
    }
}

/// How things stand, for whoever asks.
#[derive(Debug, Default)]
pub struct Standing {
    /// What was taken of a CPU in the last second, in thousandths, and one: 0 before anybody looked.
    cpu_permille: AtomicU64,
    /// One in 2^step is recorded.
    pub step: AtomicU32,
    /// Whether that is more than the limit with as little recorded as can be.
    pub is_over: AtomicBool,
}

impl Standing {
    /// What was taken of a CPU in the last second, in thousandths; none where nobody looks.
    pub fn cpu_permille(&self) -> Option<u64> {
        self.cpu_permille.load(Relaxed).checked_sub(1)
    }
}

/// CPU time that was taken until a moment.
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

    /// What was taken of a CPU since `before`.
    fn share_since(&self, before: &Reading) -> f64 {
        let taken_ns = (self.process_ns - before.process_ns) + self.programs_ns.saturating_sub(before.programs_ns);
        taken_ns as f64 / (self.at - before.at).as_nanos().max(1) as f64
    }
}

/// Which step to take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Steps {
    now: u32,
    /// Looks in a row that left room.
    calm: u32,
    /// The last look was at a time in which the step changed.
    changed: bool,
}

impl Steps {
    /// After a second in which `share` of a CPU was taken, of which `limit` may be. More is recorded again only where that has
    /// for some time been expected to stay well within the limit.
    fn after(self, share: f64, limit: f64) -> Steps {
        if self.changed {
            return Steps { changed: false, ..self };
        }
        let next = if share > limit {
            // A step halves what is recorded, not all of the cost.
            let steps = (share / limit).log2().ceil().clamp(1.0, f64::from(LAST_STEP));
            Steps { now: (self.now + steps as u32).min(LAST_STEP), ..Steps::default() }
        } else if self.now > 0 && share * 2.0 < limit * 0.9 {
            let back = if share * 4.0 < limit * 0.9 { MOST_BACK } else { 1 };
            match self.calm + 1 {
                CALM_LOOKS => Steps { now: self.now.saturating_sub(back), ..Steps::default() },
                calm => Steps { calm, ..self },
            }
        } else {
            Steps { calm: 0, ..self }
        };
        Steps { changed: next.now != self.now, ..next }
    }
}

/// Sees to it that the limit is kept.
pub struct Governor<'a> {
    limit: f64,
    session: &'a Session<'a>,
    standing: Arc<Standing>,
    rates: Rates,
    steps: Steps,
    told_kernel: types::sampling,
    last: Reading,
    sampled: Duration,
    greatest: u32,
}

impl<'a> Governor<'a> {
    /// Of a recording that begins now and may take `percent` of a CPU.
    pub fn start(percent: f64, session: &'a Session<'a>, rates: Rates, standing: Arc<Standing>) -> Result<Self> {
        Ok(Governor {
            limit: percent / 100.0,
            session,
            standing,
            rates,
            steps: Steps::default(),
            told_kernel: types::sampling::default(),
            last: Reading::take(session)?,
            sampled: Duration::ZERO,
            greatest: 0,
        })
    }

    /// To be called often: now and then it looks at the time that was taken, and records more or less from then on.
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
        let before = self.steps;
        self.steps = before.after(share, self.limit);
        self.standing.cpu_permille.store((share * 1000.0) as u64 + 1, Relaxed);
        self.standing.step.store(self.steps.now, Relaxed);
        self.standing.is_over.store(before.now == LAST_STEP && !before.changed && share > self.limit, Relaxed);
        if self.steps.now == before.now {
            return Ok(());
        }
        if self.greatest == 0 {
            let (percent, limit) = (share * 100.0, self.limit * 100.0);
            tell(&format!(
                "iostrata: {percent:.1} % of a CPU is taken and --cpu-limit is {limit}: not all is recorded from now on, and \
                 each row says for how many events it stands\n"
            ));
        }
        self.greatest = self.greatest.max(self.steps.now);
        self.change()
    }

    /// Programs read what is told while it is written. So it is written word by word, each of which leaves something that holds.
    fn change(&mut self) -> Result<()> {
        let at_ns = clock::monotonic_ns().cast_unsigned() + AHEAD_NS;
        self.rates.change(at_ns.cast_signed(), self.steps.now);
        let step = u64::from(self.steps.now);
        let told = &mut self.told_kernel;
        let mut write = |set: &mut dyn FnMut(&mut types::sampling)| {
            set(told);
            self.session.set_sampling(told)
        };
        if step > 0 {
            write(&mut |told| told.whole_ns = u64::MAX)?;
        }
        write(&mut |told| told.shift_before = told.shift_after)?;
        write(&mut |told| told.change_ns = at_ns)?;
        write(&mut |told| told.shift_after = step)?;
        if step == 0 {
            write(&mut |told| told.whole_ns = at_ns + LONGEST_REQUEST_NS)?;
        }
        Ok(())
    }

    /// What the manifest says of it.
    pub fn summary(&self) -> Sampling {
        Sampling {
            cpu_limit_percent: self.limit * 100.0,
            greatest_weight: 1 << self.greatest,
            sampled_ms: u64::try_from(self.sampled.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(shares: &[f64]) -> Vec<u32> {
        let mut steps = Steps::default();
        let after = |share: &f64| {
            steps = steps.after(*share, 0.1);
            steps.now
        };
        shares.iter().map(after).collect()
    }

    #[test]
    fn as_many_steps_as_it_takes_and_none_before_the_last_has_shown_what_it_does() {
        assert_eq!(steps(&[0.05, 0.1, 0.11, 0.11, 0.06]), [0, 0, 1, 1, 1]);
        assert_eq!(steps(&[0.35, 0.35, 0.15]), [2, 2, 3]);
        assert_eq!(steps(&[100.0, 100.0, 100.0]), [8, 8, 8]);
    }

    #[test]
    fn more_is_recorded_only_after_a_long_time_with_room() {
        let calm = CALM_LOOKS as usize;
        let quiet = steps(&[vec![0.15; 2], vec![0.04; calm + 1]].concat());
        assert_eq!(quiet, [vec![1; calm + 1], vec![0; 2]].concat());
        // Nothing to do at all: four times as much.
        assert_eq!(
            steps(&[vec![0.9; 2], vec![0.001; calm]].concat())[1..],
            [vec![4], vec![4; calm - 1], vec![2]].concat()
        );
        // Twice as much would be too much.
        assert_eq!(steps(&[vec![0.15; 2], vec![0.06; 100]].concat()).last(), Some(&1));
        // The quiet began anew in between.
        let disturbed = [vec![0.15; 2], vec![0.04; calm - 1], vec![0.06], vec![0.04; calm - 1]].concat();
        assert_eq!(steps(&disturbed).last(), Some(&1));
    }

    #[test]
    fn an_event_stands_for_as_many_as_when_it_began() {
        let rates = Rates::default();
        assert_eq!(rates.weight_at(0), 1);
        rates.change(100, 3);
        rates.change(200, 1);
        rates.change(300, 0);
        assert_eq!([99, 100, 199, 200, 299, 300].map(|at| rates.weight_at(at)), [1, 8, 8, 2, 2, 1]);
    }
}
