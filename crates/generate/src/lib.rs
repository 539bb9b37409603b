//! Makes captures of any size out of a seed: the same parameters give the same rows, on any machine.
//!
//! They are no measurement of anything. Their rows have the shape of real ones (who does what, in which order, how layers follow
//! from each other, how times and sizes are distributed), so that a reader meets in them what it meets in a recording of the
//! same size.
//!
//! [`options`] are the parameters, [`cast`] are the processes and files that these come to, [`stack`] makes the rows of one operation at
//! every layer, [`layers`] has them and [`order`] lets each go when what it is of is over, [`generate`] lets all threads go on in turn and writes what comes.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod cast;
pub mod cli;
pub mod generate;
pub mod layers;
pub mod options;
pub mod order;
pub mod profile;
pub mod stack;
