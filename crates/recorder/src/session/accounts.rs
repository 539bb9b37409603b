//! Event counters of the BPF programs, by class and CPU.

use anyhow::Result;
use iostrata_capture::ByTable;
use libbpf_rs::{MapCore, MapHandle};

use super::{Session, percpu};
use crate::bpf::types;
use crate::classes::of_kernel;

/// Counters by table and CPU. The recorder's own tables have none.
pub type Accounts = ByTable<Vec<types::account>>;

/// Access to the counters for any thread.
pub struct SharedAccounts(MapHandle);

impl SharedAccounts {
    /// Reads the counters by table and CPU.
    ///
    /// # Errors
    /// If the kernel refuses the access.
    pub fn read(&self) -> Result<Accounts> {
        read(&self.0)
    }
}

impl Session<'_> {
    /// Reads the event counters of the BPF programs.
    pub fn accounts(&self) -> Result<Accounts> {
        read(&self.skeleton.maps.accounts)
    }

    /// Creates access for another thread.
    pub fn shared_accounts(&self) -> Result<SharedAccounts> {
        Ok(SharedAccounts(MapHandle::try_from(&self.skeleton.maps.accounts)?))
    }
}

fn read(map: &impl MapCore) -> Result<Accounts> {
    let mut accounts = Accounts::default();
    for table in of_kernel() {
        accounts[table] = percpu(map, &(table as u32).to_ne_bytes())?;
    }
    Ok(accounts)
}
