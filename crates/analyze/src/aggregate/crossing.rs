//! What calls wait for, across layers: which requests, for how long these were queued and with the device, and what syncs forced out.
//!
//! Calls and requests of a stretch of time are [joined](join::join) in one sweep. A call that reaches beyond the stretch is met in every
//! stretch that it reaches into, finds requests in each, and is counted when all of them are together.

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

/// Sums by subject, kind and call. They are large, and a table has more places than it has things.
type BySubject = HashMap<(Subject, Kind, Op), Box<Sums>, RandomState>;

/// A call that reaches beyond the stretch of time that was looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Beyond {
    call: Call,
    /// Whose it is.
    subjects: Vec<Subject>,
    found: Found,
}

/// What the calls of a stretch of time, or of several that follow each other, waited for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Crossing {
    span: Span,
    precision: Precision,
    sums: BySubject,
    /// By identity, and which of several that have the same.
    beyond: HashMap<(Identity, usize), Beyond, RandomState>,
}

/// What was read of a stretch of time, in any order.
#[derive(Debug, Default)]
pub struct Crossed {
    /// Calls, those that began before or ended after included.
    pub calls: Vec<Call>,
    /// Requests that were queued in it.
    pub requests: Vec<Request>,
    /// Parts of these that are other files'.
    pub shares: Vec<Share>,
    /// Commits that ended in it.
    pub commits: Vec<Commit>,
}

/// What calls waited for, while stretches of time that follow each other are taken.
pub struct Walk {
    precision: Precision,
    /// Of calls that are within a stretch.
    by_place: ByPlace,
    /// Of all others.
    crossing: Option<Crossing>,
}

impl Walk {
    /// No stretches yet.
    pub fn new(precision: Precision) -> Walk {
        Walk { precision, by_place: ByPlace::default(), crossing: None }
    }

    /// Takes what was read of `span`. Slots and places are the same in all stretches.
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

    /// What the calls of all that was taken waited for; nothing, if nothing was.
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
    /// Adds what came next.
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

    /// Counts a call of which all is together.
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

    /// Adds all of it, of one capture, to what those of other captures come to.
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

/// Puts parts of requests to these.
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

/// Whose a call is, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    All,
    System(u32),
    /// A process or a file.
    Fine(Place),
    Disk(Place),
}

/// All whose a call is; of one that is not asked for none.
fn whose(call: &Call) -> impl Iterator<Item = Whose> {
    let all = |(slot, places): (u32, Places)| {
        let place = |scope: Scope| places.0[scope as usize];
        let fine = [Scope::Process, Scope::File].map(|scope| Whose::Fine(place(scope)));
        [Whose::All, Whose::System(slot), Whose::Disk(place(Scope::Device))].into_iter().chain(fine)
    };
    call.whose.into_iter().flat_map(all)
}

/// Sums by whose calls they are, and by what these are, of which there are few of one.
#[derive(Default)]
struct ByPlace {
    /// Of each number that [`Whose::number`] has.
    all: Vec<Vec<OfPlace>>,
}

/// Sums of calls of one kind that are one's.
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
    /// A small number, which several may have.
    fn number(self) -> usize {
        match self {
            Whose::All => 0,
            Whose::System(slot) => slot as usize,
            Whose::Fine(place) | Whose::Disk(place) => place.index(),
        }
    }

    /// The same by name; `None` of what is nobody's.
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

/// Whether there may be many like it.
fn is_fine(subject: &Subject) -> bool {
    matches!(subject, Subject::Entity(Entity::Process(..) | Entity::File(..)))
}

/// Distributions are kept of syncs alone, and not for each process and file.
fn durations(is_coarse: bool, kind: Kind, precision: Precision) -> Option<Sample> {
    (is_coarse && kind.syncs()).then(|| Sample::empty(precision))
}
