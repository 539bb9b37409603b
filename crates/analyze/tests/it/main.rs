//! Integration tests of the analyzer: output for synthetic captures, and errors on bad input.
//!
//! One test program, because each one links all of Polars.

#![allow(clippy::expect_used, reason = "helpers of tests are not inside a test function, where it is allowed")]

mod bad_input;
mod docs;
mod filters;
mod fuzz;
mod loss;
mod notes;
mod order;
mod recover;
mod report;
mod rows;
mod scale;
mod since;
mod stacking;
mod store;
mod summary;
mod support;
mod values;
