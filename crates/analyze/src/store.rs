//! Partial results in files: those of another machine that read its share of a capture, and those of an earlier analysis of a capture that has
//! grown since.
//!
//! Work is divided into units: parts, or time ranges if the order of operations matters. The result of a unit has an [id](Id) of all its inputs
//! (the rows, the settings, the versions of the states), and a record of [the lookups](asked) that it depends on. A unit with a stored result of the same id and
//! unchanged lookups is not read.

pub mod bundle;
pub mod lookups;
mod places;
pub mod stored;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use iostrata_capture::dir::{Dir, Undo};
use iostrata_capture::part::Identity;
use iostrata_capture::{Capture, TableId};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hash128, Hasher128, SipHasher13};

use crate::aggregate::Settings;
use crate::aggregate::sequence::{Of, Sequence, Span};
use crate::analyses;
use crate::entity::CaptureNumber;
use crate::partial::{Partial, ROWS, VERSION};
use crate::scan::Scan;
use bundle::{Bundle, Header, Writer};
use lookups::LookupTrace;
pub use places::STANDARD;
use places::{Target, Undos, beside, cached, opened, unused};

/// Use of partial results in files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Partials {
    /// No use.
    #[default]
    None,
    /// Cached beside the captures and reused from there.
    Cached,
    /// Read from these files.
    From(Vec<PathBuf>),
    /// Written to a file, for a share of the work.
    To {
        /// Number of the share, from 1 on, and the number of shares.
        share: (u64, u64),
        /// Output file.
        file: PathBuf,
        /// Files with existing partial results. Reuse distances are computed for as many blocks as fit into memory; only all shares together
        /// determine that number. If one share had too many blocks, a second round is needed.
        from: Vec<PathBuf>,
    },
}

/// Identity of a value: a 128-bit hash of its contents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id([u8; 16]);

impl Id {
    fn of(Hash128 { h1, h2 }: Hash128) -> Id {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&h1.to_le_bytes());
        id[8..].copy_from_slice(&h2.to_le_bytes());
        Id(id)
    }

    fn of_bytes(bytes: &[u8]) -> Id {
        let mut hasher = SipHasher13::new();
        hasher.write(bytes);
        Id::of(hasher.finish128())
    }

    /// Reads the file in pieces: the executable is larger than most partial results.
    fn of_file(mut file: File) -> io::Result<Id> {
        let (mut hasher, mut piece) = (SipHasher13::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(Id::of(hasher.finish128())),
                bytes => hasher.write(&piece[..bytes]),
            }
        }
    }

    fn of_value(value: &impl Serialize) -> Result<Id> {
        Ok(Id::of_bytes(&postcard::to_stdvec(value)?))
    }

    /// Returns it as hexadecimal digits.
    fn digits(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads an id from the first bytes of a slice.
    fn read(bytes: &[u8]) -> Id {
        let mut id = [0; 16];
        id.iter_mut().zip(bytes).for_each(|(id, byte)| *id = *byte);
        Id(id)
    }

    /// Returns the id of this executable.
    fn of_program() -> Result<Id> {
        static KNOWN: OnceLock<Id> = OnceLock::new();
        if let Some(id) = KNOWN.get() {
            return Ok(*id);
        }
        let id = File::open("/proc/self/exe").and_then(Id::of_file).context("/proc/self/exe: cannot read")?;
        Ok(*KNOWN.get_or_init(|| id))
    }
}

/// Result of a unit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Aggregates that do not depend on the order of operations.
    pub partial: Partial,
    /// Aggregates that do, with the number of the first stretch and of the one after the last, counted from the first of the unit.
    pub sequences: Vec<(Of, (usize, usize), Sequence)>,
    /// Lookups that both depend on, besides the rows.
    pub asked: LookupTrace,
}

impl Kept {
    fn is_sound(&self) -> bool {
        self.partial.is_sound()
            && self.sequences.iter().all(|(_, (first, next), sequence)| first < next && sequence.is_sound())
    }
}

/// Inputs that determine the rows of a unit, in one capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Time ranges; none if whole parts are read.
    pub spans: Vec<Span>,
    /// Parts and the row groups of each.
    pub parts: Vec<(Identity, Vec<usize>)>,
}

/// Unit of a scan, before it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Number of its first time range.
    pub first: usize,
    /// Tables of its rows.
    pub tables: Vec<TableId>,
    /// Inputs; none if a part of them may still grow.
    pub made: Option<Made>,
}

