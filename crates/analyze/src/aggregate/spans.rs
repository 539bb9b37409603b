//! Operations one by one, as far as there is room for them.

use iostrata_capture::op::{Layer, Op};

use crate::entity::{Entities, Entity, Place, Places, Scope};

/// An operation, or several that one row stands for.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// When it began.
    pub ts_ns: i64,
    /// How long it took, if that is known.
    pub total_ns: Option<u64>,
    /// How long it was at the device, of a request.
    pub device_ns: Option<u64>,
    /// Its layer.
    pub layer: Layer,
    /// What was done.
    pub op: Op,
    /// For how many it stands.
    pub ops: u32,
    /// Bytes of one.
    pub bytes: u64,
    /// Where in the file or on the disk it begins, in bytes.
    pub position: Option<i64>,
    /// The slot of its system, in the partial that has it.
    pub slot: u32,
    /// Whose it is, in the entities of the partial that has it.
    pub places: Places,
}

/// Operations, no more than there is room for.
#[derive(Debug, Clone)]
pub struct Spans {
    most: usize,
    rows: Vec<Span>,
    /// How many there were no room for.
    more: u64,
}

/// Operations in the order in which they began.
#[derive(Debug, Default)]
pub struct Finished {
    /// They themselves.
    pub rows: Vec<Span>,
    /// What their places are.
    pub entities: Vec<Entity>,
    /// What their slots are.
    pub systems: Vec<String>,
    /// How many there were no room for.
    pub more: u64,
}

impl Finished {
    /// Whose it is by `scope`.
    pub fn owner(&self, span: &Span, scope: Scope) -> Entity {
        self.entities[span.places.0[scope as usize].index()]
    }

    /// Its system.
    pub fn system(&self, span: &Span) -> &str {
        self.systems.get(span.slot as usize).map_or("", String::as_str)
    }
}

impl Spans {
    /// None, with room for so many.
    pub fn new(most: usize) -> Spans {
        Spans { most, rows: Vec::new(), more: 0 }
    }

    /// None, with as much room.
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

    /// Adds those of another partial, whose slots and places are `slots` and `places` here.
    pub fn combine(&mut self, other: Spans, slots: &[u32], places: &[Place]) {
        self.more = self.more.saturating_add(other.more);
        for span in other.rows {
            let places = Places(span.places.0.map(|place| places[place.index()]));
            self.add(Span { slot: slots[span.slot as usize], places, ..span });
        }
    }

    /// In order, which does not depend on who found them.
    pub fn finish(self, entities: &Entities, systems: Vec<String>) -> Finished {
        let entities = entities.each();
        let mut rows = self.rows;
        let key = |span: &Span| {
            let what = (span.layer as usize, span.op as usize, span.position, span.bytes);
            // The longer first, so that what is within it comes after it.
            (span.ts_ns, std::cmp::Reverse(span.total_ns), what, span.device_ns, span.ops)
        };
        let owners = |span: &Span| span.places.0.map(|place| entities[place.index()]);
        // In place: keys of all of them would take more than they do. What is equal in all of these is the same.
        rows.sort_unstable_by(|one, other| key(one).cmp(&key(other)).then_with(|| owners(one).cmp(&owners(other))));
        Finished { rows, entities, systems, more: self.more }
    }
}
