//! Aggregates of rows in any order. Each belongs to an analysis: what it adds of a row, how two are merged, what is stored, and its result.

use std::any::Any;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::requests::{Needs, Request, Requests};
use super::results::Results;
use super::sequence::Owners;
use super::states::{self, Closed};
use super::{LostByLayer, Precision};
use crate::analyses;
use crate::entity::{Entities, Place};
use crate::scan::entries::Entries;

/// Aggregate of rows in any order.
pub trait Aggregate: Debug + Clone + Send + Serialize + DeserializeOwned + 'static {
    /// Name in stored results; unique.
    const NAME: &'static str;
    /// Version of the stored form and of its meaning. Another one of either is another version: files of partial results of builds with the
    /// same versions are merged (`tests/it/store.rs` notices a change of the form).
    const VERSION: u32;
    /// Needs.
    const NEEDS: Needs = Needs::NOTHING;
    /// Settings; their text distinguishes stored results.
    type Config: Debug + Clone + Send + Sync + 'static;
    /// Form that rows are added to.
    type Open: Accumulate + 'static;
    /// Result.
    type Finished: Any;

    /// Creates the aggregate of no rows.
    fn open(config: &Self::Config, precision: Precision) -> Self::Open;

    /// Returns the form that can be merged and stored.
    fn close(open: Self::Open, owners: &Owners) -> Self;

    /// Whether it can be merged with others: a file may contain anything.
    fn is_sound(&self) -> bool {
        true
    }

    /// Replaces slots and indexes, if it has any, before it is merged into a partial result with others.
    fn relocate(&mut self, _moved: &Moved) {}

    /// Adds the rows of `other`. Associative and commutative.
    fn combine(&mut self, other: Self);

    /// Returns the result.
    fn finish(self, context: &Context) -> Self::Finished;
}

/// Something that rows are added to.
pub trait Accumulate {
    /// Adds the entries of a chunk of rows.
    fn update(&mut self, entries: &Entries);

    /// Frees memory where possible; called between row groups.
    fn settle(&mut self) {}
}

/// New slots of the systems and new indexes of the entities of a partial result that is merged into another, by their old ones.
#[derive(Debug, Clone, Copy)]
pub struct Moved<'a> {
    /// Slots.
    pub slots: &'a [u32],
    /// Indexes.
    pub places: &'a [Place],
}

/// Context of a result.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Lost events by layer.
    pub lost: &'a LostByLayer,
    /// Entities by index.
    pub entities: &'a Entities,
    /// Systems by slot.
    pub systems: &'a [&'a str],
}

/// Open aggregate, without its type.
pub trait Opened {
    /// See [`Accumulate::update`].
    fn update(&mut self, entries: &Entries);
    /// See [`Accumulate::settle`].
    fn settle(&mut self);
    /// See [`Aggregate::close`].
    fn close(self: Box<Self>, owners: &Owners) -> Box<dyn State>;
}

struct OpenOf<A: Aggregate>(A::Open);

impl<A: Aggregate> Opened for OpenOf<A> {
    fn update(&mut self, entries: &Entries) {
        self.0.update(entries);
    }

    fn settle(&mut self) {
        self.0.settle();
    }

    fn close(self: Box<Self>, owners: &Owners) -> Box<dyn State> {
        Box::new(A::close(self.0, owners))
    }
}

/// Closed aggregate, without its type.
pub trait State: Any + Debug + Send {
    /// Name of the aggregate.
    fn name(&self) -> &'static str;
    /// See [`Aggregate::is_sound`].
    fn is_sound(&self) -> bool;
    /// See [`Aggregate::relocate`].
    fn relocate(&mut self, moved: &Moved);
    /// See [`Aggregate::combine`]; `other` is of the same name.
    fn combine(&mut self, other: Box<dyn State>);
    /// Serializes it.
    ///
    /// # Errors
    /// If it does not fit into memory.
    fn encode(&self) -> postcard::Result<Vec<u8>>;
    /// See [`Aggregate::finish`].
    fn finish(self: Box<Self>, context: &Context) -> Box<dyn Any>;
    /// Copies it.
    fn copy(&self) -> Box<dyn State>;
}

