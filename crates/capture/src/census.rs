//! What is there of a capture, counted by table and held against what was written: the books of the manifest, less what was removed, and
//! the list of parts.
//!
//! A capture is a folder that people copy, filter and tidy up. What is counted are the rows that would be read. A part says in its footer
//! what it was written as ([`crate::part`]), so one that is another one's copy, or of another capture, is known and not read. Parts of
//! earlier recorders do not say it: of those only counts, and footers that are the same to the byte, tell.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::guard::reading;
use crate::list::{Kept, PartList};
use crate::manifest::{Manifest, State};
use crate::op::Layer;
use crate::part::{Found, PartName, Torn, finished};
use crate::table::Table;
use crate::tables::{self, ShareTable};

/// Of more parts than that it is only told how many there are that something is wrong with.
const MOST_TOLD: usize = 4;

/// What is there of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// The table.
    pub table: &'static str,
    /// Rows of the parts that are read.
    pub rows: u64,
    /// Rows that there should be; none where nobody knows, as of a capture that is still being recorded.
    pub expected: Option<u64>,
    /// Parts that are missing, were changed, or are in no list, a predicate each.
    pub wrong: Vec<String>,
    /// Parts that say that they are something else, likewise. They are not read.
    pub foreign: Vec<String>,
    /// Parts that do not say what they are, though the recorder wrote it: another program has written them anew.
    pub unmarked: u64,
    /// The numbers of the finished parts that are read, ascending.
    numbers: Vec<u32>,
}

impl Counted {
    /// Whether rows that are read are not those that were written, as far as counts and footers tell.
    pub fn is_off(&self) -> bool {
        !self.wrong.is_empty() || self.expected.is_some_and(|expected| expected != self.rows)
    }

    /// Whether anything is not as it was written: its rows, or parts that do not belong to it.
    pub fn differs(&self) -> bool {
        self.is_off() || !self.foreign.is_empty()
    }

    /// How many rows of how many: `block: 200 of 561 rows are there (…)`. None where there is nothing to be said.
    pub fn line(&self) -> Option<String> {
        if !self.differs() {
            return None;
        }
        let Counted { table, rows, .. } = self;
        let count = match self.expected {
            Some(expected) if *rows > expected => format!("{rows} rows are there, {expected} were written"),
            Some(expected) => format!("{rows} of {expected} rows are there"),
            None => format!("{rows} rows are there, of how many is not known"),
        };
        let parts: Vec<&String> = self.foreign.iter().chain(&self.wrong).collect();
        let mut told: Vec<String> = parts.iter().take(MOST_TOLD).map(|part| (*part).clone()).collect();
        if parts.len() > MOST_TOLD {
            told.push(format!("and {} more parts", parts.len() - MOST_TOLD));
        }
        let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join("; ")) };
        Some(format!("{table}: {count}{told}"))
    }
}

/// What is there of all tables, in the order of their declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// By table.
    pub tables: Vec<Counted>,
}

impl Census {
    /// What is there of a table.
    pub fn of(&self, table: &str) -> Option<&Counted> {
        self.tables.iter().find(|counted| counted.table == table)
    }

    /// Whether a part that is listed is not there.
    pub(crate) fn lacks_parts(&self) -> bool {
        self.tables.iter().any(|counted| counted.wrong.iter().any(|part| part.ends_with(MISSING)))
    }

    /// The numbers of the finished parts of a table that are read.
    pub(crate) fn numbers(&self, table: &str) -> &[u32] {
        self.of(table).map_or(&[], |counted| &counted.numbers)
    }

    /// Counts what is in `directory`.
    ///
    /// # Errors
    /// Where a part cannot be read, or is no regular file.
    pub(crate) fn take(
        directory: &Path,
        manifest: &Manifest,
        list: &PartList,
        torn: &[(&'static str, Torn)],
    ) -> Result<Census> {
        let mut listed: BTreeMap<&str, BTreeMap<u32, Kept>> = BTreeMap::new();
        for (name, kept) in list.parts() {
            listed.entry(name.table).or_default().insert(name.number, *kept);
        }
        let removed: BTreeMap<String, u64> = list.removed().map(|removed| (removed.table, removed.rows)).collect();
        let none = BTreeMap::new();
        let count = |table: &'static str| {
            let listed = listed.get(table).unwrap_or(&none);
            let torn = torn.iter().filter(|(of, _)| *of == table).map(|(_, torn)| torn);
            let mut counting =
                Counting { directory, manifest, listed, counted: Counted { table, ..Counted::default() } };
            counting.count(removed.get(table).copied(), torn)?;
            Ok(counting.counted)
        };
        Ok(Census { tables: tables::all().iter().map(|table| count(table.name)).collect::<Result<_>>()? })
    }
}

/// How the predicate of a part ends that is not there.
const MISSING: &str = "is not there";

/// A table that is being counted.
struct Counting<'a> {
    directory: &'a Path,
    manifest: &'a Manifest,
    listed: &'a BTreeMap<u32, Kept>,
    counted: Counted,
}

