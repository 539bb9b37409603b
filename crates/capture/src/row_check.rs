//! Check of the rows of a capture: rows present per table, checked against the rows written (event accounting of the manifest, less what
//! was removed) and the list of parts.
//!
//! People copy, filter and clean up capture folders. The census counts the rows that would be read. The footer of a part states
//! its origin ([`crate::part`]), so a copy of another part, or a part of another capture, is detected and not read. Parts of
//! earlier recorders have no origin: for them only counts and byte-identical footers are checked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::list::{Kept, PartList};
use crate::manifest::{Manifest, State};
use crate::panic_guard::reading;
use crate::part::{Found, IncompletePart, PartName, Place, copy_of, finished, others};
use crate::{ByTable, TableId};

/// Maximum number of faulty parts listed by name; of more, only the number is given.
const MOST_TOLD: usize = 4;

/// Count of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Table.
    pub table: TableId,
    /// Rows of the parts that are read.
    pub rows: u64,
    /// Number of rows expected; none if unknown, as in a capture that is still being recorded.
    pub expected: Option<u64>,
    /// Parts that are missing, modified or unlisted, one predicate each.
    pub wrong: Vec<String>,
    /// Parts with another origin, one predicate each. They are not read.
    pub foreign: Vec<String>,
    /// Number of parts rewritten by another program: unlike the recorder's parts they state no origin, differ in size from the
    /// list, or have another name than any part of a recorder.
    pub rewritten: u64,
    /// Files with non-part names that do not belong to the table: copies, or files with other columns. They are not read.
    pub stray: Vec<String>,
    /// Numbers of the finished parts that are read, ascending.
    numbers: Vec<u32>,
    /// Names of the other files that are read, in order.
    others: Vec<String>,
}

impl Counted {
    /// Creates an empty count of a table.
    fn of(table: TableId) -> Counted {
        let (wrong, foreign, stray, numbers, others) = Default::default();
        Counted { table, rows: 0, expected: None, wrong, foreign, rewritten: 0, stray, numbers, others }
    }

    /// Whether the rows read differ from the rows written, as far as counts and footers show.
    pub fn is_off(&self) -> bool {
        !self.wrong.is_empty() || self.expected.is_some_and(|expected| expected != self.rows)
    }

    /// Whether anything differs from what was written: rows, or parts that do not belong to the capture.
    pub fn differs(&self) -> bool {
        self.is_off() || !self.foreign.is_empty()
    }

    /// Returns the row counts and the faulty parts: `block: 200 of 561 rows present (…)`. `None` if nothing differs.
    pub fn line(&self) -> Option<String> {
        if !self.differs() {
            return None;
        }
        let Counted { table, rows, .. } = self;
        let count = match self.expected {
            Some(expected) if *rows > expected => format!("{rows} rows present, {expected} written"),
            Some(expected) => format!("{rows} of {expected} rows present"),
            None => format!("{rows} rows present, number written unknown"),
        };
        let parts: Vec<&String> = self.foreign.iter().chain(&self.wrong).chain(&self.stray).collect();
        let mut told: Vec<String> = parts.iter().take(MOST_TOLD).map(|part| (*part).clone()).collect();
        if parts.len() > MOST_TOLD {
            told.push(format!("and {} more parts", parts.len() - MOST_TOLD));
        }
        let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join("; ")) };
        Some(format!("{table}: {count}{told}"))
    }
}

/// Counts of all tables, in order of declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCheck {
    /// Counts by table.
    pub tables: Vec<Counted>,
}

impl RowCheck {
    /// Returns the count of a table.
    pub fn of(&self, table: TableId) -> Option<&Counted> {
        self.tables.iter().find(|counted| counted.table == table)
    }

    /// Whether a listed part is missing.
    pub(crate) fn lacks_parts(&self) -> bool {
        self.tables.iter().any(|counted| counted.wrong.iter().any(|part| part.ends_with(MISSING)))
    }

    /// Returns the numbers of the finished parts of a table that are read.
    pub(crate) fn numbers(&self, table: TableId) -> &[u32] {
        self.of(table).map_or(&[], |counted| &counted.numbers)
    }

    /// Returns the names of the other files of a table that are read.
    pub(crate) fn others(&self, table: TableId) -> &[String] {
        self.of(table).map_or(&[], |counted| &counted.others)
    }

    /// Counts the parts in `directory`.
    ///
    /// # Errors
    /// Returns an error if a part cannot be read, or is not a regular file.
    pub(crate) fn take(
        directory: &Dir,
        manifest: &Manifest,
        list: &PartList,
        torn: &[(TableId, IncompletePart)],
    ) -> Result<RowCheck> {
        let mut listed: ByTable<BTreeMap<u32, Kept>> = ByTable::default();
        for (name, kept) in list.parts() {
            listed[name.table].insert(name.number, *kept);
        }
        let mut removed_rows: ByTable<Option<u64>> = ByTable::default();
        list.removed().for_each(|removed| removed_rows[removed.table] = Some(removed.rows));
        let count = |&table: &TableId| {
            let torn = torn.iter().filter(|(of, _)| *of == table).map(|(_, torn)| torn);
            let (footers, unlisted, changed) = Default::default();
            let (listed, counted) = (&listed[table], Counted::of(table));
            let mut counting = Counting { directory, manifest, listed, counted, footers, unlisted, changed };
            counting.count(removed_rows[table], torn)?;
            Ok(counting.counted)
        };
        Ok(RowCheck { tables: TableId::ALL.iter().map(count).collect::<Result<_>>()? })
    }
}

