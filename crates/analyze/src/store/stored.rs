//! Captures in files of partial results: everything of a capture except its events, so that `merge` needs only the files.
//!
//! Beside the partial results a file has a [`Document`] for each capture, and a copy of each part that has no events (processes, files, losses, clock).
//! Their ids are texts, so that other programs find them: `capture-` with the number of the capture, and `part-` with the number of the part.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use anyhow::{Context, Result, bail};
use iostrata_capture::capture::outline::{Outline, PartCopy};
use iostrata_capture::op::Layer;
use iostrata_capture::{Capture, TableId};
use serde::{Deserialize, Serialize};

use super::bundle::{self, Bundle};
use super::{Id, Planned, Store};
use crate::stacking::{LevelSelection, Levels};
use crate::tail::Tail;

/// Name of the form of documents, in the list of versions of a file.
pub const CAPTURE: &str = "capture";

/// Version of that form.
pub const VERSION: u32 = 1;

/// Document about a capture, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Document {
    /// Capture.
    capture: Outline,
    /// Devices with requests, with their levels.
    levels: Vec<(i32, Option<i32>)>,
    /// Excluded end of an incomplete capture.
    tail: Tail,
    /// Layers whose events were read: captured in all captures, selected, and without missing rows unless those were accepted.
    layers: Vec<Layer>,
    /// Copies of parts.
    parts: Vec<Copied>,
    /// Units of each scan.
    plans: Plans,
}

/// Copy of a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Copied {
    /// Table.
    table: TableId,
    /// Name in the folder of the table.
    name: String,
    /// Id in the file.
    id: String,
}

/// What files of partial results say of the events of a capture.
#[derive(Debug)]
pub struct Facts {
    /// Devices with requests.
    pub levels: Levels,
    /// Excluded end.
    pub tail: Tail,
    /// Layers whose events were read.
    pub layers: Vec<Layer>,
    /// Units of each scan.
    pub plans: Plans,
}

/// Units of scans in order, by label of the scan.
pub type Plans = BTreeMap<String, Vec<Planned>>;

fn capture_id(number: usize) -> String {
    format!("capture-{number:08}")
}

fn part_id(number: usize) -> String {
    format!("part-{number:011}")
}

impl Id {
    /// Returns it as a name of a document or a copy; none for the id of a partial result.
    pub(super) fn name(self) -> Option<String> {
        let name = str::from_utf8(&self.0).ok()?;
        let number = name.strip_prefix("capture-").or(name.strip_prefix("part-"))?;
        number.bytes().all(|digit| digit.is_ascii_digit()).then(|| name.to_owned())
    }
}

impl Store {
    /// Adds documents of all captures to the file of a share.
    ///
    /// # Errors
    /// If a part cannot be read, or the file cannot be written.
    pub fn describe(
        &self,
        captures: &[Capture],
        (choice, layers): (&LevelSelection, &[Layer]),
        tails: &[Tail],
    ) -> Result<()> {
        let (Some(_), Some(to)) = (self.share, self.to.first()) else { return Ok(()) };
        let write = |text: &str, raw: &[u8]| self.write(to, Id::read(text.as_bytes()), (raw, &bundle::packed(raw)?));
        let mut plans = std::mem::take(&mut *self.plans.lock().unwrap_or_else(PoisonError::into_inner));
        let mut copies = 0;
        let captures = captures.iter().zip(tails).filter(|(capture, _)| capture.has_events());
        for (number, (capture, tail)) in captures.enumerate() {
            let mut parts = Vec::new();
            for (table, part) in capture.reference_parts()? {
                let (id, (name, bytes)) = (part_id(copies), part.copy()?);
                copies += 1;
                write(&id, &bytes)?;
                parts.push(Copied { table, name, id });
            }
            let own = plans.extract_if(.., |(of, _), _| *of == number);
            let document = Document {
                capture: Outline::of(capture)?,
                levels: choice.seen(number).into_iter().collect(),
                tail: tail.clone(),
                layers: layers.to_vec(),
                parts,
                plans: own.map(|((_, what), units)| (what.to_owned(), units.into_values().collect())).collect(),
            };
            write(&capture_id(number), &serde_json::to_vec(&document)?)?;
        }
        Ok(())
    }
}

