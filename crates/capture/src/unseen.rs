//! Calls that were seen and have no row, by what kept their end from being seen.

use serde::{Deserialize, Serialize};

use crate::ledger::Amounts;
use crate::op::words;

words! {
    /// Why calls have no row.
    UnseenKind {
        /// operations of Linux aio whose end the program did not ask the kernel for: it reads its ring in its own memory
        AioNotAsked = "aio_not_asked",
        /// operations of Linux aio with an iocb that was submitted again while it may have been under way
        AioSameIocb = "aio_same_iocb",
        /// operations of io_uring that asked for no completion (IOSQE_CQE_SKIP_SUCCESS)
        UringSkipped = "io_uring_skipped",
        /// operations of io_uring whose completion the kernel does not tell of: the completion ring was full
        UringNotTold = "io_uring_not_told",
        /// operations of io_uring that this version of the recorder does not know, and which may have moved bytes of files
        UringUnknown = "io_uring_unknown",
        /// system calls by the 32-bit entry
        Compat = "compat",
    }
}

/// Calls of one kind without a row. Those whose bytes are known are counted in the accounts too, as lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithoutRow {
    /// Why.
    pub kind: UnseenKind,
    /// Of io_uring the name of the operation, where the kernel's is all that is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opcode: Option<String>,
    /// How many.
    pub calls: u64,
    /// What they can have carried at most; `None` where that is not known.
    pub io: Option<Amounts>,
}

impl WithoutRow {
    /// In words, for people: `system calls by the 32-bit entry: 3`.
    pub fn text(&self) -> String {
        let opcode = self.opcode.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{}{opcode}: {}", self.kind.doc(), self.calls)
    }
}