/// End of the predicate of a missing part.
const MISSING: &str = "is missing";

/// Table during its count.
struct Counting<'a> {
    directory: &'a Dir,
    manifest: &'a Manifest,
    listed: &'a BTreeMap<u32, Kept>,
    counted: Counted,
    /// Part by length and footer.
    footers: HashMap<(u64, u32), Which>,
    /// Unlisted parts: name, rows, and whether they state their origin.
    unlisted: Vec<(String, u64, bool)>,
    /// Differences from the list that are allowed if another program divided the rows otherwise.
    changed: Vec<String>,
}

/// Part of a table, by number, or by index among the other names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Part(u32),
    Other(usize),
}

impl Counting<'_> {
    fn count<'t>(&mut self, removed_rows: Option<u64>, torn: impl Iterator<Item = &'t IncompletePart>) -> Result<()> {
        let is_recording = self.manifest.state == State::Recording;
        let table = self.counted.table;
        let folder = self.directory.sub(table.name());
        let mut found = BTreeSet::new();
        let first_listed = self.listed.first_key_value().map(|(number, _)| *number);
        for (number, place) in finished(&folder)? {
            let kept = self.listed.get(&number);
            // Removed from the list, but not deleted yet, or the recorder failed to delete it: its rows are counted as removed.
            // The oldest parts go first.
            let is_oldest = first_listed.map_or(!is_recording, |first| number < first);
            let is_removed = kept.is_none() && removed_rows.is_some() && is_oldest;
            // An unreadable part of these does not lose any rows.
            let part = self.read(&place, kept).or_else(|error| if is_removed { Ok(None) } else { Err(error) })?;
            let Some(part) = part else { continue };
            if is_removed && (self.id().is_none() || part.has_number(number)) {
                continue;
            }
            found.insert(number);
            self.count_part(PartName { table, number }, &part, kept);
        }
        // A recorder writes no others.
        let others = if is_recording { Vec::new() } else { others(&folder)? };
        for (at, file) in others.iter().enumerate() {
            self.count_other((at, file), &others, &Place::new(&folder, file.clone()));
        }
        for torn in torn.filter(|torn| !found.contains(&torn.number())) {
            self.counted.rows = self.counted.rows.saturating_add(torn.rows());
        }
        // A missing empty part loses no rows: many programs write none.
        let lacking = self.listed.iter().filter(|(number, kept)| kept.rows > 0 && !found.contains(number));
        let lacking = lacking.map(|(&number, _)| format!("{} {MISSING}", PartName { table, number }));
        self.changed.extend(lacking);
        self.settle(removed_rows.unwrap_or(0), is_recording);
        Ok(())
    }

    /// Returns the capture ID in all parts of the capture; `None` if its recorder wrote none.
    fn id(&self) -> Option<&str> {
        self.manifest.parts_id.as_deref()
    }

    /// Counts a part with a recorder's name.
    fn count_part(&mut self, name: PartName, part: &Found, kept: Option<&Kept>) {
        let PartName { table, number } = name;
        let origin = part.origin.as_ref();
        let copied = origin.and_then(|origin| origin.copied(self.id(), name)).filter(|first| {
            // A copy has the same number of rows.
            part.rows > 0 && self.listed.get(&first.number).is_none_or(|first| first.rows == part.rows)
        });
        if let Some(what) = origin.and_then(|origin| origin.strange(self.id(), table)).or(copied.map(copy_of)) {
            self.counted.foreign.push(format!("{name} {what}"));
            return;
        }
        let is_of_a_recorder = self.id().is_none() || part.has_number(number);
        let is_rewritten = !is_of_a_recorder || kept.is_some_and(|kept| !has_size(kept, part.bytes));
        self.counted.rewritten += u64::from(is_rewritten);
        self.counted.rows = self.counted.rows.saturating_add(part.rows);
        self.counted.numbers.push(number);
        let first = *self.footers.entry((part.bytes, part.footer)).or_insert(Which::Part(number));
        let copied = match first {
            Which::Part(first) if first != number && part.rows > 0 => Some(PartName { table, number: first }),
            _ => None,
        };
        match (kept, copied) {
            (_, Some(first)) => self.counted.wrong.push(format!("{name} {}", copy_of(first))),
            (Some(kept), None) if is_rewritten => self.changed.extend(change(name, part, kept)),
            (Some(kept), None) => self.counted.wrong.extend(change(name, part, kept)),
            (None, None) => {}
        }
        if kept.is_none() {
            self.unlisted.push((name.to_string(), part.rows, part.origin.is_some()));
        }
    }

    /// Counts the file `file`, one of `others`, with another name than parts have.
    fn count_other(&mut self, (at, file): (usize, &str), others: &[String], place: &Place) {
        let table = self.counted.table;
        let name = format!("{table}/{file}");
        let part = match self.read(place, None) {
            Ok(Some(part)) => part,
            Ok(None) => return,
            Err(error) => {
                self.counted.stray.push(format!("{name} cannot be read ({error})"));
                return;
            }
        };
        let lacking = part.lacks(table).map(|column| format!("has no column {column}"));
        let strange = lacking.or_else(|| part.origin.as_ref()?.strange(self.id(), table));
        // Without statistics, footers of different parts may be identical.
        let footer = part.range_ns.filter(|_| strange.is_none()).map(|_| (part.bytes, part.footer));
        let first = footer.map(|footer| *self.footers.entry(footer).or_insert(Which::Other(at)));
        let copied = first.filter(|first| *first != Which::Other(at)).map(|first| match first {
            Which::Part(number) => copy_of(PartName { table, number }),
            Which::Other(first) => copy_of(format_args!("{table}/{}", others[first])),
        });
        if let Some(what) = strange.or(copied) {
            self.counted.stray.push(format!("{name} {what}"));
            return;
        }
        self.counted.rewritten += 1;
        self.counted.rows = self.counted.rows.saturating_add(part.rows);
        self.counted.others.push(file.to_owned());
        self.unlisted.push((name, part.rows, false));
    }

    /// Returns the data that is counted of a part; `None` if it is gone.
    fn read(&self, place: &Place, kept: Option<&Kept>) -> Result<Option<Found>> {
        let gone = |error: &Error| matches!(error, Error::Io { reason, .. } if reason.kind() == ErrorKind::NotFound);
        match reading(place.path(), || Found::read(place)) {
            Err(error) if gone(&error) => Ok(None),
            // A difference in size says more than the decoder's error.
            Err(Error::Parquet { path, reason }) => match (kept, place.bytes()) {
                (Some(kept), Ok(size)) if !has_size(kept, size) => {
                    let bytes = kept.bytes;
                    let what = format!("has {size} bytes, but the list of parts says {bytes}: truncated or modified");
                    Err(Error::Schema { path, what })
                }
                _ => Err(Error::Parquet { path, reason }),
            },
            found => found.map(Some),
        }
    }

    /// Compares the counts with the expected ones.
    fn settle(&mut self, removed_rows: u64, is_recording: bool) {
        let listed_rows = self.listed.values().fold(0u64, |sum, kept| sum.saturating_add(kept.rows));
        let written = booked(self.manifest, self.counted.table).map(|written| written.saturating_sub(removed_rows));
        // A recording continues, and an interrupted one has no final event accounting.
        self.counted.expected = if is_recording { None } else { Some(written.unwrap_or(listed_rows)) };
        // The expected number of rows is present, in other parts.
        let is_divided_anew = self.counted.rewritten > 0 && self.counted.expected == Some(self.counted.rows);
        // A recorder that could not write the list at its end leaves unlisted parts. It has counted their rows, except for
        // those of its own tables.
        let is_explained = is_recording || is_divided_anew || written == Some(self.counted.rows);
        let is_complete = self.manifest.state == State::Complete;
        for (name, rows, says_so) in self.unlisted.iter().filter(|_| !is_explained) {
            if is_complete && written.is_none() && *says_so {
                self.counted.expected = self.counted.expected.map(|expected| expected.saturating_add(*rows));
            } else {
                self.counted.wrong.push(format!("{name} is not in the list of parts"));
            }
        }
        self.counted.wrong.extend(self.changed.drain(..).filter(|_| !is_divided_anew));
    }
}

