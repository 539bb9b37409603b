//! Partials in files: those of another machine that read its share of a capture, and those of an earlier analysis of a capture that has grown since.
//!
//! Work is cut into units: parts, or stretches of time where the order of operations matters. What a unit comes to has an [id](Id) that says all it was
//! made of (the rows, the settings, the program), and beside it [what else it depends on](asked). Whoever finds a partial by the id of a unit, and
//! that to hold still, need not read its rows.

pub mod asked;
pub mod bundle;
mod places;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use iostrata_capture::Capture;
use iostrata_capture::dir::{Dir, Undo};
use iostrata_capture::part::Identity;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hash128, Hasher128, SipHasher13};

use crate::aggregate::Settings;
use crate::aggregate::sequence::{Of, Sequence, Span};
use crate::partial::Partial;
use crate::scan::Scan;
use asked::Asked;
use bundle::{Bundle, Writer};
use places::{Target, Undos, beside, cached, opened, unused};

/// What is done with partials in files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Partials {
    /// Nothing.
    #[default]
    None,
    /// They are kept beside the captures, and looked for there.
    Cached,
    /// They are taken from these files.
    From(Vec<PathBuf>),
    /// Those of a share of the work are written to a file.
    To {
        /// Which share, from 1 on, and of how many.
        share: (u64, u64),
        /// The file.
        file: PathBuf,
        /// Files of partials that are there already. How far back blocks were touched is counted of as many of them as there is room for, which only all
        /// shares together tell: where it was too much for a share, it takes a second round.
        from: Vec<PathBuf>,
    },
}

/// Tells one thing from all others: 128 bits of a hash of all that it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

    /// A piece at a time: this program is larger than most partials.
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

    /// From the first bytes of more.
    fn read(bytes: &[u8]) -> Id {
        let mut id = [0; 16];
        id.iter_mut().zip(bytes).for_each(|(id, byte)| *id = *byte);
        Id(id)
    }

    /// Of this program: another one may count otherwise.
    fn of_program() -> Result<Id> {
        static KNOWN: OnceLock<Id> = OnceLock::new();
        if let Some(id) = KNOWN.get() {
            return Ok(*id);
        }
        let id = File::open("/proc/self/exe").and_then(Id::of_file).context("/proc/self/exe: cannot read")?;
        Ok(*KNOWN.get_or_init(|| id))
    }
}

/// What a unit comes to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    /// What does not depend on the order of operations.
    pub partial: Partial,
    /// What does, by number of the first stretch and of the one after the last, counted from the first of the unit.
    pub sequences: Vec<(Of, (usize, usize), Sequence)>,
    /// What both depend on beside the rows.
    pub asked: Asked,
}

impl Kept {
    fn is_sound(&self) -> bool {
        self.partial.is_sound()
            && self.sequences.iter().all(|(_, (first, next), sequence)| first < next && sequence.is_sound())
    }
}

/// What makes the rows of a unit, in one capture.
#[derive(Debug, Serialize)]
pub struct Made {
    /// Where time was cut; nothing, where whole parts are read.
    pub spans: Vec<Span>,
    /// Parts, and which of their row groups.
    pub parts: Vec<(Identity, Vec<usize>)>,
}

/// What makes all units of a scan of a capture.
#[derive(Serialize)]
struct Scope<'a> {
    tool: Id,
    rules: Id,
    capture: (usize, &'a str),
    settings: Settings,
    window: (Option<i64>, Option<i64>),
    /// Where what is left out at the end stays so.
    whole_until_ns: Option<i64>,
    disks: BTreeMap<i32, i32>,
    mounted: BTreeMap<i32, i32>,
    taken: &'a [i32],
    selection: Option<String>,
    names: Option<Id>,
}

/// Partials in files.
#[derive(Debug)]
pub struct Store {
    tool: Id,
    /// The rules that say which system a process is of.
    rules: Id,
    bundles: Vec<Bundle>,
    /// Where partials go: to one file, or to one for each capture; nowhere, if there is none.
    to: Vec<Target>,
    writers: Mutex<BTreeMap<PathBuf, Writer>>,
    /// What was made for them is taken away again unless all are finished.
    undo: Undos,
    share: Option<(u64, u64)>,
    /// Whether nobody but this program wrote them, and what cannot be read is made anew.
    is_cache: bool,
    found: AtomicU64,
    made: AtomicU64,
    open: AtomicU64,
}

/// How many units there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Those found in files.
    pub found: u64,
    /// Those that were read.
    pub made: u64,
    /// Those of these that are not kept, because what they come to may change: the capture is not finished.
    pub open: u64,
}

