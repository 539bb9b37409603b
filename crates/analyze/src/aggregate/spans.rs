//! Individual operations, up to a maximum number.

use iostrata_capture::op::{Layer, Op};

use crate::entity::{Entities, Entity, Place, Places, Scope};

/// Operation, or several that one row represents.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Begin.
    pub ts_ns: i64,
    /// Duration in ns, if known.
    pub total_ns: Option<u64>,
    /// Time of a request at the device in ns, if known.
    pub device_ns: Option<u64>,
    /// Layer.
    pub layer: Layer,
    /// Operation.
    pub op: Op,
    /// Weight.
    pub ops: u32,
    /// Number of bytes of one operation.
    pub bytes: u64,
    /// Offset in the file or on the disk in bytes.
    pub position: Option<i64>,
    /// Slot of its system in the partial result.
    pub slot: u32,
    /// Its entities in the partial result.
    pub places: Places,
}

/// Operations, up to a maximum number.
#[derive(Debug, Clone)]
pub struct Spans {
    most: usize,
    rows: Vec<Span>,
    /// Number of operations beyond the maximum.
    more: u64,
}

/// Operations in the order in which they began.
#[derive(Debug, Default)]
pub struct Finished {
    /// Operations.
    pub rows: Vec<Span>,
    /// Entities by index.
    pub entities: Vec<Entity>,
    /// Systems by slot.
    pub systems: Vec<String>,
    /// Number of operations beyond the maximum.
    pub more: u64,
}

impl Finished {
    /// Returns the entity of `scope` that an operation belongs to.
    pub fn owner(&self, span: &Span, scope: Scope) -> Entity {
        self.entities[span.places.0[scope as usize].index()]
    }

    /// Returns the system of an operation.
    pub fn system(&self, span: &Span) -> &str {
        self.systems.get(span.slot as usize).map_or("", String::as_str)
    }
}

impl Spans {
    /// Creates an empty collection with the maximum `most`.
    pub fn new(most: usize) -> Spans {
        Spans { most, rows: Vec::new(), more: 0 }
    }

    /// Creates an empty collection with the same maximum.
    pub fn emptied(&self) -> Spans {
        Spans::new(self.most)
    }

    /// Adds an operation.
    pub fn add(&mut self, span: Span) {
        if self.rows.len() < self.most {
            self.rows.push(span);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Adds the operations of another partial result, with slots and entities that are `slots` and `places` here.
    pub fn combine(&mut self, other: Spans, slots: &[u32], places: &[Place]) {
        self.more = self.more.saturating_add(other.more);
        for span in other.rows {
            let places = Places(span.places.0.map(|place| places[place.index()]));
            self.add(Span { slot: slots[span.slot as usize], places, ..span });
        }
    }

    /// Returns the operations in an order that does not depend on the threads that found them.
    pub fn finish(self, entities: &Entities, systems: Vec<String>) -> Finished {
        let entities = entities.each();
        let mut rows = self.rows;
        let key = |span: &Span| {
            let what = (span.layer as usize, span.op as usize, span.position, span.bytes);
            // The longer first, so that an operation within it follows it.
            (span.ts_ns, std::cmp::Reverse(span.total_ns), what, span.device_ns, span.ops)
        };
        let owners = |span: &Span| span.places.0.map(|place| entities[place.index()]);
        // In place: keys of all operations would take more memory than the operations. Operations that are equal in all these fields are
        // identical.
        rows.sort_unstable_by(|one, other| key(one).cmp(&key(other)).then_with(|| owners(one).cmp(&owners(other))));
        Finished { rows, entities, systems, more: self.more }
    }
}