/// Units of scans by their number, by number of the capture and label of the scan.
type Units = BTreeMap<(usize, &'static str), BTreeMap<usize, Planned>>;

/// Inputs that are common to all units of a scan of a capture.
#[derive(Serialize)]
struct Scope<'a> {
    /// Versions of the requested states.
    versions: BTreeMap<&'a str, u32>,
    rules: Id,
    capture: &'a str,
    settings: Settings,
    window: (Option<i64>, Option<i64>),
    /// End of the complete range, if it is final.
    whole_until_ns: Option<i64>,
    disks: BTreeMap<i32, i32>,
    mounted: BTreeMap<i32, i32>,
    taken: &'a [i32],
    selection: Option<String>,
    names: Option<Id>,
}

/// Opens the files of partial results that the user gave.
///
/// # Errors
/// If one cannot be read, or has other versions of states.
pub fn given(partials: &Partials) -> Result<Vec<Bundle>> {
    match partials {
        Partials::From(files) | Partials::To { from: files, .. } if !files.is_empty() => opened(files, &header()?),
        _ => Ok(Vec::new()),
    }
}

/// Returns the header of the files that this build writes.
fn header() -> Result<Header> {
    let registered = analyses::aggregates().map(|state| (state.name, state.version));
    let registered = registered.chain(analyses::ordered_aggregates().map(|state| (state.name, state.version)));
    Ok(Header {
        program: Id::of_program()?.digits(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        states: registered
            .chain([(ROWS, VERSION), (stored::CAPTURE, stored::VERSION)])
            .map(|(name, version)| (name.to_owned(), version))
            .collect(),
    })
}

/// Store of partial results in files.
#[derive(Debug)]
pub struct Store {
    header: Header,
    /// Id of the rules for systems.
    rules: Id,
    bundles: Vec<Bundle>,
    /// Output files: one file, or one per capture; empty if nothing is written.
    to: Vec<Target>,
    writers: Mutex<BTreeMap<PathBuf, Writer>>,
    /// Removes new files and directories unless all files are finished.
    undo: Undos,
    share: Option<(u64, u64)>,
    plans: Mutex<Units>,
    /// Whether the files are a cache that only this program writes; unreadable entries are computed again.
    is_cache: bool,
    found: AtomicU64,
    made: AtomicU64,
    open: AtomicU64,
}

/// Numbers of units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Units found in files.
    pub found: u64,
    /// Units that were read.
    pub made: u64,
    /// Units that were read but not kept, because the capture is not finished and their results may change.
    pub open: u64,
}

impl Store {
    /// Opens the store for `captures`, which are in the directories `given`, segments in that of the first; none if files are not used. `bundles`
    /// are the files that the user gave.
    ///
    /// # Errors
    /// If files of partial results cannot be read, or have other versions of states.
    pub fn open(
        (partials, mut bundles): (&Partials, Vec<Bundle>),
        captures: &[Capture],
        given: &[PathBuf],
        rules: Option<&Path>,
    ) -> Result<Option<Store>> {
        let (mut to, mut share, mut undo) = (Vec::new(), None, Vec::new());
        let header = if *partials == Partials::None { return Ok(None) } else { header()? };
        match partials {
            Partials::None | Partials::From(_) => {}
            Partials::Cached => {
                for directory in given {
                    let (cache, made) = beside(directory)?;
                    undo.push(made);
                    bundles.extend(cached(&cache, &header)?);
                }
                for Capture { directory, .. } in captures {
                    let whole = given.iter().find(|given| directory.starts_with(given)).unwrap_or(directory);
                    let (cache, made) = beside(whole)?;
                    undo.push(made);
                    let name = format!("{}.partial", unused(&cache)?);
                    to.push(Target::File(cache, name));
                }
            }
            Partials::To { share: of, file, .. } => {
                share = Some(*of);
                if file.as_os_str() == STANDARD {
                    to.push(Target::Output);
                } else {
                    let (directory, name, made) = Dir::begin_around(file)?;
                    undo.push(made);
                    to.push(Target::File(directory, name));
                }
            }
        }
        let rules = match rules {
            Some(file) => Id::of_bytes(&fs::read(file).with_context(|| format!("{}: cannot read", file.display()))?),
            None => Id::default(),
        };
        let (writers, plans, found, made, open) = Default::default();
        let is_cache = *partials == Partials::Cached;
        let undo = Undos(undo);
        Ok(Some(Store { header, rules, bundles, to, writers, undo, share, plans, is_cache, found, made, open }))
    }

