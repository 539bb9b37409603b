//! Page owner tables: their size, and their evictions.

use anyhow::Result;
use iostrata_capture::ledger::BoundedTable;
use libbpf_rs::MapCore;

use super::Session;
use crate::bpf::{percpu, types};

/// Number of inodes and of file chunks with a remembered writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnerTables {
    /// Inodes.
    pub(super) inodes: u32,
    /// Pieces (chunks) of files.
    pub(super) page_chunks: u32,
}

impl OwnerTables {
    /// Sized by the machine's memory, of which a fifth may be dirty at once (`vm.dirty_ratio`). Both tables together take 0.3 % of
    /// it, at least 20 MB and at most 500 MB.
    pub(super) fn of(machine_bytes: u64) -> OwnerTables {
        let entries = |each: u64, most: u64| (machine_bytes / each).clamp(LEAST_OWNERS, most) as u32;
        match machine_bytes {
            0 => OwnerTables { inodes: 1, page_chunks: 1 },
            _ => OwnerTables { inodes: entries(256 << 10, 1 << 20), page_chunks: entries(64 << 10, 1 << 21) },
        }
    }
}

/// Minimum number of inodes and of file chunks, for the smallest machine.
const LEAST_OWNERS: u64 = 65536;

impl Session<'_> {
    /// Page owner tables, with their evictions. Call after detaching; empty without them.
    pub fn owner_tables(&self) -> Result<Vec<BoundedTable>> {
        let maps = &self.skeleton.maps;
        let by_cpu = percpu::<types::account>(&maps.accounts, &types::event_class::CLASS_BLOCK.0.to_ne_bytes())?;
        let given = |count: fn(&types::account) -> u64| by_cpu.iter().map(count).sum();
        Ok([
            bounded_table("inodes", &maps.inode_owners, given(|cpu| cpu.inodes_remembered)),
            bounded_table("pieces of files", &maps.page_owners, given(|cpu| cpu.chunks_remembered)),
            bounded_table("writers", &maps.writers, given(|cpu| cpu.writers_remembered)),
        ]
        .into_iter()
        .filter(|table| table.entries > 1)
        .collect())
    }
}

/// Evictions from a map after `given` insertions. Only the kernel removes its entries.
fn bounded_table(name: &str, map: &impl MapCore, given: u64) -> BoundedTable {
    let entries = u64::from(map.max_entries());
    // Counting takes a system call per entry, so it is skipped if there was space for all, even with the kernel's per-CPU
    // reserves.
    let had_room = given < entries / 2;
    let forgotten = if had_room { 0 } else { given.saturating_sub(map.keys().count() as u64) };
    BoundedTable { name: name.to_owned(), entries, given, forgotten }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_owners_follow_the_memory_within_bounds() {
        let sizes = |gib: u64| OwnerTables::of(gib << 30);
        assert_eq!(sizes(1), OwnerTables { inodes: 65_536, page_chunks: 65_536 });
        assert_eq!(sizes(24), OwnerTables { inodes: 98_304, page_chunks: 393_216 });
        assert_eq!(sizes(4096), OwnerTables { inodes: 1 << 20, page_chunks: 1 << 21 });
    }
}
