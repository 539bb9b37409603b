//! Activity of one process, cgroup, file or disk: operations, bytes and time by layer and direction.

use iostrata_capture::op::{Direction, Layer};
use serde::{Deserialize, Serialize};

use super::count::Moved;

/// Sums by layer and direction. Only pairs that occur are stored: these are few, and there may be millions of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity(Vec<((Layer, Option<Direction>), Moved)>);

impl Activity {
    /// Adds operations of `layer`; without a direction they are neither reads nor writes.
    pub fn add(&mut self, layer: Layer, direction: Option<Direction>, sums: &Moved) {
        let of = (layer, direction);
        // Discarded bytes are neither read nor written.
        let sums = &Moved { bytes: if direction.is_some() { sums.bytes } else { 0 }, ..*sums };
        match self.0.iter_mut().find(|(known, _)| *known == of) {
            Some((_, mine)) => mine.add(sums),
            None => self.0.push((of, *sums)),
        }
    }

    /// Adds the sums of `other`.
    pub fn combine(&mut self, other: &Activity) {
        other.0.iter().for_each(|((layer, direction), sums)| self.add(*layer, *direction, sums));
    }

    /// Returns the operations of `layer` in this direction, or those without one.
    pub fn of(&self, layer: Layer, direction: Option<Direction>) -> Moved {
        let found = self.0.iter().find(|(known, _)| *known == (layer, direction));
        found.map(|(_, sums)| *sums).unwrap_or_default()
    }

    /// Returns all operations of `layer`.
    pub fn all(&self, layer: Layer) -> Moved {
        let mut sum = Moved::default();
        self.0.iter().filter(|((of, _), _)| *of == layer).for_each(|(_, sums)| sum.add(sums));
        sum
    }

    /// Whether all sums are zero.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, sums)| *sums == Moved::default())
    }
}
