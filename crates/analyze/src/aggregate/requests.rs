//! Requested aggregates, and their needs.

use std::fmt::{self, Debug};
use std::sync::Arc;

use serde::Serialize;

/// Needs of an aggregate besides attribution, operations, bytes and durations of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Needs {
    /// Whether it needs offsets in files and on disks.
    pub positions: bool,
    /// Whether it needs the number of bios of requests.
    pub bios: bool,
    /// Whether it needs an operation also in the time range in which it ended. Aggregates in time order only.
    pub ends: bool,
    /// Whether its results can be stored. If not, all rows are read whenever it is requested.
    pub is_stored: bool,
    /// Approximate memory in bytes: once, and for each thread. Measured with captures of 20,000 files
    /// (docs/measurements/analyzing.md).
    pub memory_bytes: (u64, u64),
}

impl Needs {
    /// Nothing besides these, and stored.
    pub const NOTHING: Needs =
        Needs { positions: false, bios: false, ends: false, is_stored: true, memory_bytes: (0, 0) };
}

/// Function that opens an aggregate.
type Open<In, Out> = Arc<dyn Fn(In) -> Out + Send + Sync>;

/// Request of an aggregate, without its type. `In` is what it is opened with, `Out` what rows are added to.
#[derive(Serialize)]
#[serde(bound = "")]
pub struct Request<In, Out> {
    /// Name of the aggregate.
    pub name: &'static str,
    /// Its needs.
    pub needs: Needs,
    /// Its settings as text: stored results of other settings are others.
    config: String,
    #[serde(skip)]
    open: Open<In, Out>,
}

impl<In, Out> Request<In, Out> {
    /// Creates a request.
    pub fn new(
        (name, needs): (&'static str, Needs),
        config: &impl Debug,
        open: impl Fn(In) -> Out + Send + Sync + 'static,
    ) -> Self {
        Request { name, needs, config: format!("{config:?}"), open: Arc::new(open) }
    }

    /// Opens the aggregate.
    pub fn open(&self, with: In) -> Out {
        (self.open)(with)
    }
}

impl<In, Out> Clone for Request<In, Out> {
    fn clone(&self) -> Self {
        Request { config: self.config.clone(), open: self.open.clone(), ..*self }
    }
}

impl<In, Out> Debug for Request<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.name, self.config)
    }
}

/// Requested aggregates, each once.
#[derive(Serialize)]
#[serde(bound = "")]
pub struct Requests<In, Out>(Vec<Request<In, Out>>);

impl<In, Out> Clone for Requests<In, Out> {
    fn clone(&self) -> Self {
        Requests(self.0.clone())
    }
}

impl<In, Out> Default for Requests<In, Out> {
    fn default() -> Self {
        Requests(Vec::new())
    }
}

impl<In, Out> Debug for Requests<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl<In, Out> Requests<In, Out> {
    /// Adds a request; it replaces one of the same name.
    pub fn add(&mut self, request: Request<In, Out>) {
        self.0.retain(|other| other.name != request.name);
        self.0.push(request);
        self.0.sort_unstable_by_key(|request| request.name);
    }

    /// Iterates over the requests, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Request<In, Out>> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any has this need.
    pub fn need(&self, need: impl Fn(&Needs) -> bool) -> bool {
        self.0.iter().any(|request| need(&request.needs))
    }
}