/// Whether a part with this list entry may have this size.
fn has_size(kept: &Kept, size: u64) -> bool {
    size == kept.bytes || kept.replaced_bytes == Some(size)
}

/// Returns the difference of a part from its list entry. A different size alone is none: another program compresses otherwise.
fn change(name: PartName, found: &Found, kept: &Kept) -> Option<String> {
    if found.rows != kept.rows {
        return Some(format!("{name} has {} rows, the list of parts says {}", found.rows, kept.rows));
    }
    let last_ns = found.range_ns.map(|(_, last_ns)| last_ns);
    let differs = last_ns.zip(kept.last_ts_ns).is_some_and(|(found, kept)| found != kept);
    differs.then(|| format!("{name} has another maximum ts_ns than the list of parts says"))
}

/// Returns the number of rows written to a table by the event accounting; `None` if it does not say.
fn booked(manifest: &Manifest, table: TableId) -> Option<u64> {
    if manifest.state != State::Complete {
        return None;
    }
    let mut accounts = manifest.books.accounts.iter().filter(|account| account.class == table.name()).peekable();
    // A CPU without events has no account. The recorder keeps none for its own tables, and the generator once kept those of
    // some of its layers only.
    let has_account = accounts.peek().is_some() || table.layer().is_some();
    has_account.then(|| accounts.fold(0u64, |sum, account| sum.saturating_add(account.written)))
}
