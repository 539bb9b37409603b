//! Event counters of the BPF programs, by class and CPU.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Result;
use iostrata_capture::ByTable;
use libbpf_rs::{MapCore, MapHandle};

use super::Session;
use crate::bpf::{percpu, types};
use crate::classes::of_kernel;
use crate::readings::Counts;

/// Counters by table and CPU. Those of readings are on the first CPU; the tables that describe the recording have none.
pub type Accounts = ByTable<Vec<types::account>>;

/// Access to the counters for any thread.
pub struct SharedAccounts {
    map: MapHandle,
    readings: Arc<Counts>,
}

impl SharedAccounts {
    /// Reads the counters by table and CPU.
    ///
    /// # Errors
    /// If the kernel refuses the access.
    pub fn read(&self) -> Result<Accounts> {
        read(&self.map, &self.readings)
    }
}

impl Session<'_> {
    /// Reads the event counters of the BPF programs.
    pub fn accounts(&self) -> Result<Accounts> {
        read(&self.skeleton.maps.accounts, &self.readings)
    }

    /// Creates access for another thread.
    pub fn shared_accounts(&self) -> Result<SharedAccounts> {
        let map = MapHandle::try_from(&self.skeleton.maps.accounts)?;
        Ok(SharedAccounts { map, readings: Arc::clone(&self.readings) })
    }

    /// Counts of the groups of readings, which are part of the accounts.
    pub fn readings(&self) -> Arc<Counts> {
        Arc::clone(&self.readings)
    }
}

fn read(map: &impl MapCore, readings: &Counts) -> Result<Accounts> {
    let mut accounts = Accounts::default();
    for table in of_kernel() {
        accounts[table] = percpu(map, &(table as u32).to_ne_bytes())?;
    }
    for (table, count) in readings.iter() {
        let load = |count: &AtomicU64| count.load(Relaxed);
        let (rows, inflight_full, unseen_end) = (load(&count.rows), load(&count.table_full), load(&count.unseen_end));
        let seen = rows + inflight_full + unseen_end;
        if seen > 0 {
            accounts[table] = vec![types::account { seen, inflight_full, unseen_end, ..Default::default() }];
        }
    }
    Ok(accounts)
}
