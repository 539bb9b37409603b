//! Tables as the recorder sees them: the frequent ones, their class numbers in the BPF programs, and the builders for the next batch.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use iostrata_capture::TableId;
use iostrata_capture::table::{Table, TableBuilder};
use iostrata_capture::tables::{BlockTable, FileTable, FsTable, ProcessTable, ShareTable, SyscallTable, VfsTable};

use crate::bpf::types::event_class as kernel;

/// Tables that may get far more rows than all others, which every ratio needs. Under overload their events are lost first: they have separate
/// rings, and a part of the writer's queue is reserved for the other tables.
pub const OFTEN: [TableId; 3] = [TableId::Syscall, TableId::Vfs, TableId::Fs];

/// Number of tables that the BPF programs emit events for: the first ones.
const KERNEL_CLASSES: usize = kernel::CLASS_COUNT.0 as usize;

const _: () = {
    let numbers = [
        (kernel::CLASS_SYSCALL.0, TableId::Syscall),
        (kernel::CLASS_VFS.0, TableId::Vfs),
        (kernel::CLASS_FS.0, TableId::Fs),
        (kernel::CLASS_BLOCK.0, TableId::Block),
        (kernel::CLASS_SHARE.0, TableId::Share),
        (kernel::CLASS_PROCESS.0, TableId::Process),
        (kernel::CLASS_FILE.0, TableId::File),
    ];
    assert!(numbers.len() == KERNEL_CLASSES, "a class without a table");
    let mut place = 0;
    while place < numbers.len() {
        assert!(
            numbers[place].0 as usize == numbers[place].1 as usize,
            "bpf/core/events.h has another order than TableId"
        );
        place += 1;
    }
    let mut place = 0;
    while place < TableId::COUNT {
        assert!(TableId::ALL[place].is_recorders() == (place >= KERNEL_CLASSES), "a table of neither side");
        place += 1;
    }
};

/// Tables that the BPF programs emit events for.
pub fn of_kernel() -> impl Iterator<Item = TableId> {
    TableId::ALL.iter().copied().take(KERNEL_CLASSES)
}

/// Table for this event class number of the BPF programs.
pub fn of_number(number: u32) -> Option<TableId> {
    of_kernel().nth(usize::try_from(number).ok()?)
}

macro_rules! builders {
    ($($id:ident in $field:ident: $table:ty;)+) => {
        /// Builders of rows, by table of the kernel side.
        #[derive(Default)]
        pub struct Builders {
            $(
                #[doc = concat!("Rows of the table `", stringify!($field), "`.")]
                pub $field: <$table as Table>::Builder,
            )+
        }

        const _: () = {
            $(assert!(<$table as Table>::ID as usize == TableId::$id as usize, "a builder of another table");)+
        };

        impl Builders {
            /// Number of rows of `table` since the last [`Builders::finish`].
            pub fn rows(&self, table: TableId) -> usize {
                match table {
                    $(TableId::$id => self.$field.rows(),)+
                    _ => 0,
                }
            }

            /// Bytes of text in these rows.
            pub fn text_bytes(&self, table: TableId) -> usize {
                match table {
                    $(TableId::$id => self.$field.text_bytes(),)+
                    _ => 0,
                }
            }

            /// Returns the rows of `table` as one batch, and empties its builder; none if the recorder generates them.
            pub fn finish(&mut self, table: TableId) -> Result<Option<RecordBatch>, ArrowError> {
                match table {
                    $(TableId::$id => self.$field.finish().map(Some),)+
                    _ => Ok(None),
                }
            }
        }
    };
}

builders! {
    Syscall in syscall: SyscallTable;
    Vfs in vfs: VfsTable;
    Fs in fs: FsTable;
    Block in block: BlockTable;
    Share in share: ShareTable;
    Process in process: ProcessTable;
    File in file: FileTable;
}
