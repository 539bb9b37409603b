//! Latency breakdown of calls by layer: the requests that calls wait for, the time of these in the queue and at the device, and the I/O
//! that syncs force out.
//!
//! Calls and requests of a time range are [joined](join::join) in one sweep. A call that extends beyond the time range is processed in
//! every time range that it overlaps, is matched with requests in each, and is counted when all of them are merged.

pub mod join;
pub mod rows;
pub mod spent;
pub mod sums;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use iostrata_capture::op::Op;

use super::Precision;
use super::sample::Sample;
use super::sequence::{Owners, Span, Subject};
use crate::entity::{Entity, Place, Places, Scope};
use join::{Found, join};
use rows::Identity;
pub use rows::{Call, Commit, File, PAGE_BYTES, Request, Share, Waits};
use serde::{Deserialize, Serialize};
pub use spent::{Forced, Kind, Spent};
pub use sums::{Amount, Sums};

/// Sums by subject, kind and call. They are boxed: they are large, and a hash table has more slots than entries.
type BySubject = HashMap<(Subject, Kind, Op), Box<Sums>, RandomState>;

/// Call that extends beyond the time range.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Beyond {
    call: Call,
    /// Subjects that it belongs to.
    subjects: Vec<Subject>,
    found: Found,
}

/// Latency breakdown of the calls of one time range, or of several consecutive ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Crossing {
    span: Span,
    precision: Precision,
    sums: BySubject,
    /// Calls that extend beyond the time range, by identity and by ordinal among those with the same identity.
    beyond: HashMap<(Identity, usize), Beyond, RandomState>,
}

/// Rows of a time range, in any order.
#[derive(Debug, Default)]
pub struct Crossed {
    /// Calls, including those that began before it or ended after it.
    pub calls: Vec<Call>,
    /// Requests that were queued in it.
    pub requests: Vec<Request>,
    /// Parts of these requests that belong to other files.
    pub shares: Vec<Share>,
    /// Commits that ended in it.
    pub commits: Vec<Commit>,
}

/// Latency breakdown of calls, while consecutive time ranges are added.
pub struct Walk {
    precision: Precision,
    /// Sums of calls that are within one time range.
    by_place: ByPlace,
    /// All other calls.
    crossing: Option<Crossing>,
}

impl Walk {
    /// Creates the breakdown without time ranges.
    pub fn new(precision: Precision) -> Walk {
        Walk { precision, by_place: ByPlace::default(), crossing: None }
    }

    /// Adds the rows of `span`. Slots and entity indexes are the same in all time ranges.
    pub fn add(&mut self, crossed: Crossed, span: Span, owners: &Owners) {
        let Crossed { mut calls, mut requests, shares, mut commits } = crossed;
        calls.sort_by_key(|call| (call.identity(), call.whose.map(|(slot, _)| slot)));
        put_shares(&mut requests, shares);
        requests.sort_unstable();
        commits.sort_unstable();
        let found = join(&calls, &requests, &commits);
        let (mut beyond, mut last, mut ordinal) = (HashMap::default(), None, 0);
        for (call, found) in calls.into_iter().zip(found) {
            let identity = call.identity();
            ordinal = if last == Some(identity) { ordinal + 1 } else { 0 };
            last = Some(identity);
            if call.ts_ns < span.0 || call.end_ns > span.1 {
                let subjects = whose(&call).filter_map(|whose| whose.subject(owners)).collect();
                beyond.insert((identity, ordinal), Beyond { call, subjects, found });
                continue;
            }
            let spent = found.spent(&call);
            for whose in whose(&call) {
                self.by_place.sums((whose, call.kind(), call.op), self.precision).count(&call, &found, &spent);
            }
        }
        let next = Crossing { span, precision: self.precision, sums: BySubject::default(), beyond };
        match &mut self.crossing {
            Some(crossing) => crossing.append(next),
            crossing @ None => *crossing = Some(next),
        }
    }

    /// Returns the breakdown of all added calls; `None` if nothing was added.
    pub fn finish(self, owners: &Owners) -> Option<Crossing> {
        let mut crossing = self.crossing?;
        for ((whose, kind, op), sums) in self.by_place.all() {
            if let Some(subject) = whose.subject(owners) {
                add(&mut crossing.sums, (subject, kind, op), sums);
            }
        }
        Some(crossing)
    }
}

impl Crossing {
    /// Adds the next time range.
    pub fn append(&mut self, next: Crossing) {
        self.span.1 = next.span.1;
        for (of, sums) in next.sums {
            add(&mut self.sums, of, sums);
        }
        let mut ended = Vec::new();
        for (key, theirs) in next.beyond {
            let end_ns = theirs.call.end_ns;
            match self.beyond.get_mut(&key) {
                Some(mine) => mine.found.append(theirs.found),
                None => {
                    self.beyond.insert(key, theirs);
                }
            }
            ended.extend((key.0.0 >= self.span.0 && end_ns <= self.span.1).then_some(key));
        }
        for key in ended {
            self.end(key);
        }
    }

    /// Counts a call that is complete.
    fn end(&mut self, key: (Identity, usize)) {
        let Some(Beyond { call, subjects, found }) = self.beyond.remove(&key) else { return };
        let spent = found.spent(&call);
        for subject in subjects {
            self.entry((subject, call.kind(), call.op)).count(&call, &found, &spent);
        }
    }

