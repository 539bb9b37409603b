//! The kernel's I/O counters of each process (`/proc/PID/io`), an upper bound for its recorded system calls.
//!
//! They are read before anything is attached and after all is detached, so that they include every call with a row. The kernel
//! refuses /proc/PID/io after the privileges are dropped, so a BPF iterator over the tasks is loaded before that.

use std::collections::HashMap;
use std::io::Read;
use std::mem::MaybeUninit;

use anyhow::{Context, Result};
use iostrata_capture::manifest::{ProcessBook, ProcessCounters};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Iter, Link};

use crate::bpf::{HereSkelBuilder, here_types::task_io, read_record};

/// Maximum number of tracked processes, at 40 bytes each; others are only counted.
const MOST_FOLLOWED: usize = 32_768;

/// Maximum number of processes in the manifest.
const MOST_KEPT: usize = 32;

/// A process, by id and start time.
type Key = (u32, u64);

/// Counters of one process at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    read_bytes: u64,
    write_bytes: u64,
    /// Counters of its ended threads, as read with its first thread and with its last.
    ended: [[u64; 2]; 2],
}

/// Counters of all processes at one time.
#[derive(Debug, Default)]
struct Sample {
    processes: HashMap<Key, Counted>,
    /// Some processes found no space.
    is_cut: bool,
}

impl Sample {
    fn see(&mut self, io: &task_io) {
        let ended = [io.ended_read_bytes, io.ended_write_bytes];
        let key = (io.pid, io.start_ns);
        if self.processes.len() >= MOST_FOLLOWED && !self.processes.contains_key(&key) {
            self.is_cut = true;
            return;
        }
        let counted = self.processes.entry(key).or_insert(Counted { ended: [ended; 2], ..Counted::default() });
        counted.read_bytes = counted.read_bytes.saturating_add(io.read_bytes);
        counted.write_bytes = counted.write_bytes.saturating_add(io.write_bytes);
        counted.ended[1] = ended;
    }

    fn read(mut tasks: impl Read) -> Result<Sample> {
        let mut sample = Sample::default();
        let mut bytes = Vec::new();
        let mut more = vec![0; 64 << 10];
        loop {
            let count = tasks.read(&mut more).context("cannot iterate over the tasks")?;
            if count == 0 {
                return Ok(sample);
            }
            bytes.extend_from_slice(more.get(..count).unwrap_or_default());
            let records = bytes.chunks_exact(size_of::<task_io>());
            let rest = records.remainder().to_vec();
            records.filter_map(read_record::<task_io>).for_each(|io| sample.see(&io));
            bytes = rest;
        }
    }
}

impl Counted {
    /// Bytes counted before any thread of the process was read; never too many.
    fn least(&self) -> [u64; 2] {
        [self.read_bytes.saturating_add(self.ended[0][0]), self.write_bytes.saturating_add(self.ended[0][1])]
    }
}

/// Reads the counters at the start and at the end.
pub struct ProcessIo {
    reading: Result<Reading>,
    before: Sample,
}

struct Reading {
    link: Link,
    /// Created at the start, because it requires privileges.
    at_end: [Iter; 2],
}

fn attach() -> Result<Reading> {
    let mut object = MaybeUninit::uninit();
    let mut open = HereSkelBuilder::default().open(&mut object).context("cannot open the BPF object")?;
    open.progs.iostrata_task_io.set_autoload(true);
    let skeleton = open.load().context("the kernel refuses iostrata_task_io")?;
    let link = skeleton.progs.iostrata_task_io.attach().context("cannot attach iostrata_task_io")?;
    let at_end = [Iter::new(&link)?, Iter::new(&link)?];
    Ok(Reading { link, at_end })
}

impl ProcessIo {
    /// Loads the program. If the kernel refuses it, [`ProcessIo::finish`] returns the reason.
    pub fn load() -> ProcessIo {
        ProcessIo { reading: attach(), before: Sample::default() }
    }

    /// Reads the counters before anything is recorded. Must be called again if the recording starts again.
    pub fn start(&mut self) {
        let read = match &self.reading {
            Ok(reading) => Iter::new(&reading.link).map_err(Into::into).and_then(Sample::read),
            Err(_) => return,
        };
        match read {
            Ok(sample) => self.before = sample,
            Err(error) => self.reading = Err(error),
        }
    }

