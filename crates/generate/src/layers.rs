//! Tables of all layers, written to the capture.

use iostrata_capture::capture_writer::CaptureWriter;
use iostrata_capture::list::Part;
use iostrata_capture::tables::{BlockTable, FsTable, SyscallTable, VfsTable};
use iostrata_capture::{Result, TableId};

use crate::reorder::Ordered;

/// Rows of all layers.
pub struct Layers {
    /// System calls.
    pub syscall: Ordered<SyscallTable>,
    /// VFS operations.
    pub vfs: Ordered<VfsTable>,
    /// Page cache, writeback and journal.
    pub fs: Ordered<FsTable>,
    /// Block requests.
    pub block: Ordered<BlockTable>,
}

impl Layers {
    /// Creates empty tables.
    pub fn new(author: &CaptureWriter) -> Layers {
        Layers {
            syscall: Ordered::new(author.table()),
            vfs: Ordered::new(author.table()),
            fs: Ordered::new(author.table()),
            block: Ordered::new(author.table()),
        }
    }

    /// Writes the rows of operations that ended by `now_ns`. No later operation may begin before `now_ns`.
    pub fn until(&mut self, now_ns: i64) -> Result<()> {
        self.syscall.until(now_ns)?;
        self.vfs.until(now_ns)?;
        self.fs.until(now_ns)?;
        self.block.until(now_ns)
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.by_table().iter().map(|(_, rows)| rows).sum()
    }

    /// Number of rows by table.
    pub fn by_table(&self) -> [(TableId, u64); 4] {
        [
            (TableId::Syscall, self.syscall.rows()),
            (TableId::Vfs, self.vfs.rows()),
            (TableId::Fs, self.fs.rows()),
            (TableId::Block, self.block.rows()),
        ]
    }

    /// Finishes the last part of each table. Returns all parts.
    pub fn finish(self) -> Result<Vec<Part>> {
        let by_table = [self.syscall.finish()?, self.vfs.finish()?, self.fs.finish()?, self.block.finish()?];
        Ok(by_table.into_iter().flatten().collect())
    }
}
