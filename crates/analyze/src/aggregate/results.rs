//! Results of aggregates by name.

use std::any::Any;
use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Results of requested aggregates, each of its own type.
#[derive(Debug, Default)]
pub struct Results(BTreeMap<&'static str, Box<dyn Any>>);

impl Results {
    /// Sets the result of an aggregate.
    pub fn put(&mut self, name: &'static str, result: Box<dyn Any>) {
        self.0.insert(name, result);
    }

    /// Returns the result of an aggregate, which `empty` creates if it has none yet.
    pub fn get_or(&mut self, name: &'static str, empty: impl FnOnce() -> Box<dyn Any>) -> &mut dyn Any {
        self.0.entry(name).or_insert_with(empty).as_mut()
    }

    /// Adds the results of other aggregates.
    pub fn extend(&mut self, others: Results) {
        self.0.extend(others.0);
    }

    /// Returns the result of an aggregate.
    ///
    /// # Errors
    /// If it was not requested.
    pub fn of<T: Any>(&self, name: &'static str) -> Result<&T> {
        let result = self.0.get(name).and_then(|result| result.downcast_ref());
        result.with_context(|| format!("{name}: not requested"))
    }
}
