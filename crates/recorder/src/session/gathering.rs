//! What the kernel side gathers of the file system layer, and has not given away.
//!
//! A record lies in a slot of its CPU until the slot is wanted for something else. So that it does not lie there for longer than rows may
//! wait, the kernel side is asked for it: a program is run on each CPU that has any, which alone may touch that CPU's slots.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use iostrata_capture::message::tell;
use libbpf_rs::skel::Skel;
use libbpf_rs::{MapCore, MapHandle};
use rustix::io::Errno;

use super::{Session, percpu};
use crate::bpf::{run_on_cpu, types};
use crate::clock;
use crate::pace::Waited;

/// A program that no tracepoint runs.
const GIVE: &str = "iostrata_fs_give";

/// How often a slot is asked for that is not given.
const TRIES: u32 = 4;

/// Whether a program is run by the recorder and attached to nothing.
pub fn is_run_by_recorder(program: &str) -> bool {
    program == GIVE
}

/// The slots of all CPUs, for a drain thread.
pub struct Gathering {
    give: OwnedFd,
    slots: MapHandle,
    waiting: MapHandle,
    slot_count: u32,
    has_failed: bool,
}

impl Session<'_> {
    /// Where events are gathered; none where the file system layer is not recorded.
    pub fn gathering(&self) -> Result<Option<Gathering>> {
        let program = self.skeleton.object().progs().find(|program| program.name().to_str() == Some(GIVE));
        let Some(program) = program.filter(|program| program.autoload()) else { return Ok(None) };
        let maps = &self.skeleton.maps;
        Ok(Some(Gathering {
            give: program.as_fd().try_clone_to_owned().context("cannot keep a program")?,
            slots: MapHandle::try_from(&maps.fs_slots)?,
            waiting: MapHandle::try_from(&maps.fs_waiting)?,
            slot_count: maps.fs_slots.max_entries(),
            has_failed: false,
        }))
    }
}

impl Gathering {
    /// Has the kernel side put into the rings what has waited so long. Whether all of that is there; of a CPU that was taken offline that
    /// cannot be had.
    pub fn give(&mut self, waited: Waited) -> bool {
        let now_ns = clock::monotonic_ns().cast_unsigned();
        let before = |age: std::time::Duration| now_ns.saturating_sub(age.as_nanos() as u64).saturating_add(1);
        let given = self.give_before(before(waited.idle), before(waited.begun));
        if let (Err(error), false) = (&given, self.has_failed) {
            self.has_failed = true;
            tell(&format!(
                "iostrata: {error:#}; rows of fs may come late, and a kill may cost more than --flush-interval\n"
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
                    // It was taken offline. What it has, it has until it is back, or the recording ends.
                    Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => break,
                    Err(error) => return Err(not_run(cpu, error)),
                }
            }
        }
        Ok(is_all)
    }

    /// What is due of some slots of a CPU. A slot that a program is at work on, which was interrupted, is free when it is asked again.
    fn give_some(&self, cpu: u32, arguments: &[u64]) -> io::Result<bool> {
        for _ in 0..TRIES {
            if run_on_cpu(self.give.as_fd(), cpu, arguments)? & types::giving::FS_DUE.0 == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is still being gathered. To be asked after detaching, by whoever asks for the rest: what is given is there no more.
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
