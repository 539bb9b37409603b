//! Captures that were made of a trace of another program.

use super::{Manifest, WITHOUT_OWNERS};
use crate::op::Layer;

impl Manifest {
    /// Whether it is of such a capture: nothing was recorded then, and words for recordings are wrong.
    pub fn is_imported(&self) -> bool {
        self.layers.get(&Layer::Block).is_some_and(|state| state.lacks(WITHOUT_OWNERS))
    }

    /// What it was made of, for people. An import has the name of the format in the place of a host.
    pub fn imported_from(&self) -> Option<String> {
        self.is_imported().then(|| format!("imported from a trace ({})", self.host.hostname))
    }
}
