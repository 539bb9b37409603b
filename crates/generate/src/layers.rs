//! The tables of all layers, on their way into the capture.

use iostrata_capture::author::Author;
use iostrata_capture::list::Part;
use iostrata_capture::tables::{BlockTable, FsTable, SyscallTable, VfsTable};
use iostrata_capture::{Result, TableId};

use crate::order::Ordered;

/// The rows of all layers.
pub struct Layers {
    /// System calls.
    pub syscall: Ordered<SyscallTable>,
    /// Operations of the VFS.
    pub vfs: Ordered<VfsTable>,
    /// The page cache, writeback, the journal.
    pub fs: Ordered<FsTable>,
    /// Requests.
    pub block: Ordered<BlockTable>,
}

impl Layers {
    /// None yet.
    pub fn new(author: &Author) -> Layers {
        Layers {
            syscall: Ordered::new(author.table()),
            vfs: Ordered::new(author.table()),
            fs: Ordered::new(author.table()),
            block: Ordered::new(author.table()),
        }
    }

    /// Lets go what is over at `now_ns`: nothing begins any more before that.
    pub fn until(&mut self, now_ns: i64) -> Result<()> {
        self.syscall.until(now_ns)?;
        self.vfs.until(now_ns)?;
        self.fs.until(now_ns)?;
        self.block.until(now_ns)
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.by_table().iter().map(|(_, rows)| rows).sum()
    }

    /// The same by table.
    pub fn by_table(&self) -> [(TableId, u64); 4] {
        [
            (TableId::Syscall, self.syscall.rows()),
            (TableId::Vfs, self.vfs.rows()),
            (TableId::Fs, self.fs.rows()),
            (TableId::Block, self.block.rows()),
        ]
    }

    /// Ends the last part of each. All parts.
    pub fn finish(self) -> Result<Vec<Part>> {
        let by_table = [self.syscall.finish()?, self.vfs.finish()?, self.fs.finish()?, self.block.finish()?];
        Ok(by_table.into_iter().flatten().collect())
    }
}
