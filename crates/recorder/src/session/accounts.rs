//! What the kernel side counts of each class, by CPU.

use anyhow::Result;
use iostrata_capture::ByTable;
use libbpf_rs::{MapCore, MapHandle};

use super::{Session, percpu};
use crate::bpf::types;
use crate::classes::of_kernel;

/// By table and CPU. The recorder's own tables have none.
pub type Accounts = ByTable<Vec<types::account>>;

/// The kernel side's accounts, for any thread.
pub struct SharedAccounts(MapHandle);

impl SharedAccounts {
    /// By table and CPU.
    ///
    /// # Errors
    /// Where the kernel refuses it.
    pub fn read(&self) -> Result<Accounts> {
        read(&self.0)
    }
}

impl Session<'_> {
    /// The kernel side's books.
    pub fn accounts(&self) -> Result<Accounts> {
        read(&self.skeleton.maps.accounts)
    }

    /// The same for another thread.
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
