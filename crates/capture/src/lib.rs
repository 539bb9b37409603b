//! The capture on disk: what a recorder writes and a reader may rely on.
//!
//! This crate owns the tables ([`table_id`]) and their columns ([`tables`]), the operations that rows name ([`op`]), the parts
//! that hold rows ([`part`]), their list ([`list`]), the manifest beside them ([`manifest`]), the loss ledger in it
//! ([`ledger`]), what becomes of a capture that was cut off ([`recover`]), how one is made of rows that are there already ([`author`]), how files in a directory that others may change are found ([`dir`]), what a program that is ended leaves ([`ending`]), its exit codes ([`exit`]), what holds when a library gives up on a part
//! ([`guard`]), how messages get out ([`message`]), and the rules that say which system a process belongs to ([`system`]). It knows nothing of BPF and nothing of
//! analysis.
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

pub mod author;
pub mod capture;
pub mod census;
pub mod column;
pub mod dir;
pub mod ending;
pub mod error;
pub mod exit;
mod files;
pub mod guard;
pub mod ledger;
pub mod list;
pub mod manifest;
pub mod message;
pub mod op;
pub mod part;
pub mod plain;
pub mod program;
pub mod recover;
pub mod redact;
pub mod segment;
pub mod system;
pub mod table;
pub mod table_id;
pub mod tables;
pub mod unbegun;
pub mod unseen;
pub mod wall;
pub mod whole;

pub use capture::Capture;
pub use dir::Dir;
pub use error::{Error, Result};
pub use table_id::{ByTable, TableId};

/// The version of everything on disk. A reader refuses a capture with a higher one.
pub const SCHEMA_VERSION: u32 = 1;
