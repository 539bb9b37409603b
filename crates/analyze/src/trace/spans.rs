//! Individual operations, up to a maximum number.

use iostrata_capture::op::{Layer, Op};
use serde::{Deserialize, Serialize};

use crate::aggregate::Precision;
use crate::aggregate::any_order::{Accumulate, Aggregate, Context, Moved};
use crate::aggregate::requests::Needs;
use crate::aggregate::sequence::Owners;
use crate::entity::{Entities, Entity, Places, Scope};
use crate::event::Phase;
use crate::scan::entries::Entries;

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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spans {
    most: usize,
    /// Not stored: slots and indexes in a file cannot be trusted.
    #[serde(skip)]
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
    fn new(most: usize) -> Spans {
        Spans { most, rows: Vec::new(), more: 0 }
    }

    /// Adds an operation.
    fn add(&mut self, span: Span) {
        if self.rows.len() < self.most {
            self.rows.push(span);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Returns the operations in an order that does not depend on the threads that found them.
    fn finish(self, entities: &Entities, systems: Vec<String>) -> Finished {
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

impl Accumulate for Spans {
    fn update(&mut self, entries: &Entries) {
        let layer = entries.layer;
        // A file system row without a duration covers many pages, and no single moment.
        for entry in entries.each().filter(|entry| entry.ops > 0 && (layer != Layer::Fs || entry.total_ns.is_some())) {
            let Some(places) = entries.places(&entry) else { continue };
            self.add(Span {
                ts_ns: entry.ts_ns,
                total_ns: entry.total_ns,
                device_ns: entries.phase_ns(&entry, Phase::Device),
                layer,
                op: entry.op,
                ops: entry.ops,
                bytes: entry.size,
                position: entry.position,
                slot: entry.slot(),
                places,
            });
        }
    }
}

impl Aggregate for Spans {
    const NAME: &'static str = "spans";
    const VERSION: u32 = 1;
    const NEEDS: Needs = Needs { positions: true, is_stored: false, ..Needs::NOTHING };
    /// Maximum number.
    type Config = usize;
    type Open = Spans;
    type Finished = Finished;

    fn open(most: &usize, _precision: Precision) -> Spans {
        Spans::new(*most)
    }

    fn close(spans: Spans, _owners: &Owners) -> Spans {
        spans
    }

    fn relocate(&mut self, moved: &Moved) {
        for span in &mut self.rows {
            span.slot = moved.slots[span.slot as usize];
            span.places = Places(span.places.0.map(|place| moved.places[place.index()]));
        }
    }

    /// Commutative up to the maximum number: beyond it there is no result.
    fn combine(&mut self, other: Spans) {
        self.more = self.more.saturating_add(other.more);
        other.rows.into_iter().for_each(|span| self.add(span));
    }

    fn finish(self, context: &Context) -> Finished {
        self.finish(context.entities, context.systems.iter().map(|name| (*name).to_owned()).collect())
    }
}
