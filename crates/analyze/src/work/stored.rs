//! Units of captures without events: those that files of partial results name.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};

use super::Worker;
use crate::aggregate::Settings;
use crate::aggregate::sequence::Sequences;
use crate::scan::Scan;
use crate::store::{Planned, Store};

/// Capture without events: its scan, its path for messages, and its units.
pub struct Eventless<'a> {
    /// Inputs that do not come from events.
    pub scan: &'a Scan<'a>,
    /// Path.
    pub path: String,
    /// Units of the scan, in order.
    pub units: &'a [Planned],
}

/// Units of all captures without events, while they are taken.
pub(super) struct Stored<'a> {
    sources: &'a [Eventless<'a>],
    units: Vec<(usize, &'a Planned)>,
    /// Units that are in none of the files, by capture.
    missing: Vec<AtomicU64>,
}

impl<'a> Stored<'a> {
    pub(super) fn of(sources: &'a [Eventless<'a>]) -> Stored<'a> {
        let units = sources.iter().enumerate().flat_map(|(of, source)| source.units.iter().map(move |unit| (of, unit)));
        Stored { sources, units: units.collect(), missing: sources.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    /// Returns the number of units.
    pub(super) fn units(&self) -> usize {
        self.units.len()
    }

    /// Takes the stored result of unit `index`.
    pub(super) fn take(&self, worker: &mut Worker, index: usize, sequences: &Mutex<Sequences>) -> Result<()> {
        let (of, planned) = self.units[index];
        let scan = self.sources[of].scan;
        let found = match worker.store {
            Some(store) => worker.take_stored((store, worker.id(store, scan, planned)?), scan, planned, sequences)?,
            None => false,
        };
        if !found {
            self.missing[of].fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Checks that all units were found. A share does not need them: it is merged later.
    pub(super) fn check(&self, settings: &Settings, store: Option<&Store>) -> Result<()> {
        let missing =
            self.sources.iter().zip(&self.missing).map(|(source, missing)| (source, missing.load(Ordering::Relaxed)));
        let Some((source, missing)) = missing.into_iter().find(|(_, missing)| *missing > 0) else { return Ok(()) };
        if store.is_some_and(Store::is_share) {
            return Ok(());
        }
        let (path, all) = (&source.path, source.units.len());
        if source.units.iter().any(|unit| unit.made.is_none()) {
            bail!(
                "{path}: the capture was not finished when its files were made, so some of its partial results are in none of them; expected a \
                 finished one (`iostrata-analyze recover` repairs an interrupted one), or its directory, to read its events"
            );
        }
        if settings.counts {
            bail!(
                "{path}: {missing} of {all} partial results are in none of the files, expected those of all shares, made with the same analysis \
                 and options (also --level, and times in place of offsets, where captures differ); or the directory of the capture, to read its events"
            );
        }
        bail!(
            "{path}: {missing} of {all} partial results of a second reading, which depends on all captures and shares, are in none of the files, \
             expected also files of a second round (`partial` with all files as --from); or the directory of the capture, to read its events"
        );
    }
}
