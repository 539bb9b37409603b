//! Sources of metrics.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use iostrata_capture::ledger::EventAccounting;
use iostrata_capture::manifest::MapUse;

use super::{
    CPU, DRAIN_SILENCE, DRAINED, ELAPSED, EVENTS_LOST, EVENTS_SEEN, MAP_PEAK, MAP_SIZE, OVER_LIMIT, PART_BYTES, PARTS,
    PAUSED, PROGRAM_CPU, QUEUED, RESIDENT, SAMPLING, Snapshot, THREAD_CPU, WRITER_FAILED, WRITER_SILENCE,
};
use crate::heap;
use crate::sink::Totals;

/// Something that has metrics.
pub trait Source {
    /// Adds its metrics.
    fn collect(&self, to: &mut Snapshot);
}

/// Events seen and lost.
impl Source for EventAccounting {
    fn collect(&self, to: &mut Snapshot) {
        for account in self.by_class() {
            to.put_count(&EVENTS_SEEN, &[&account.class], account.seen);
            for (cause, count) in account.lost.by_cause() {
                to.put_count(&EVENTS_LOST, &[&account.class, cause], count);
            }
        }
    }
}

/// Drain, writer and sampling.
impl Source for Totals {
    fn collect(&self, to: &mut Snapshot) {
        to.put_count(&DRAINED, &[], self.events.load(Relaxed));
        to.put_count(&PARTS, &[], self.parts.load(Relaxed));
        to.put_count(&PART_BYTES, &[], self.bytes.load(Relaxed));
        to.put_count(&QUEUED, &[], self.queued_bytes.load(Relaxed));
        to.put_count(&PAUSED, &[], u64::from(self.paused.load(Relaxed)));
        to.put_count(&WRITER_FAILED, &[], u64::from(self.error.get().is_some()));
        to.put_count(&SAMPLING, &[], 1 << self.sampling.step.load(Relaxed));
        to.put_count(&OVER_LIMIT, &[], u64::from(self.sampling.is_over.load(Relaxed)));
        if let Some(permille) = self.sampling.cpu_permille() {
            to.put(&CPU, &[], permille as f64 / 1000.0);
        }
        for (metric, silence) in [(&DRAIN_SILENCE, self.drain.silence()), (&WRITER_SILENCE, self.writer.silence())] {
            if let Some(silence) = silence {
                to.put(metric, &[], silence.as_secs_f64());
            }
        }
    }
}

/// Fill of the bounded maps.
impl Source for Vec<MapUse> {
    fn collect(&self, to: &mut Snapshot) {
        for MapUse { map, entries, peak, .. } in self {
            to.put_count(&MAP_SIZE, &[map], *entries);
            if let Some(peak) = peak {
                to.put_count(&MAP_PEAK, &[map], *peak);
            }
        }
    }
}

/// The recorder's process.
pub struct Process {
    /// Time at which everything was attached.
    pub started: Instant,
    /// CPU time of the BPF programs; none if it is not measured.
    pub programs: Option<Duration>,
}

impl Source for Process {
    fn collect(&self, to: &mut Snapshot) {
        to.put(&ELAPSED, &[], self.started.elapsed().as_secs_f64());
        if let Some(bytes) = heap::own_resident_bytes() {
            to.put_count(&RESIDENT, &[], bytes);
        }
        for (name, time) in thread_times() {
            to.put(&THREAD_CPU, &[&name], time.as_secs_f64());
        }
        if let Some(programs) = self.programs {
            to.put(&PROGRAM_CPU, &[], programs.as_secs_f64());
        }
    }
}

/// CPU time of this process's threads, by name; threads of the same name together.
fn thread_times() -> Vec<(String, Duration)> {
    let mut times: Vec<(String, Duration)> = Vec::new();
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    for (name, time) in threads.filter_map(|thread| thread_time(&thread.path())) {
        match times.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += time,
            None => times.push((name, time)),
        }
    }
    times.sort_unstable();
    times
}

/// Name and CPU time of a thread, from its `stat` (proc_pid_stat(5)): user and system time are the fields 14 and 15.
fn thread_time(thread: &Path) -> Option<(String, Duration)> {
    let stat = fs::read_to_string(thread.join("stat")).ok()?;
    // The name may contain anything, but the last parenthesis ends it.
    let (head, fields) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some((name, Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_thread_has_a_name_and_a_time() {
        let name = fs::read_to_string("/proc/thread-self/comm").expect("a name");
        assert!(thread_times().iter().any(|(known, _)| *known == name.trim_end()));
    }

    #[test]
    fn what_is_not_known_has_no_sample() {
        let snapshot = Snapshot::of(&[&Totals::default(), &Process { started: Instant::now(), programs: None }]);
        assert_eq!((snapshot.get(&CPU), snapshot.get(&PROGRAM_CPU), snapshot.get(&WRITER_SILENCE)), (None, None, None));
        assert_eq!((snapshot.get(&DRAINED), snapshot.get(&SAMPLING)), (Some(0.0), Some(1.0)));
        assert!(snapshot.get(&RESIDENT).is_some_and(|bytes| bytes > 0.0));
    }
}