    fn entry(&mut self, of: (Subject, Kind, Op)) -> &mut Sums {
        let precision = self.precision;
        let durations = durations(!is_fine(&of.0), of.1, precision);
        self.sums.entry(of).or_insert_with(|| Box::new(Sums::empty(durations)))
    }

    /// Adds the results of one capture to the sums of other captures.
    pub fn finish(mut self, sums: &mut BTreeMap<(Subject, Kind, Op), Sums>) {
        for key in self.beyond.keys().copied().collect::<Vec<_>>() {
            self.end(key);
        }
        for (of, theirs) in self.sums {
            match sums.get_mut(&of) {
                Some(mine) => mine.combine(*theirs),
                None => {
                    sums.insert(of, *theirs);
                }
            }
        }
    }
}

fn add(all: &mut BySubject, of: (Subject, Kind, Op), sums: Box<Sums>) {
    match all.entry(of) {
        Entry::Occupied(mut mine) => mine.get_mut().combine(*sums),
        Entry::Vacant(place) => drop(place.insert(sums)),
    }
}

/// Adds parts of requests to these requests.
fn put_shares(requests: &mut [Request], shares: Vec<Share>) {
    if shares.is_empty() {
        return;
    }
    let of =
        requests.iter().enumerate().map(|(number, request)| ((request.ts_ns, request.disk, request.sector), number));
    let places: HashMap<_, usize, RandomState> = of.collect();
    for Share { of, file, bytes } in shares {
        let Some(request) = places.get(&of).and_then(|number| requests.get_mut(*number)) else { continue };
        match request.files.iter_mut().find(|(theirs, _)| *theirs == file) {
            Some((_, sum)) => *sum = sum.saturating_add(bytes),
            None => request.files.push((file, bytes)),
        }
        request.rest = request.rest.saturating_sub(bytes);
    }
    requests.iter_mut().for_each(|request| request.files.sort_unstable());
}

/// Subject of a call, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    All,
    System(u32),
    /// Process or file.
    Fine(Place),
    Disk(Place),
}

/// Returns the subjects of a call; none if it is not selected.
fn whose(call: &Call) -> impl Iterator<Item = Whose> {
    let all = |(slot, places): (u32, Places)| {
        let place = |scope: Scope| places.0[scope as usize];
        let fine = [Scope::Process, Scope::File].map(|scope| Whose::Fine(place(scope)));
        [Whose::All, Whose::System(slot), Whose::Disk(place(Scope::Device))].into_iter().chain(fine)
    };
    call.whose.into_iter().flat_map(all)
}

/// Sums by subject, kind and call. Few of them have the same subject.
#[derive(Default)]
struct ByPlace {
    /// Sums by [`Whose::number`].
    all: Vec<Vec<OfPlace>>,
}

/// Sums of the calls of one kind of a subject.
type OfPlace = (Whose, Kind, Op, Box<Sums>);

impl ByPlace {
    fn sums(&mut self, (whose, kind, op): (Whose, Kind, Op), precision: Precision) -> &mut Sums {
        let number = whose.number();
        if self.all.len() <= number {
            self.all.resize_with(number + 1, Vec::new);
        }
        let of_number = &mut self.all[number];
        let known = of_number.iter().position(|(theirs, kinds, ops, _)| (*theirs, *kinds, *ops) == (whose, kind, op));
        let known = known.unwrap_or_else(|| {
            of_number.push((whose, kind, op, Box::new(Sums::empty(whose.durations(kind, precision)))));
            of_number.len() - 1
        });
        &mut of_number[known].3
    }

    fn all(self) -> impl Iterator<Item = ((Whose, Kind, Op), Box<Sums>)> {
        self.all.into_iter().flatten().map(|(whose, kind, op, sums)| ((whose, kind, op), sums))
    }
}

impl Whose {
    /// Returns a small number, which several subjects may have.
    fn number(self) -> usize {
        match self {
            Whose::All => 0,
            Whose::System(slot) => slot as usize,
            Whose::Fine(place) | Whose::Disk(place) => place.index(),
        }
    }

    /// Returns the subject by name; `None` if unattributed.
    fn subject(self, owners: &Owners) -> Option<Subject> {
        let entity = |place| Some(owners.entity(place)).filter(|entity| !matches!(entity, Entity::Nobody(..)));
        match self {
            Whose::All => Some(Subject::All),
            Whose::System(slot) => owners.systems.get(slot as usize).map(|name| Subject::System((*name).to_owned())),
            Whose::Fine(place) | Whose::Disk(place) => entity(place).map(Subject::Entity),
        }
    }

    fn durations(self, kind: Kind, precision: Precision) -> Option<Sample> {
        durations(!matches!(self, Whose::Fine(_)), kind, precision)
    }
}

/// Whether there may be many such subjects.
fn is_fine(subject: &Subject) -> bool {
    matches!(subject, Subject::Entity(Entity::Process(..) | Entity::File(..)))
}

/// Distributions are kept for syncs only, and not for each process and file.
fn durations(is_coarse: bool, kind: Kind, precision: Precision) -> Option<Sample> {
    (is_coarse && kind.syncs()).then(|| Sample::empty(precision))
}
