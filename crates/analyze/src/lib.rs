//! Turns captures into tables.
//!
//! ```text
//! part ─ scan ─► Partial ─┐
//! part ─ scan ─► Partial ─┼─ combine ─► Finished ─ columns ─► DataFrame ─► CSV, terminal
//! part ─ scan ─► Partial ─┘
//! ```
//!
//! [`analysis`] goes from options to results. [`load`] reads what is known of captures beside their events, [`select`] says what of these is asked for. [`scan`] folds one part into a
//! [`partial::Partial`], [`work`] says what is read in one go, [`parallel`] does that on several threads, [`memory`] how much of that at once, [`progress`] shows how far that is, [`store`] keeps partials in files, [`aggregate`] holds what a partial keeps. [`owners`] and [`files`] say
//! whose a row is, [`names`] what that is called; [`texts`] has millions of texts, [`index`] finds values by number. [`tables`] declares the columns of the results and says which command
//! writes which, [`frame`] makes tables of them, [`format`] files of these, [`about`] says what they were made of, [`terminal`] shows them, [`page`] draws them. [`trace`] has operations one by one, for viewers of traces. [`trust`] says what the
//! result is worth: layers that are missing, events that were lost; [`loss`], when that was; [`notes`], what else to know; [`valid`], which times and sizes can be true. [`compare`] holds captures against
//! others. [`import`] makes captures of published traces. [`recover`] makes captures whole that were cut off. What is on disk, and which system a process belongs to, is the business of
//! `iostrata-capture`.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod about;
pub mod aggregate;
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
pub mod levels;
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
pub mod store;
pub mod tables;
pub mod tail;
pub mod terminal;
pub mod texts;
pub mod time;
pub mod trace;
pub mod trust;
pub mod valid;
pub mod work;
