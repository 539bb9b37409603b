//! Calls that began before the recording and have not ended at its stop.

use std::io::Read;

use anyhow::{Context, Result};
use libbpf_rs::{Iter, Link};

use super::Session;

/// The program that looks at the threads.
pub const STILL_CALLING: &str = "iostrata_still_calling";

/// To be read once.
#[derive(Default)]
pub struct StillCalling(Option<(Link, Iter)>);

impl StillCalling {
    /// Made at the start, because it takes privileges.
    pub fn attached(link: Link) -> Result<StillCalling> {
        let iter = Iter::new(&link).context("cannot create the BPF iterator over tasks")?;
        Ok(StillCalling(Some((link, iter))))
    }
}

impl Session<'_> {
    /// Has the kernel side count them; to be called while rows are still made.
    pub fn count_still_calling(&mut self) -> Result<()> {
        let Some((_, mut iter)) = self.still_calling.0.take() else { return Ok(()) };
        // The program writes nothing: what it finds is in its counts.
        iter.read_to_end(&mut Vec::new()).map(|_| ()).context("cannot read the BPF iterator over tasks")
    }
}