/// Returns the captures in `bundles` that are not among `others`, in the order of the files. Several files may have shares of one capture.
///
/// # Errors
/// If a file is corrupt or has no capture, or two have different states of one.
pub fn captures(bundles: &[Bundle], others: &[Capture]) -> Result<Vec<(Capture, Facts)>> {
    let mut all: Vec<Found> = Vec::new();
    for bundle in bundles {
        let (mut number, mut parts) = (0, 0);
        for document in documents(bundle) {
            let document = document?;
            number += 1;
            parts += document.parts.len();
            if is_among(&document.capture, others) {
                continue;
            }
            let new = Found { bundle, document };
            match all.iter_mut().find(|found| found.document.capture.capture_id() == new.document.capture.capture_id())
            {
                Some(known) => known.add_share(new)?,
                None => all.push(new),
            }
        }
        if bundle.named.len() != number + parts {
            bail!(
                "{}: corrupt file, it lacks a document about a capture, or a copy of a part",
                bundle.path().display()
            );
        }
        if number == 0 {
            bail!("{}: has no capture, expected a file of `iostrata-analyze partial`", bundle.path().display());
        }
    }
    all.into_iter().map(Found::open).collect()
}

/// Checks that the files have only captures among `captures`, which the user named.
///
/// # Errors
/// If a file has another capture.
pub fn check_only(bundles: &[Bundle], captures: &[Capture]) -> Result<()> {
    for bundle in bundles {
        for document in documents(bundle) {
            let Document { capture, .. } = document?;
            if !is_among(&capture, captures) {
                bail!(
                    "{}: has also the capture {}, expected only captures in the directories given; or no directory, to merge all of the files",
                    bundle.path().display(),
                    capture.directory()
                );
            }
        }
    }
    Ok(())
}

fn is_among(capture: &Outline, captures: &[Capture]) -> bool {
    captures.iter().any(|of| Some(of.manifest.capture_id.as_str()) == capture.capture_id())
}

/// Reads the documents of a file, one after the other.
fn documents(bundle: &Bundle) -> impl Iterator<Item = Result<Document>> {
    let places = (0..).map_while(|number| Some((number, bundle.named.get(&capture_id(number))?)));
    places.map(|(number, place)| {
        let corrupt = || format!("{}: the document about capture {number} is corrupt", bundle.path().display());
        serde_json::from_slice(&bundle.read(place)?).with_context(corrupt)
    })
}

/// Capture of a file, and of all files with shares of it.
struct Found<'a> {
    bundle: &'a Bundle,
    document: Document,
}

impl Found<'_> {
    /// Adds the plans of another file with the same capture.
    fn add_share(&mut self, other: Found) -> Result<()> {
        let parts = |document: &Document| -> Vec<(TableId, String)> {
            document.parts.iter().map(|part| (part.table, part.name.clone())).collect()
        };
        let (own, others) = (&self.document, &other.document);
        let mut is_same = own.capture.is_same(&others.capture)
            && (&own.levels, &own.layers) == (&others.levels, &others.layers)
            && parts(own) == parts(others);
        for (what, units) in other.document.plans {
            let known = self.document.plans.entry(what).or_default();
            // A share may not know of a scan that depends on the results of all.
            if known.is_empty() {
                *known = units;
            } else {
                is_same &= units.is_empty() || *known == units;
            }
        }
        if !is_same {
            bail!(
                "{} and {} have shares of different states of {}, expected all of one state, made with the same options",
                self.bundle.path().display(),
                other.bundle.path().display(),
                self.document.capture.directory()
            );
        }
        Ok(())
    }

    fn open(self) -> Result<(Capture, Facts)> {
        let Found { bundle, document: Document { capture, levels, tail, layers, parts, plans } } = self;
        let path = bundle.path();
        let copy = |Copied { table, name, id }: Copied| {
            let Some(place) = bundle.named.get(&id) else {
                bail!("{}: part {name} of table {table} is missing, expected a copy of it", path.display());
            };
            Ok(PartCopy { table, name, bytes: bundle.read(place)?.into() })
        };
        let copies: Vec<PartCopy> = parts.into_iter().map(copy).collect::<Result<_>>()?;
        Ok((capture.open(copies, &path)?, Facts { levels: levels.into_iter().collect(), tail, layers, plans }))
    }
}
