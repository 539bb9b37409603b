//! Capture on disk: the format that a recorder writes and a reader may rely on.
//!
//! This crate defines the tables ([`table_id`]) and their columns ([`tables`]), the operations in rows ([`op`]), the parts that
//! contain rows ([`part`]), their list ([`list`]), the manifest ([`manifest`]) and the event accounting in it ([`ledger`]). It
//! recovers interrupted captures ([`recover`]), writes captures from existing rows ([`author`]), finds files in directories
//! that others can change ([`dir`]), removes unfinished output at termination ([`ending`]), defines exit codes ([`exit`]),
//! turns decoder panics into errors ([`guard`]), prints messages ([`message`]), and maps processes to systems by rules
//! ([`system`]). It is independent of BPF and of the analysis.
//!
//! ```text
//! run1/
//!   manifest.json
//!   parts.jsonl
//!   syscall/part-000001.parquet …
//!   vfs/part-000001.parquet …
//!   block/part-000001.parquet …
//!   process/part-000001.parquet …
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod capture;
pub mod capture_writer;
pub mod column;
pub mod completeness;
pub mod dir;
pub mod ending;
pub mod error;
pub mod exit;
mod files;
pub mod ledger;
pub mod list;
pub mod manifest;
pub mod message;
pub mod op;
pub mod panic_guard;
pub mod part;
pub mod partitions;
pub mod plain;
pub mod program;
pub mod recover;
pub mod redact;
pub mod row_check;
pub mod segment;
pub mod system;
pub mod table;
pub mod table_id;
pub mod tables;
pub mod unbegun;
pub mod wall_clock;
pub mod without_row;

pub use capture::Capture;
pub use dir::Dir;
pub use error::{Error, Result};
pub use table_id::{ByTable, TableId};

/// Version of everything on disk. A reader refuses a capture with a higher version.
pub const SCHEMA_VERSION: u32 = 1;
