//! Aggregates of operations in time order. Each belongs to an analysis. One covers the operations of a layer that began in some time range; those of
//! consecutive time ranges are appended.

use std::any::Any;
use std::fmt::Debug;

use iostrata_capture::op::Layer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Precision;
use super::requests::{Needs, Request, Requests};
use super::results::Results;
use super::sequence::{Owners, Point, Span};
use super::states::{self, Closed};
use crate::analyses;

/// Aggregate of operations of a layer in time order.
pub trait OrderedAggregate: Debug + Clone + Send + Serialize + DeserializeOwned + 'static {
    /// Name in stored results; unique.
    const NAME: &'static str;
    /// Version of the stored form and of its meaning. Another one of either is another version: files of partial results of builds with the
    /// same versions are merged (`tests/it/store.rs` notices a change of the form).
    const VERSION: u32;
    /// Needs; all have offsets.
    const NEEDS: Needs = Needs::NOTHING;
    /// Settings; their text distinguishes stored results.
    type Config: Debug + Clone + Send + Sync + 'static;
    /// Form that operations are added to.
    type Walk: Walk + 'static;
    /// Result of all layers and captures.
    type Finished: Any + Default;

    /// Creates the aggregate of no operations of `layer`.
    fn open(config: &Self::Config, layer: Layer, precision: Precision) -> Self::Walk;

    /// Returns the form that can be merged and stored.
    fn close(walk: Self::Walk, owners: &Owners) -> Self;

    /// Whether it can be merged with others: a file may contain anything.
    fn is_sound(&self) -> bool {
        true
    }

    /// Adds the operations of the next time range. Associative.
    fn append(&mut self, next: Self);

    /// Adds the operations of `layer` of one capture to the result.
    fn finish(self, layer: Layer, finished: &mut Self::Finished);
}

/// Something that operations are added to in time order.
pub trait Walk {
    /// Adds the operations of the next time range, `span`; some of them may have begun before it, with a weight of 0. Slots and indexes of entities are
    /// the same in all time ranges.
    fn add(&mut self, points: &[Point], span: Span, owners: &Owners);
}

/// Walk, without its type.
pub trait Opened {
    /// Name of the aggregate.
    fn name(&self) -> &'static str;
    /// See [`Walk::add`].
    fn add(&mut self, points: &[Point], span: Span, owners: &Owners);
    /// See [`OrderedAggregate::close`].
    fn close(self: Box<Self>, owners: &Owners) -> Box<dyn State>;
    /// Result of no operations.
    fn nothing(&self) -> Box<dyn Any>;
}

struct OpenOf<A: OrderedAggregate>(A::Walk);

impl<A: OrderedAggregate> Opened for OpenOf<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }

    fn add(&mut self, points: &[Point], span: Span, owners: &Owners) {
        self.0.add(points, span, owners);
    }

    fn close(self: Box<Self>, owners: &Owners) -> Box<dyn State> {
        Box::new(A::close(self.0, owners))
    }

    fn nothing(&self) -> Box<dyn Any> {
        Box::new(A::Finished::default())
    }
}

/// Closed aggregate, without its type.
pub trait State: Any + Debug + Send {
    /// See [`OrderedAggregate::is_sound`].
    fn is_sound(&self) -> bool;
    /// See [`OrderedAggregate::append`]; `next` is of the same name.
    fn append(&mut self, next: Box<dyn State>);
    /// Serializes it.
    ///
    /// # Errors
    /// If it does not fit into memory.
    fn encode(&self) -> postcard::Result<Vec<u8>>;
    /// See [`OrderedAggregate::finish`].
    fn finish(self: Box<Self>, layer: Layer, results: &mut Results);
    /// Copies it.
    fn copy(&self) -> Box<dyn State>;
}

impl<A: OrderedAggregate> State for A {
    fn is_sound(&self) -> bool {
        OrderedAggregate::is_sound(self)
    }

    fn append(&mut self, next: Box<dyn State>) {
        let next: Box<dyn Any> = next;
        if let Ok(next) = next.downcast::<A>() {
            OrderedAggregate::append(self, *next);
        }
    }

    fn encode(&self) -> postcard::Result<Vec<u8>> {
        postcard::to_stdvec(self)
    }

    fn finish(self: Box<Self>, layer: Layer, results: &mut Results) {
        let finished = results.get_or(A::NAME, || Box::new(A::Finished::default()));
        if let Some(finished) = finished.downcast_mut() {
            OrderedAggregate::finish(*self, layer, finished);
        }
    }

    fn copy(&self) -> Box<dyn State> {
        Box::new(self.clone())
    }
}

impl Closed for dyn State {
    fn registered() -> impl Iterator<Item = &'static Registered> {
        analyses::ordered_aggregates()
    }

    fn is_sound(&self) -> bool {
        State::is_sound(self)
    }

    fn merge(&mut self, next: Box<dyn State>) {
        self.append(next);
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
    pub const fn of<A: OrderedAggregate>() -> Registered {
        states::Registered {
            name: A::NAME,
            version: A::VERSION,
            decode: |bytes| Ok(Box::new(postcard::from_bytes::<A>(bytes)?)),
        }
    }
}

/// Requested aggregates of operations in time order.
pub type InTimeOrder = Requests<(Layer, Precision), Box<dyn Opened>>;

impl InTimeOrder {
    /// Requests an aggregate.
    pub fn request<A: OrderedAggregate>(&mut self, config: A::Config) {
        let text = config.clone();
        let open =
            move |(layer, precision)| -> Box<dyn Opened> { Box::new(OpenOf::<A>(A::open(&config, layer, precision))) };
        self.add(Request::new((A::NAME, A::NEEDS), &text, open));
    }

    /// Opens all of them for a layer.
    pub fn open(&self, layer: Layer, precision: Precision) -> Vec<Box<dyn Opened>> {
        self.iter().map(|request| request.open((layer, precision))).collect()
    }

    /// Returns their results without operations.
    pub fn nothing(&self, precision: Precision) -> Results {
        let mut results = Results::default();
        for request in self.iter() {
            results.put(request.name, request.open((Layer::ALL[0], precision)).nothing());
        }
        results
    }
}

/// Closed aggregates of one time range, or of several consecutive ones.
pub type States = states::States<dyn State>;

impl States {
    /// Closes walks.
    pub fn of(walks: Vec<Box<dyn Opened>>, owners: &Owners) -> States {
        states::States(walks.into_iter().map(|walk| (walk.name(), walk.close(owners))).collect())
    }

    /// Sets an aggregate.
    #[cfg(test)]
    pub fn put<A: OrderedAggregate>(&mut self, state: A) {
        self.0.insert(A::NAME, Box::new(state));
    }

    /// Adds the aggregates of the next time range.
    pub fn append(&mut self, next: States) {
        self.merge(next);
    }

    /// Adds the operations of `layer` of one capture to the results.
    pub fn finish(self, layer: Layer, results: &mut Results) {
        self.0.into_values().for_each(|state| state.finish(layer, results));
    }
}
