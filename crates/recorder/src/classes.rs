//! The classes of events: which table each fills. The one place where the kernel's list and the capture's tables meet.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use iostrata_capture::dir::Dir;
use iostrata_capture::part::PartWriter;
use iostrata_capture::table::{Table, TableBuilder};
use iostrata_capture::tables::{
    BlockTable, ClockTable, FileTable, FsTable, LossTable, ProcessTable, ShareTable, SyscallTable, VfsTable,
};

use crate::bpf::types::event_class;

/// A class of events: an index into the class names of `bpf/events.h`.
pub type Class = usize;

/// How many classes there are.
pub const CLASSES: usize = LOSS + 1;

/// Where the recorder's own tables begin: what comes before are classes of the kernel side.
const OWN: usize = event_class::CLASS_COUNT.0 as usize;

/// Classes of which there may be far more events than of all others, which every ratio needs: these are lost first where there is more than
/// anyone can take. They have rings of their own, and a part of the queue to the writer is not theirs.
pub const OFTEN: [Class; 3] = [SYSCALL, VFS, FS];

/// The recorder's own tables.
pub const OWN_CLASSES: std::ops::Range<Class> = OWN..CLASSES;

macro_rules! classes {
    ($($name:ident = $number:expr, $field:ident: $table:ty;)+) => {
        $(
            #[doc = concat!("Events of the table `", stringify!($field), "`.")]
            pub const $name: Class = $number as Class;
        )+

        /// Gathers rows, by class.
        #[derive(Default)]
        pub struct Builders {
            $(
                #[doc = concat!("Rows of `", stringify!($field), "`.")]
                pub $field: <$table as Table>::Builder,
            )+
        }

        impl Builders {
            /// Rows of `class` gathered since the last [`Builders::finish`].
            pub fn rows(&self, class: Class) -> usize {
                match class {
                    $($name => self.$field.rows(),)+
                    _ => 0,
                }
            }

            /// Bytes of the texts in these rows.
            pub fn text_bytes(&self, class: Class) -> usize {
                match class {
                    $($name => self.$field.text_bytes(),)+
                    _ => 0,
                }
            }

            /// The rows of `class`, as one batch; its builder is empty afterwards.
            pub fn finish(&mut self, class: Class) -> Result<RecordBatch, ArrowError> {
                match class {
                    $($name => self.$field.finish(),)+
                    _ => Err(ArrowError::InvalidArgumentError(format!("there is no class {class}"))),
                }
            }
        }

        /// The name of the table that `class` fills.
        pub fn table_of(class: Class) -> &'static str {
            match class {
                $($name => <$table as Table>::NAME,)+
                _ => "",
            }
        }

        /// Opens part `number` of the table that `class` fills, of the capture that is called `id`.
        pub fn open_part(class: Class, directory: &Dir, number: u32, id: &str) -> anyhow::Result<PartWriter> {
            match class {
                $($name => Ok(PartWriter::create::<$table>(directory, number, Some(id))?),)+
                _ => anyhow::bail!("there is no class {class}"),
            }
        }
    };
}

classes! {
    SYSCALL = event_class::CLASS_SYSCALL.0, syscall: SyscallTable;
    VFS = event_class::CLASS_VFS.0, vfs: VfsTable;
    BLOCK = event_class::CLASS_BLOCK.0, block: BlockTable;
    PROCESS = event_class::CLASS_PROCESS.0, process: ProcessTable;
    SHARE = event_class::CLASS_SHARE.0, share: ShareTable;
    FS = event_class::CLASS_FS.0, fs: FsTable;
    FILE = event_class::CLASS_FILE.0, file: FileTable;
    CLOCK = OWN, clock: ClockTable;
    LOSS = OWN + 1, loss: LossTable;
}
