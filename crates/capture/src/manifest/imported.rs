//! Captures imported from a trace of another program.

use super::{Manifest, WITHOUT_OWNERS};
use crate::op::Layer;

impl Manifest {
    /// Whether the capture is imported: nothing was recorded, and texts about recordings do not apply.
    pub fn is_imported(&self) -> bool {
        self.layers.get(&Layer::Block).is_some_and(|state| state.lacks(WITHOUT_OWNERS))
    }

    /// Returns the source of an import, for people. An import has the name of the format in place of a host name.
    pub fn imported_from(&self) -> Option<String> {
        self.is_imported().then(|| format!("imported from a trace ({})", self.host.hostname))
    }
}
