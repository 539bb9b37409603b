//! File system records that the BPF programs still aggregate.
//!
//! A record stays in a slot of its CPU until the slot is needed for another one. To limit its waiting time, the recorder requests it: it
//! runs a program on each CPU with records, because only that CPU may access its slots.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use iostrata_capture::message::tell;
use libbpf_rs::skel::Skel;
use libbpf_rs::{MapCore, MapHandle};
use rustix::io::Errno;

use super::Session;
use crate::bpf::{percpu, run_on_cpu, types};
use crate::clock;
use crate::groups::fs::GIVE;
use crate::pace::Waited;

/// Number of attempts to take a slot.
const TRIES: u32 = 4;

/// Slots of all CPUs, for a drain thread.
pub struct AggregationSlots {
    give: OwnedFd,
    slots: MapHandle,
    waiting: MapHandle,
    slot_count: u32,
    has_failed: bool,
}

impl Session<'_> {
    /// Returns the slots; none if the file system layer is not recorded.
    pub fn gathering(&self) -> Result<Option<AggregationSlots>> {
        let program = self.skeleton.object().progs().find(|program| program.name().to_str() == Some(GIVE));
        let Some(program) = program.filter(|program| program.autoload()) else { return Ok(None) };
        let maps = &self.skeleton.maps;
        Ok(Some(AggregationSlots {
            give: program.as_fd().try_clone_to_owned().context("cannot keep a program")?,
            slots: MapHandle::try_from(&maps.fs_slots)?,
            waiting: MapHandle::try_from(&maps.fs_waiting)?,
            slot_count: maps.fs_slots.max_entries(),
            has_failed: false,
        }))
    }
}

impl AggregationSlots {
    /// Requests the records that have waited this long. Returns whether all of them are in the rings. Records of an offline CPU are not
    /// available.
    pub fn give(&mut self, waited: Waited) -> bool {
        let now_ns = clock::monotonic_ns().cast_unsigned();
        let before = |age: std::time::Duration| now_ns.saturating_sub(age.as_nanos() as u64).saturating_add(1);
        let given = self.give_before(before(waited.idle), before(waited.begun));
        if let (Err(error), false) = (&given, self.has_failed) {
            self.has_failed = true;
            tell(&format!(
                "iostrata: {error:#}; rows of fs may be late, and a crash may lose more than --flush-interval\n"
            ));
        }
        given.unwrap_or(false)
    }

    fn give_before(&self, idle_ns: u64, begun_ns: u64) -> Result<bool> {
        let mut is_all = true;
        let waiting = percpu::<u64>(&self.waiting, &0u32.to_ne_bytes())?;
        for (cpu, _) in (0u32..).zip(waiting).filter(|(_, waits)| *waits != 0) {
            for first in (0..self.slot_count).step_by(types::giving::FS_SLOTS_A_RUN.0 as usize) {
                match self.give_some(cpu, &[u64::from(first), idle_ns, begun_ns]) {
                    Ok(is_given) => is_all &= is_given,
                    // The CPU is offline. Its records stay until it is online again, or the recording ends.
                    Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => break,
                    Err(error) => return Err(not_run(cpu, error)),
                }
            }
        }
        Ok(is_all)
    }

    /// Requests the due records from some slots of a CPU. A slot in use by an interrupted program is free at the next attempt.
    fn give_some(&self, cpu: u32, arguments: &[u64]) -> io::Result<bool> {
        for _ in 0..TRIES {
            if run_on_cpu(self.give.as_fd(), cpu, arguments)? & types::giving::FS_DUE.0 == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Records that are still aggregated. Call after detaching, and drain the rings as well: records that were already handed over are
    /// not included.
    pub fn rest(&self) -> Result<Vec<types::fs_event>> {
        let mut events = Vec::new();
        for key in 0..self.slot_count {
            let by_cpu = percpu::<types::fs_slot>(&self.slots, &key.to_ne_bytes())?;
            let gathered = by_cpu.into_iter().filter(|slot| slot.event.events > 0);
            events.extend(gathered.map(|slot| types::fs_event {
                duration_ns: slot.last_ns as i64 - slot.event.head.start_ns,
                ..slot.event
            }));
        }
        Ok(events)
    }
}

fn not_run(cpu: u32, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("cannot run {GIVE} on CPU {cpu}"))
}
