//! Where the counts come from: `block_latency`, or `block_activity` where owners matter.

use std::collections::HashMap;

use anyhow::Result;
use iostrata_capture::op::Op;
use iostrata_capture::system::NOBODYS;

use super::{By, Hist};
use crate::groups::block_activity::{Activity, Counted, Detail, Key, Owner, Sums};
use crate::groups::block_latency::Histograms;
use crate::groups::readings::{Differences, Lost, Readings, Span};
use crate::live_tool::Prepared;

/// Process of requests; without an id the class of the data, in parentheses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Id in the initial namespace.
    pub pid: Option<u32>,
    /// Command name.
    pub comm: String,
}

/// Requests of one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucketed {
    /// Device number of the disk.
    pub dev: i32,
    /// Operation.
    pub op: Op,
    /// Process, if they are divided by it.
    pub process: Option<Process>,
    /// Logarithm of the lower bound in µs; 0: 0 to 1 µs.
    pub slot: u32,
    /// Number of requests.
    pub requests: i64,
}

/// Source of counts.
pub enum Source {
    /// Of all processes.
    Disks(Differences<Histograms>),
    /// By owner. An interval that was not kept is part of the next one.
    Owners {
        /// Running programs.
        activity: Box<Activity>,
        /// Sums since the last interval that was kept.
        sums: HashMap<Key, Sums>,
        /// Lost requests since then.
        lost: Lost,
    },
}

impl Source {
    /// Loads and attaches the programs.
    ///
    /// # Errors
    /// The reason why this kernel cannot run them.
    pub fn start(options: &Hist, prepared: &Prepared) -> Result<Source> {
        let start = prepared.start(&options.filter);
        if options.by != Some(By::Process) && !options.filter.has_owner() {
            return Ok(Source::Disks(Differences::new(Histograms::start(&start, options.latency)?)));
        }
        let counted = Counted {
            latency: options.latency,
            detail: Detail::Owners,
            most_detail: Detail::Owners,
            filter: &options.filter,
            here: &prepared.here,
        };
        let activity = Box::new(Activity::start(&start, &counted)?);
        Ok(Source::Owners { activity, sums: HashMap::new(), lost: Lost::default() })
    }

    /// Begins the first interval.
    ///
    /// # Errors
    /// If the kernel refuses the access.
    pub fn begin(&mut self) -> Result<()> {
        match self {
            Source::Disks(counters) => counters.begin(),
            Source::Owners { activity, .. } => activity.take().map(drop),
        }
    }

    /// Returns the counts and the lost requests since the last interval that was kept.
    ///
    /// # Errors
    /// If the kernel refuses the access.
    pub fn read(&mut self, by: Option<By>) -> Result<(Vec<Bucketed>, Lost)> {
        match self {
            Source::Disks(counters) => {
                // The snapshot has times of its own.
                let (rows, lost) = counters.rows(Span { since_ns: 0, until_ns: 0 })?;
                let rows = rows.into_iter().map(|row| Bucketed {
                    dev: row.dev,
                    op: row.op,
                    process: None,
                    slot: slot_of(row.low_us),
                    requests: row.requests,
                });
                Ok((rows.collect(), lost))
            }
            Source::Owners { activity, sums, lost } => {
                let taken = activity.take()?;
                for (key, more) in &taken.sums {
                    sums.entry(*key).or_default().merge(more);
                }
                lost.add(taken.lost);
                let left_out = sums.iter().filter(|(key, _)| key.owner == Owner::LeftOut);
                let left_out = left_out.map(|(_, sums)| sums.requests).sum();
                let mut lost = *lost;
                lost.add(Lost { table_full: left_out, unseen_end: 0 });
                let rows = sums.iter().filter(|(key, _)| key.owner != Owner::LeftOut);
                Ok((rows.flat_map(|(key, sums)| bucketed(activity, key, sums, by)).collect(), lost))
            }
        }
    }

    /// Ends the interval of the last reading: its counts have been handed over.
    pub fn keep(&mut self) {
        match self {
            Source::Disks(counters) => counters.keep(),
            Source::Owners { sums, lost, .. } => {
                sums.clear();
                *lost = Lost::default();
            }
        }
    }
}

/// Bucket that begins at `low_us`. The first one begins at 0, and has the width of two.
fn slot_of(low_us: i64) -> u32 {
    low_us.max(1).ilog2()
}

fn bucketed(activity: &Activity, key: &Key, sums: &Sums, by: Option<By>) -> Vec<Bucketed> {
    let process = (by == Some(By::Process)).then(|| process_of(activity, key.owner));
    let of_slot = |(slot, requests): (usize, u64)| Bucketed {
        dev: key.dev,
        op: key.op,
        process: process.clone(),
        slot: slot as u32,
        requests: requests.cast_signed(),
    };
    sums.log2_buckets().into_iter().enumerate().filter(|(_, requests)| *requests > 0).map(of_slot).collect()
}

fn process_of(activity: &Activity, owner: Owner) -> Process {
    match owner.process() {
        Ok(process) => {
            let comm = activity.process(process).map_or_else(|| NOBODYS.to_owned(), |name| name.comm);
            Process { pid: Some(process.pid), comm }
        }
        Err(name) => Process { pid: None, comm: name.to_owned() },
    }
}
