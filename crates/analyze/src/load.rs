//! Loading of everything in captures except their events.

use std::collections::HashMap;
use std::io::Write;

use anyhow::{Result, bail};
use iostrata_capture::Capture;
use iostrata_capture::dir::Dir;
use iostrata_capture::op::Layer;
use iostrata_capture::panic_guard::reading;
use iostrata_capture::partitions;
use iostrata_capture::segment::{segments, unbegun};
use iostrata_capture::system::Systems;

use crate::disks::{Disks, disks};
use crate::files::Files;
use crate::loss::Losses;
use crate::memory::Budget;
use crate::options::Analyze;
use crate::output::{one_line, print};
use crate::owners::Owners;
use crate::servers::Servers;
use crate::stacking::{LevelSelection, Levels, Wanted};
use crate::store::Partials;
use crate::store::bundle::Bundle;
use crate::store::stored::{self, Facts};
use crate::tail::Tail;
use crate::trust::Trust;

/// Contents of captures except their events, in the order of the captures.
pub struct Known<'a> {
    /// Processes.
    pub owners: Vec<Owners<'a>>,
    /// Files.
    pub files: Vec<Files>,
    /// Disks that count the requests of devices and file systems.
    pub disks: Vec<Disks>,
    /// Disks that devices and file systems are directly on.
    pub mounted: Vec<Disks>,
    /// Lost events.
    pub losses: Vec<Losses>,
    /// Excluded ends of incomplete captures.
    pub tails: Vec<Tail>,
    /// Processes that serve I/O of others.
    pub servers: Vec<Servers>,
}

impl<'a> Known<'a> {
    /// Loads within `memory`; files only if they are needed. The size grows with the number of processes and files, not of events.
    pub fn load(
        captures: &[Capture],
        rules: &'a Systems,
        choice: &LevelSelection,
        (losses, tails, with_files): (Vec<Losses>, Vec<Tail>, bool),
        memory: Budget,
    ) -> Result<Known<'a>> {
        let files = |capture| if with_files { Files::load(capture, memory) } else { Ok(Files::default()) };
        let of = |(number, capture): (usize, &Capture)| disks(&capture.manifest, &|dev| choice.takes(number, dev));
        Ok(Known {
            owners: captures.iter().map(|capture| Owners::load(capture, rules, memory)).collect::<Result<_>>()?,
            files: captures.iter().map(files).collect::<Result<_>>()?,
            disks: captures.iter().enumerate().map(of).collect(),
            mounted: captures.iter().map(|capture| disks(&capture.manifest, &|_| true)).collect(),
            losses,
            tails,
            servers: captures.iter().map(|capture| Servers::load(capture, memory)).collect::<Result<_>>()?,
        })
    }
}

impl Known<'_> {
    /// Number of rows of the tables of processes and files.
    pub fn names(&self) -> usize {
        self.owners.iter().map(Owners::rows).chain(self.files.iter().map(Files::rows)).sum()
    }
}

/// Captures of an analysis.
pub struct Opened {
    /// Those in directories, then those without events.
    pub captures: Vec<Capture>,
    /// What is known of the events of each capture without events.
    pub facts: Vec<Facts>,
}

impl Opened {
    /// Opens the captures in the directories that the user gave. Without directories the captures are those in files of partial results. A share also
    /// needs the captures of other shares in the files: what a second reading keeps may depend on all of them.
    pub fn of(options: &Analyze, bundles: &[Bundle], err: &mut dyn Write) -> Result<Opened> {
        let mut captures = open(options, err)?;
        let mut facts = Vec::new();
        if captures.is_empty() || matches!(options.partials, Partials::To { .. }) {
            for (capture, of_events) in stored::captures(bundles, &captures)? {
                captures.push(capture);
                facts.push(of_events);
            }
        } else {
            stored::check_only(bundles, &captures)?;
        }
        Ok(Opened { captures, facts })
    }
}

/// Opens the captures, each with all of its segments. A directory without a manifest stands for the captures in its partitions.
fn open(options: &Analyze, err: &mut dyn Write) -> Result<Vec<Capture>> {
    let mut captures: Vec<Capture> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut directories = Vec::new();
    for given in &options.captures {
        if !given.is_dir() {
            bail!("{}: no such directory, expected the directory of a capture", given.display());
        }
        for given in partitions::captures(&Dir::open(given)?)? {
            directories.extend(segments(&given)?);
            for segment in unbegun(&given)? {
                let what = "has no manifest: its recorder ended before the recording began; skipped";
                print(err, &format!("{}\n", one_line(&format!("warning: {}: {what}", segment.path().display()))))?;
            }
        }
    }
    for directory in &directories {
        let capture = reading(directory.path(), || Capture::open(directory))?;
        if let Some(first) = known.insert(capture.manifest.capture_id.clone(), captures.len()) {
            let first = captures[first].directory.display();
            bail!("{}: the same capture as {first}, expected each capture once", directory.path().display());
        }
        captures.push(capture);
    }
    Ok(captures)
}

/// Chooses the stacking level of totals. There is none if requests were not captured or the selection does not involve devices. `seen` returns the
/// devices with requests of the capture with this number.
pub fn choose(
    captures: &[Capture],
    options: &Analyze,
    trust: &Trust,
    seen: impl Fn(usize, &Capture) -> Result<Levels>,
) -> Result<LevelSelection> {
    let matters =
        options.needs_entities() || options.selection.takes_layer(Layer::Block) || options.level != Wanted::Lowest;
    let captured = captures.iter().enumerate().filter(|_| trust.captured[Layer::Block as usize] && matters);
    LevelSelection::of(captured.map(|(number, capture)| seen(number, capture)).collect::<Result<_>>()?, options.level)
}
