//! Analysis of captures: tables from recorded events.
//!
//! ```text
//! part ─ scan ─► Partial ─┐
//! part ─ scan ─► Partial ─┼─ combine ─► Finished ─ columns ─► DataFrame ─► CSV, terminal
//! part ─ scan ─► Partial ─┘
//! ```
//!
//! [`analysis`] goes from options to results. [`load`] reads everything of captures except their events, and [`select`] filters. [`scan`] folds one
//! part into a [`partial::Partial`].
//! [`work`] plans the units of reading, [`parallel`] runs them on threads, [`memory`] limits how many run at once, [`progress`] shows the progress,
//! [`store`] keeps partial results in files, and [`aggregate`] has the contents of a partial result.
//! [`owners`] and [`files`] attribute rows, [`names`] names entities, [`texts`] stores millions of texts, and [`index`] finds values by number.
//! [`analyses`] has a folder for each analysis: its tables with their columns, its view on the terminal and its charts. [`frame`] builds tables, [`format`] writes them as
//! files, [`about`] records their provenance, [`terminal`] prints them, and [`page`] draws them. [`trace`] exports individual operations for trace
//! viewers.
//! [`trust`] judges the quality of a result: missing layers and lost events. [`loss`] has the times of losses, [`notes`] other remarks, and
//! [`valid`] checks times and sizes.
//! [`compare`] compares captures, [`import`] imports traces, and [`recover`] repairs incomplete captures. The crate `iostrata-capture` has the
//! format on disk and the rules for systems.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod about;
pub mod aggregate;
pub mod analyses;
pub mod analysis;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod disks;
pub mod entity;
pub mod event;
pub mod files;
pub mod format;
pub mod frame;
pub mod import;
pub mod index;
pub mod load;
pub mod loss;
pub mod memory;
pub mod names;
pub mod notes;
pub mod options;
pub mod output;
pub mod owners;
pub mod page;
pub mod parallel;
pub mod partial;
pub mod progress;
pub mod recover;
pub mod redact;
pub mod scan;
pub mod schema;
pub mod select;
pub mod servers;
pub mod stacking;
pub mod store;
pub mod tail;
pub mod terminal;
pub mod texts;
pub mod time;
pub mod trace;
pub mod trust;
pub mod valid;
pub mod work;