    /// Reads the counters again, after the recording. `offset_ns` is added to the start times of processes.
    pub fn finish(self, offset_ns: i64) -> ProcessCounters {
        let read = |reading: Reading| {
            let [first, second] = reading.at_end;
            anyhow::Ok([Sample::read(first)?, Sample::read(second)?])
        };
        match self.reading.and_then(read) {
            Ok([first, second]) => settle(&self.before, &first, &second, offset_ns),
            Err(error) => ProcessCounters { why_not: Some(format!("{error:#}")), ..ProcessCounters::default() },
        }
    }
}

/// Computes the change of each process's counters. It is unknown if a thread of the process ended between the two final readings.
fn settle(before: &Sample, first: &Sample, second: &Sample, offset_ns: i64) -> ProcessCounters {
    let mut counters = ProcessCounters::default();
    for (key, at_end) in &first.processes {
        let base = match before.processes.get(key) {
            Some(counted) => counted.least(),
            // The process had no I/O by then, or did not exist.
            None if !before.is_cut => [0, 0],
            None => {
                counters.others += 1;
                continue;
            }
        };
        let [read_bytes, write_bytes] = at_end.least();
        let moved = [read_bytes.saturating_sub(base[0]), write_bytes.saturating_sub(base[1])];
        if moved == [0, 0] {
            continue;
        }
        // An ending thread is read itself, or counted with the ended ones, or neither if it ends in between.
        let is_sure = second.processes.get(key).is_some_and(|again| again.ended[1] == at_end.ended[0]);
        match (is_sure, i32::try_from(key.0)) {
            (true, Ok(pid)) => counters.processes.push(ProcessBook {
                pid,
                start_ns: key.1.cast_signed().saturating_add(offset_ns),
                read_bytes: moved[0],
                write_bytes: moved[1],
            }),
            _ => counters.others += 1,
        }
    }
    let moved = |book: &ProcessBook| book.read_bytes.max(book.write_bytes);
    counters.processes.sort_unstable_by_key(|book| (std::cmp::Reverse(moved(book)), book.pid));
    counters.others += counters.processes.len().saturating_sub(MOST_KEPT) as u64 + u64::from(first.is_cut);
    counters.processes.truncate(MOST_KEPT);
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(pid: u32, tid: u32, read_bytes: u64, ended_read_bytes: u64) -> task_io {
        task_io { pid, tid, start_ns: 5, read_bytes, ended_read_bytes, ..task_io::default() }
    }

    fn sample(of: &[task_io]) -> Sample {
        let mut sample = Sample::default();
        of.iter().for_each(|io| sample.see(io));
        sample
    }

    fn moved(before: &[task_io], first: &[task_io], second: &[task_io]) -> (Vec<(i32, i64, u64)>, u64) {
        let counters = settle(&sample(before), &sample(first), &sample(second), 100);
        let of = |book: &ProcessBook| (book.pid, book.start_ns, book.read_bytes);
        (counters.processes.iter().map(of).collect(), counters.others)
    }

    #[test]
    fn threads_and_those_that_ended_are_one_process() {
        let before = [io(1, 1, 10, 5), io(1, 2, 20, 5)];
        let after = [io(1, 1, 11, 25), io(1, 3, 7, 25), io(4, 4, 9, 0)];
        assert_eq!(moved(&before, &after, &after), (vec![(4, 105, 9), (1, 105, 8)], 0));
    }

    #[test]
    fn a_thread_that_ends_meanwhile_leaves_its_process_unknown() {
        let second = [io(1, 1, 10, 20), io(4, 4, 1, 0)];
        assert_eq!(moved(&[], &[io(1, 1, 10, 0), io(4, 4, 1, 0)], &second), (vec![(4, 105, 1)], 1));
        assert_eq!(moved(&[], &[io(1, 1, 10, 0)], &[]), (vec![], 1), "gone");
    }

    #[test]
    fn records_are_put_together_where_a_read_cut_them() {
        struct Cut<'a>(&'a [u8]);
        impl Read for Cut<'_> {
            fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
                let (now, later) = self.0.split_at(self.0.len().min(7));
                to[..now.len()].copy_from_slice(now);
                self.0 = later;
                Ok(now.len())
            }
        }
        let records = [io(1, 1, 3, 0), io(1, 2, 4, 0)];
        let bytes: Vec<u8> = records.iter().flat_map(|io| crate::bpf::bytes_of(io).to_vec()).collect();
        let sample = Sample::read(Cut(&bytes)).expect("whole records");
        assert_eq!(sample.processes[&(1, 5)].least(), [7, 0]);
    }
}
