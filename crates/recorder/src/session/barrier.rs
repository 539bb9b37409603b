//! Barrier for the BPF programs that are running at a point in time.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, anyhow};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::Session;

/// Waits for the end of every program that is running when the wait begins.
pub struct Barrier {
    /// Map of the rings, and its first ring.
    rings: MapHandle,
    ring: MapHandle,
}

impl Session<'_> {
    /// Creates a barrier for another thread.
    pub fn barrier(&self) -> Result<Barrier> {
        let ring = self.rings.first().ok_or_else(|| anyhow!("there is no ring"))?;
        Ok(Barrier { rings: MapHandle::try_from(&self.skeleton.maps.rings)?, ring: MapHandle::try_from(ring)? })
    }
}

impl Barrier {
    /// Waits. The records of all earlier completions are then in the rings. It takes some milliseconds, more if no CPU is free.
    pub fn wait(&self) -> Result<()> {
        // Updating a map of maps returns only when no program uses the old inner map any more (synchronize_rcu() in
        // maybe_wait_bpf_programs()), even if the new one is the same. membarrier() also waits, but not for tickless CPUs.
        let ring = self.ring.as_fd().as_raw_fd();
        let updated = self.rings.update(&0u32.to_ne_bytes(), &ring.to_ne_bytes(), MapFlags::ANY);
        updated.context("cannot wait for running BPF programs to end")
    }
}