impl Counting<'_> {
    fn count<'t>(&mut self, removed_rows: Option<u64>, torn: impl Iterator<Item = &'t Torn>) -> Result<()> {
        let is_recording = self.manifest.state == State::Recording;
        let table = self.counted.table;
        let mut found = BTreeSet::new();
        let mut unlisted = Vec::new();
        // By length and footer: the part that has it.
        let mut footers: HashMap<(u64, u32), u32> = HashMap::new();
        let first_listed = self.listed.first_key_value().map(|(number, _)| *number);
        for (number, path) in finished(&self.directory.join(table))? {
            let name = PartName { table, number };
            let kept = self.listed.get(&number);
            // Taken off the list, and not deleted yet, or the recorder could not: its rows are counted as removed. The oldest go first.
            let is_removed = removed_rows.is_some() && first_listed.map_or(!is_recording, |first| number < first);
            if kept.is_none() && is_removed {
                continue;
            }
            let Some(part) = self.read(&path, kept)? else { continue };
            found.insert(number);
            let id = self.manifest.parts_id.as_deref();
            if let Some(what) = part.origin.as_ref().and_then(|origin| origin.contradicts(id, name)) {
                self.counted.foreign.push(format!("{name} {what}"));
                continue;
            }
            self.counted.unmarked += u64::from(part.origin.is_none() && id.is_some());
            self.counted.rows = self.counted.rows.saturating_add(part.rows);
            self.counted.numbers.push(number);
            let first = *footers.entry((part.bytes, part.footer)).or_insert(number);
            if first != number && part.rows > 0 {
                self.counted.wrong.push(format!("{name} is a copy of {}", PartName { table, number: first }));
            }
            match kept {
                Some(kept) => self.counted.wrong.extend(change(name, &part, kept)),
                None => unlisted.push((name, part.rows, part.origin.is_some())),
            }
        }
        for torn in torn.filter(|torn| !found.contains(&torn.number())) {
            self.counted.rows = self.counted.rows.saturating_add(torn.rows());
        }
        let lacking = self.listed.keys().filter(|number| !found.contains(number));
        let lacking = lacking.map(|number| format!("{} {MISSING}", PartName { table, number: *number }));
        self.counted.wrong.extend(lacking);
        self.settle(removed_rows.unwrap_or(0), &unlisted, is_recording);
        Ok(())
    }

    /// What is counted of a part; none where it is gone.
    fn read(&self, path: &Path, kept: Option<&Kept>) -> Result<Option<Found>> {
        let gone = |error: &Error| matches!(error, Error::Io { reason, .. } if reason.kind() == ErrorKind::NotFound);
        match reading(path, || Found::read(path)) {
            Err(error) if gone(&error) => Ok(None),
            // What it lacks says more than why it cannot be read.
            Err(Error::Parquet { path, reason }) => match (kept, files::open(&path)?.metadata()) {
                (Some(kept), Ok(metadata)) if !has_size(kept, metadata.len()) => {
                    let (size, bytes) = (metadata.len(), kept.bytes);
                    let what = format!("has {size} bytes, but the list of parts says {bytes}: it was cut or changed");
                    Err(Error::Schema { path, what })
                }
                _ => Err(Error::Parquet { path, reason }),
            },
            found => found.map(Some),
        }
    }

    /// Holds what was counted against what there should be.
    fn settle(&mut self, removed_rows: u64, unlisted: &[(PartName, u64, bool)], is_recording: bool) {
        let listed_rows = self.listed.values().fold(0u64, |sum, kept| sum.saturating_add(kept.rows));
        let written = booked(self.manifest, self.counted.table).map(|written| written.saturating_sub(removed_rows));
        // A recording goes on, and the books of one that was cut off were never written.
        self.counted.expected = if is_recording { None } else { Some(written.unwrap_or(listed_rows)) };
        // A recorder that could not write to the list at its end leaves parts that are not in it. It has counted their rows, but for those of
        // its own tables.
        let is_explained = is_recording || written == Some(self.counted.rows);
        let is_complete = self.manifest.state == State::Complete;
        for (name, rows, says_so) in unlisted.iter().filter(|_| !is_explained) {
            if is_complete && written.is_none() && *says_so {
                self.counted.expected = self.counted.expected.map(|expected| expected.saturating_add(*rows));
            } else {
                self.counted.wrong.push(format!("{name} is not in the list of parts"));
            }
        }
    }
}

/// Whether a part that is listed so may have this size.
fn has_size(kept: &Kept, size: u64) -> bool {
    size == kept.bytes || kept.replaced_bytes == Some(size)
}

/// What is not as the list says of a part that is there.
fn change(name: PartName, found: &Found, kept: &Kept) -> Option<String> {
    if found.rows != kept.rows {
        return Some(format!("{name} has {} rows, the list of parts says {}", found.rows, kept.rows));
    }
    let (size, bytes) = (found.bytes, kept.bytes);
    (!has_size(kept, size)).then(|| format!("{name} has {size} bytes, the list of parts says {bytes}"))
}

/// How many rows of a table were written by the books; none where these do not say.
fn booked(manifest: &Manifest, table: &str) -> Option<u64> {
    if manifest.state != State::Complete {
        return None;
    }
    let mut accounts = manifest.books.accounts.iter().filter(|account| account.class == table).peekable();
    // A CPU that saw nothing has no account. Of its own tables the recorder keeps none, and the generator once kept some of its layers alone.
    let has_account = accounts.peek().is_some() || Layer::parse(table).is_some() || table == ShareTable::NAME;
    has_account.then(|| accounts.fold(0u64, |sum, account| sum.saturating_add(account.written)))
}
