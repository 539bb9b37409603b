//! Calls that began before the recording and have not returned at its stop.

use std::io::Read;

use anyhow::{Context, Result};
use libbpf_rs::{Iter, Link};

use super::Session;

/// Iterator that is read once.
#[derive(Default)]
pub struct StillCalling(Option<(Link, Iter)>);

impl StillCalling {
    /// Created at the start, because it requires privileges.
    pub fn attached(link: Link) -> Result<StillCalling> {
        let iter = Iter::new(&link).context("cannot create the BPF iterator over tasks")?;
        Ok(StillCalling(Some((link, iter))))
    }
}

impl Session<'_> {
    /// Counts these calls in the BPF program; must be called while calls still become rows.
    pub fn count_still_calling(&mut self) -> Result<()> {
        let Some((_, mut iter)) = self.still_calling.0.take() else { return Ok(()) };
        // The program writes no output: its results are in its counters.
        iter.read_to_end(&mut Vec::new()).map(|_| ()).context("cannot read the BPF iterator over tasks")
    }
}
