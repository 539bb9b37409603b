//! Closed aggregates by name: their form in partial results and in files.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

/// Closed aggregate, without its type: the trait objects of [`any_order`](super::any_order) and [`in_order`](super::in_order).
pub trait Closed: Debug + Send + 'static {
    /// Iterates over the aggregates of this kind that analyses register.
    fn registered() -> impl Iterator<Item = &'static Registered<Self>>;

    /// Whether it can be merged with others: a file may contain anything.
    fn is_sound(&self) -> bool;

    /// Adds another of the same name.
    fn merge(&mut self, other: Box<Self>);

    /// Serializes it.
    ///
    /// # Errors
    /// If it does not fit into memory.
    fn encode(&self) -> postcard::Result<Vec<u8>>;

    /// Copies it.
    fn copy(&self) -> Box<Self>;
}

/// Aggregate that an analysis registers.
#[derive(Debug)]
pub struct Registered<S: ?Sized> {
    /// Its name.
    pub name: &'static str,
    /// Version of its stored form.
    pub version: u32,
    pub(super) decode: fn(&[u8]) -> postcard::Result<Box<S>>,
}

/// Closed aggregates of some rows.
#[derive(Debug)]
pub struct States<S: ?Sized>(pub(super) BTreeMap<&'static str, Box<S>>);

impl<S: ?Sized> Default for States<S> {
    fn default() -> Self {
        States(BTreeMap::new())
    }
}

impl<S: Closed + ?Sized> Clone for States<S> {
    fn clone(&self) -> Self {
        States(self.0.iter().map(|(name, state)| (*name, state.copy())).collect())
    }
}

impl<S: Closed + ?Sized> States<S> {
    /// Whether all can be merged with others.
    pub fn is_sound(&self) -> bool {
        self.0.values().all(|state| state.is_sound())
    }

    /// Iterates over the names and the stored forms.
    ///
    /// # Errors
    /// If one does not fit into memory.
    pub fn encoded(&self) -> impl Iterator<Item = (&'static str, postcard::Result<Vec<u8>>)> {
        self.0.iter().map(|(name, state)| (*name, state.encode()))
    }

    /// Adds those of other rows.
    pub(super) fn merge(&mut self, others: States<S>) {
        for (name, theirs) in others.0 {
            match self.0.get_mut(name) {
                Some(mine) => mine.merge(theirs),
                None => drop(self.0.insert(name, theirs)),
            }
        }
    }
}

impl<S: Closed + ?Sized> Serialize for States<S> {
    fn serialize<To: Serializer>(&self, to: To) -> Result<To::Ok, To::Error> {
        let encoded = self.encoded().map(|(name, state)| Ok((name, state?)));
        let encoded: BTreeMap<&str, Vec<u8>> = encoded.collect::<postcard::Result<_>>().map_err(ser::Error::custom)?;
        encoded.serialize(to)
    }
}

impl<'de, S: Closed + ?Sized> Deserialize<'de> for States<S> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<States<S>, D::Error> {
        let mut states = BTreeMap::new();
        for (name, bytes) in BTreeMap::<String, Vec<u8>>::deserialize(from)? {
            let known = S::registered().find(|registered| registered.name == name);
            let known = known.ok_or_else(|| D::Error::custom(format!("unknown aggregate {name}")))?;
            states.insert(known.name, (known.decode)(&bytes).map_err(D::Error::custom)?);
        }
        Ok(States(states))
    }
}