    /// Returns the id of the inputs that are common to all units of a scan; none if results may still change.
    ///
    /// # Errors
    /// If it does not fit into memory.
    pub fn scope(&self, scan: &Scan, settings: &Settings) -> Result<Option<Id>> {
        let names = match scan.named_by {
            _ if scan.selection.takes_all() => None,
            Some(parts) => Some(Id::of_value(&parts)?),
            // Names may change until the tables with names are complete.
            None => return Ok(None),
        };
        let sorted = |disks: &crate::disks::Disks| disks.iter().map(|(dev, disk)| (*dev, *disk)).collect();
        let scope = Scope {
            versions: self.versions(settings),
            rules: self.rules,
            capture: scan.capture_id,
            // The time ranges in the id of each unit replace this setting.
            settings: Settings { stretch_rows: 0, ..settings.clone() },
            window: (scan.window.after_ns, scan.window.until_ns),
            whole_until_ns: scan.tail.whole_until_ns.filter(|_| !scan.tail.grows),
            disks: sorted(scan.disks),
            mounted: sorted(scan.mounted),
            taken: scan.choice.taken(scan.capture.place()),
            selection: scan.selection.words(),
            names,
        };
        Id::of_value(&scope).map(Some)
    }

    /// Returns the versions of the states that a scan with these settings stores.
    fn versions(&self, settings: &Settings) -> BTreeMap<&str, u32> {
        let requested = settings
            .any_order
            .iter()
            .map(|request| request.name)
            .chain(settings.in_order.iter().map(|request| request.name));
        let names: Vec<&str> = requested.chain([ROWS]).collect();
        let versions = self.header.states.iter().map(|(name, version)| (name.as_str(), *version));
        versions.filter(|(name, _)| names.contains(name)).collect()
    }

    /// Returns the id of a unit.
    ///
    /// # Errors
    /// If it does not fit into memory.
    pub fn id(&self, scope: Id, made: &Made) -> Result<Id> {
        Id::of_value(&(scope, made))
    }

    /// Keeps the plan of unit `number` of the scan `what`, for those who have the file of a share and not the capture.
    pub fn plan(&self, capture: CaptureNumber, what: &'static str, number: usize, planned: Planned) {
        if !self.is_share() {
            return;
        }
        // A panic of a thread that held the lock ends the program; see `parallel::each`.
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.entry((capture.place(), what)).or_default().insert(number, planned);
    }

    /// Returns the stored result of the unit with this id, of `capture`. Unreadable entries of a cache are ignored.
    ///
    /// # Errors
    /// If the entry of a given file is corrupt.
    pub fn find(&self, id: Id, capture: CaptureNumber, holds: impl Fn(&Kept) -> bool) -> Result<Option<Kept>> {
        for bundle in &self.bundles {
            let Some(place) = bundle.places.get(&id) else { continue };
            let kept =
                bundle.read(place).and_then(|raw| Ok(capture.while_reading(|| postcard::from_bytes::<Kept>(&raw))?));
            match kept {
                // Another file may have it with the present answers: it was computed again since then.
                Ok(kept) if kept.is_sound() && holds(&kept) => return Ok(Some(kept)),
                Err(error) if !self.is_cache => return Err(error),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Whether unit `number` must be read if it was not found.
    pub fn takes(&self, number: usize) -> bool {
        self.share.is_none_or(|(share, shares)| number as u64 % shares.max(1) == share.saturating_sub(1))
    }

    /// Whether only a share of the work is done.
    pub fn is_share(&self) -> bool {
        self.share.is_some()
    }

    /// Counts a unit that was found.
    pub fn found(&self) {
        self.found.fetch_add(1, Ordering::Relaxed);
    }

    /// Stores the result of a unit of `capture`; without an id it is only counted.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, capture: CaptureNumber, id: Option<Id>, kept: &Kept) -> Result<()> {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(u64::from(id.is_none()), Ordering::Relaxed);
        let (Some(id), Some(to)) = (id, self.to.get(capture.place()).or(self.to.first())) else { return Ok(()) };
        let raw = postcard::to_stdvec(kept)?;
        let packed = bundle::packed(&raw)?;
        self.write(to, id, (&raw, &packed))
    }

    fn write(&self, to: &Target, id: Id, (raw, packed): (&[u8], &[u8])) -> Result<()> {
        // A panic of a thread that held the lock ends the program; see `parallel::each`.
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let path = to.path();
        if !writers.contains_key(&path) {
            writers.insert(path.clone(), to.create(&self.header)?);
        }
        writers.get_mut(&path).map_or(Ok(()), |writer| writer.add(id, raw, packed))
    }

    /// Completes all files.
    ///
    /// # Errors
    /// If a file cannot be completed.
    pub fn finish(self) -> Result<Used> {
        let mut writers = self.writers.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let (Some(_), Some(to)) = (self.share, self.to.first()) {
            // A share may have no units.
            if let Entry::Vacant(entry) = writers.entry(to.path()) {
                entry.insert(to.create(&self.header)?);
            }
        }
        for writer in writers.into_values() {
            writer.finish()?;
        }
        self.undo.0.iter().for_each(Undo::keep);
        Ok(Used { found: self.found.into_inner(), made: self.made.into_inner(), open: self.open.into_inner() })
    }
}
