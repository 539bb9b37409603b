//! Generates captures of any size from a seed: the same parameters give the same rows, on any machine.
//!
//! The captures measure nothing. Their rows resemble recorded ones (owners, order, relations between layers, distributions of times
//! and sizes), so a reader handles the same input as in a recording of the same size.
//!
//! [`options`] has the parameters, [`cast`] derives the processes and files, [`stack`] generates the rows of one operation at every
//! layer, [`layers`] collects them, [`order`] writes each row when its operation ends, [`generate`] schedules all threads and writes the
//! capture.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod actors;
pub mod cli;
pub mod generate;
pub mod io_model;
pub mod layers;
pub mod options;
pub mod profile;
pub mod reorder;