impl Store {
    /// What is to be done for `captures`, which are in the directories `given`, segments in that of the first; none where that is nothing.
    ///
    /// # Errors
    /// Where files of partials cannot be read, or are of another program.
    pub fn open(
        partials: &Partials,
        captures: &[Capture],
        given: &[PathBuf],
        rules: Option<&Path>,
    ) -> Result<Option<Store>> {
        let (mut bundles, mut to, mut share, mut undo) = (Vec::new(), Vec::new(), None, Vec::new());
        let tool = if *partials == Partials::None { return Ok(None) } else { Id::of_program()? };
        match partials {
            Partials::None => {}
            Partials::Cached => {
                for directory in given {
                    let (cache, made) = beside(directory)?;
                    undo.push(made);
                    bundles.extend(cached(&cache, tool)?);
                }
                for Capture { directory, .. } in captures {
                    let whole = given.iter().find(|given| directory.starts_with(given)).unwrap_or(directory);
                    let (cache, made) = beside(whole)?;
                    undo.push(made);
                    let name = format!("{}.partial", unused(&cache)?);
                    to.push(Target { directory: cache, name });
                }
            }
            Partials::From(files) => bundles = opened(files, tool)?,
            Partials::To { share: of, file, from } => {
                bundles = opened(from, tool)?;
                share = Some(*of);
                let (directory, name, made) = Dir::begin_around(file)?;
                undo.push(made);
                to.push(Target { directory, name });
            }
        }
        let rules = match rules {
            Some(file) => Id::of_bytes(&fs::read(file).with_context(|| format!("{}: cannot read", file.display()))?),
            None => Id::default(),
        };
        let (writers, found, made, open) = Default::default();
        let is_cache = *partials == Partials::Cached;
        let undo = Undos(undo);
        Ok(Some(Store { tool, rules, bundles, to, writers, undo, share, is_cache, found, made, open }))
    }

    /// The id of what all units of a scan have in common; none, where what they come to may change.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn scope(&self, scan: &Scan, settings: &Settings) -> Result<Option<Id>> {
        let names = match scan.named_by {
            _ if scan.selection.takes_all() => None,
            Some(parts) => Some(Id::of_value(&parts)?),
            // Names may change until the tables that have them are whole.
            None => return Ok(None),
        };
        let sorted = |disks: &crate::disks::Disks| disks.iter().map(|(dev, disk)| (*dev, *disk)).collect();
        let scope = Scope {
            tool: self.tool,
            rules: self.rules,
            capture: (scan.capture, scan.capture_id),
            // It is where time is cut that matters.
            settings: Settings { stretch_rows: 0, ..*settings },
            window: (scan.window.after_ns, scan.window.until_ns),
            whole_until_ns: scan.tail.whole_until_ns.filter(|_| !scan.tail.grows),
            disks: sorted(scan.disks),
            mounted: sorted(scan.mounted),
            taken: scan.choice.taken(scan.capture),
            selection: scan.selection.words(),
            names,
        };
        Id::of_value(&scope).map(Some)
    }

    /// The id of a unit.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn id(&self, scope: Id, made: &Made) -> Result<Id> {
        Id::of_value(&(scope, made))
    }

    /// What is kept of the unit with this id. What cannot be read in a cache is as if it were not there.
    ///
    /// # Errors
    /// Where it is in a file that was given, and is not what was written there.
    pub fn find(&self, id: Id) -> Result<Option<Kept>> {
        for bundle in &self.bundles {
            let Some(place) = bundle.places.get(&id) else { continue };
            let kept = bundle.read(place).and_then(|raw| Ok(postcard::from_bytes::<Kept>(&raw)?));
            match kept {
                Ok(kept) if kept.is_sound() => return Ok(Some(kept)),
                Err(error) if !self.is_cache => return Err(error),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Whether unit `number` is to be read, if it was not found.
    pub fn takes(&self, number: usize) -> bool {
        self.share.is_none_or(|(share, shares)| number as u64 % shares.max(1) == share.saturating_sub(1))
    }

    /// Whether a share of the work is all that is done.
    pub fn is_share(&self) -> bool {
        self.share.is_some()
    }

    /// Counts a unit that was found.
    pub fn found(&self) {
        self.found.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps what a unit of capture number `capture` comes to; without an id it is only counted.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn keep(&self, capture: usize, id: Option<Id>, kept: &Kept) -> Result<()> {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(u64::from(id.is_none()), Ordering::Relaxed);
        let (Some(id), Some(to)) = (id, self.to.get(capture).or(self.to.first())) else { return Ok(()) };
        let raw = postcard::to_stdvec(kept)?;
        let packed = bundle::packed(&raw)?;
        // Whoever panicked while it held them ends the program; see `parallel::each`.
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let path = to.path();
        if !writers.contains_key(&path) {
            writers.insert(path.clone(), to.create(self.tool)?);
        }
        writers.get_mut(&path).map_or(Ok(()), |writer| writer.add(id, &raw, &packed))
    }

    /// Ends all files that were written.
    ///
    /// # Errors
    /// Where they cannot be.
    pub fn finish(self) -> Result<Used> {
        let mut writers = self.writers.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let (Some(_), Some(to)) = (self.share, self.to.first()) {
            // A share may have nothing.
            if let Entry::Vacant(entry) = writers.entry(to.path()) {
                entry.insert(to.create(self.tool)?);
            }
        }
        for writer in writers.into_values() {
            writer.finish()?;
        }
        self.undo.0.iter().for_each(Undo::keep);
        Ok(Used { found: self.found.into_inner(), made: self.made.into_inner(), open: self.open.into_inner() })
    }
}
