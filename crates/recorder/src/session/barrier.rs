//! Waiting for the programs of the kernel side that run at this moment.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, anyhow};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::Session;

/// Waits until every program has ended that was at work when it was asked.
pub struct Barrier {
    /// The map of the rings, and the first one of them.
    rings: MapHandle,
    ring: MapHandle,
}

impl Session<'_> {
    /// A barrier, for another thread.
    pub fn barrier(&self) -> Result<Barrier> {
        let ring = self.rings.first().ok_or_else(|| anyhow!("there is no ring"))?;
        Ok(Barrier { rings: MapHandle::try_from(&self.skeleton.maps.rings)?, ring: MapHandle::try_from(ring)? })
    }
}

impl Barrier {
    /// Waits. A record of what ended before is in its ring then. It takes some milliseconds, more where no CPU is free.
    pub fn wait(&self) -> Result<()> {
        // The kernel gives a map its place in a map of maps, and returns when no program uses what was there before (synchronize_rcu()
        // in maybe_wait_bpf_programs()). That it is the same one does not matter to it. membarrier() does the same, but not where CPUs
        // run without a tick.
        let ring = self.ring.as_fd().as_raw_fd();
        let updated = self.rings.update(&0u32.to_ne_bytes(), &ring.to_ne_bytes(), MapFlags::ANY);
        updated.context("cannot wait for running BPF programs to end")
    }
}
