//! Tables of a capture: the one declaration of every column, in one module for each table ([`crate::table_id`] has the registry).
//!
//! `ts_ns` is nanoseconds since the Unix epoch: the monotonic clock plus one offset fixed at the start of the recording, so
//! differences are exact. Device numbers are `major << 20 | minor`, as in the kernel. Integers are signed because unsigned
//! 64-bit columns break Spark. `null` means unknown or not applicable, never zero.

use crate::TableId;
use crate::part::PartWriter;
use crate::table::{Column, Table};

pub mod block;
pub mod block_latency;
pub mod clock;
pub mod file;
pub mod fs;
pub mod loss;
pub mod process;
pub mod share;
pub mod syscall;
pub mod vfs;

pub use block::{BlockBuilder, BlockRow, BlockTable, BlockView};
pub use clock::{ClockBuilder, ClockRow, ClockTable, ClockView};
pub use file::{FileBuilder, FileRow, FileTable, FileView};
pub use fs::{FsBuilder, FsRow, FsTable, FsView};
pub use loss::{LossBuilder, LossRow, LossTable, LossView};
pub use process::{ProcessBuilder, ProcessRow, ProcessTable, ProcessView};
pub use share::{ShareBuilder, ShareRow, ShareTable, ShareView};
pub use syscall::{SyscallBuilder, SyscallRow, SyscallTable, SyscallView};
pub use vfs::{VfsBuilder, VfsRow, VfsTable, VfsView};

/// Declaration of a table as data.
#[derive(Clone, Copy)]
pub struct Declared {
    /// Table ID.
    pub id: TableId,
    /// Description of one row.
    pub doc: &'static str,
    /// Columns, in order.
    pub columns: fn() -> Vec<Column>,
    /// Function that opens a part of the table: [`PartWriter::create`].
    pub create_part: fn(&crate::dir::Dir, u32, Option<&str>) -> crate::error::Result<PartWriter>,
}

pub(crate) const fn declared<T: Table>() -> Declared {
    Declared { id: T::ID, doc: T::DOC, columns: T::columns, create_part: PartWriter::create::<T> }
}

#[cfg(test)]
mod tests;
