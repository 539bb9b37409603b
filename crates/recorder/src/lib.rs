//! The recorder: loads the BPF programs, drains their rings and writes the capture.
//!
//! ```text
//! options ─► host facts ─► plan: decide, load, attach ─► drain thread ─► sink (writer thread) ─► capture
//!                                     └── event accounting: seen, written, lost ────────────────► manifest
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod appended;
pub mod books;
pub mod bpf;
pub mod capture_dir;
pub mod check;
pub mod classes;
pub mod cli;
pub mod clock;
pub mod command;
pub mod completeness_times;
pub mod decode;
pub mod device_check;
pub mod device_filter;
pub mod drain;
pub mod fullness;
pub mod groups;
pub mod health;
pub mod heap;
pub mod here;
pub mod hist;
pub mod host;
pub mod intake;
pub mod kernel_facts;
pub mod levels;
pub mod limits;
pub mod live_tool;
pub mod losses;
pub mod memory;
pub mod metrics;
pub mod options;
pub mod outputs;
pub mod pace;
pub mod plan;
pub mod privacy;
pub mod privilege;
pub mod process_io;
pub mod progress;
pub mod readings;
pub mod record;
pub mod report;
pub mod sampling;
pub mod selection;
pub mod self_telemetry;
pub mod service;
pub mod session;
pub mod signals;
pub mod sink;
pub mod socket;
pub mod stat;
pub mod status;
pub mod top;
pub mod unfinished;
pub mod watch;
pub mod without_row;
