//! Calls that were seen and have no row, by the reason why their end was not captured.

use serde::{Deserialize, Serialize};

use crate::ledger::Amounts;
use crate::op::words;

words! {
    /// Reason why calls have no row.
    UnseenKind {
        /// Linux aio operations with a completion that the program read from the ring in its own memory, not with io_getevents
        AioNotAsked = "aio_not_asked",
        /// Linux aio operations with an iocb that was submitted again while it may have been in flight
        AioSameIocb = "aio_same_iocb",
        /// io_uring operations that requested no completion (IOSQE_CQE_SKIP_SUCCESS)
        UringSkipped = "io_uring_skipped",
        /// io_uring operations with a completion that the kernel did not report: the completion ring was full
        UringNotTold = "io_uring_not_told",
        /// io_uring operations that this version of the recorder does not know, and which may have moved bytes of files
        UringUnknown = "io_uring_unknown",
        /// system calls by the 32-bit entry
        Compat = "compat",
    }
}

/// Calls of one kind without a row. Those with known bytes are also counted as lost in the event accounting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithoutRow {
    /// Reason.
    pub kind: UnseenKind,
    /// For io_uring the name of the operation, where only the kernel's name is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opcode: Option<String>,
    /// Number of calls.
    pub calls: u64,
    /// Upper bound of their I/O; `None` if unknown.
    pub io: Option<Amounts>,
}

impl WithoutRow {
    /// Returns a text for people: `system calls by the 32-bit entry: 3`.
    pub fn text(&self) -> String {
        let opcode = self.opcode.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{}{opcode}: {}", self.kind.doc(), self.calls)
    }
}