impl<A: Aggregate> State for A {
    fn name(&self) -> &'static str {
        A::NAME
    }

    fn is_sound(&self) -> bool {
        Aggregate::is_sound(self)
    }

    fn relocate(&mut self, moved: &Moved) {
        Aggregate::relocate(self, moved);
    }

    fn combine(&mut self, other: Box<dyn State>) {
        let other: Box<dyn Any> = other;
        if let Ok(other) = other.downcast::<A>() {
            Aggregate::combine(self, *other);
        }
    }

    fn encode(&self) -> postcard::Result<Vec<u8>> {
        postcard::to_stdvec(self)
    }

    fn finish(self: Box<Self>, context: &Context) -> Box<dyn Any> {
        Box::new(Aggregate::finish(*self, context))
    }

    fn copy(&self) -> Box<dyn State> {
        Box::new(self.clone())
    }
}

impl Closed for dyn State {
    fn registered() -> impl Iterator<Item = &'static Registered> {
        analyses::aggregates()
    }

    fn is_sound(&self) -> bool {
        State::is_sound(self)
    }

    fn merge(&mut self, other: Box<dyn State>) {
        self.combine(other);
    }

    fn encode(&self) -> postcard::Result<Vec<u8>> {
        State::encode(self)
    }

    fn copy(&self) -> Box<dyn State> {
        State::copy(self)
    }
}

/// Aggregate that an analysis registers.
pub type Registered = states::Registered<dyn State>;

impl Registered {
    /// Registers an aggregate.
    pub const fn of<A: Aggregate>() -> Registered {
        states::Registered {
            name: A::NAME,
            version: A::VERSION,
            decode: |bytes| Ok(Box::new(postcard::from_bytes::<A>(bytes)?)),
        }
    }
}

/// Requested aggregates of rows in any order.
pub type InAnyOrder = Requests<Precision, Box<dyn Opened>>;

impl InAnyOrder {
    /// Requests an aggregate.
    pub fn request<A: Aggregate>(&mut self, config: A::Config) {
        let text = config.clone();
        let open = move |precision| -> Box<dyn Opened> { Box::new(OpenOf::<A>(A::open(&config, precision))) };
        self.add(Request::new((A::NAME, A::NEEDS), &text, open));
    }

    /// Opens all of them.
    pub fn open(&self, precision: Precision) -> Vec<Box<dyn Opened>> {
        self.iter().map(|request| request.open(precision)).collect()
    }
}

/// Closed aggregates of some rows.
pub type States = states::States<dyn State>;

impl States {
    /// Closes aggregates.
    pub fn of(open: Vec<Box<dyn Opened>>, owners: &Owners) -> States {
        let states = open.into_iter().map(|open| open.close(owners));
        states::States(states.map(|state| (state.name(), state)).collect())
    }

    /// Returns an aggregate, if rows were added to it.
    pub fn get<A: Aggregate>(&self) -> Option<&A> {
        let state: &dyn Any = self.0.get(A::NAME)?.as_ref();
        state.downcast_ref()
    }

    /// Adds the aggregates of other rows.
    pub fn combine(&mut self, mut other: States, moved: &Moved) {
        other.0.values_mut().for_each(|theirs| theirs.relocate(moved));
        self.merge(other);
    }

    /// Returns the results of all requested aggregates.
    pub fn finish(mut self, requests: &InAnyOrder, precision: Precision, context: &Context) -> Results {
        let mut results = Results::default();
        for request in requests.iter() {
            let none = || {
                let owners = Owners { systems: context.systems, entities: context.entities };
                request.open(precision).close(&owners)
            };
            results.put(request.name, self.0.remove(request.name).unwrap_or_else(none).finish(context));
        }
        results
    }
}
