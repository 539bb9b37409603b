//! Analysis from options to results, for any output.

use std::io::Write;

use anyhow::{Result, bail};
use iostrata_capture::Capture;
use iostrata_capture::manifest::WITHOUT_QUEUEING;
use iostrata_capture::op::Layer;
use iostrata_capture::part::Identity;
use iostrata_capture::system::Systems;
use iostrata_capture::tables::{FileTable, ProcessTable};

use crate::aggregate::{Settings, sequence};
use crate::analyses::Results;
use crate::entity::CaptureNumber;
use crate::load::{Known, Opened, choose};
use crate::loss::Losses;
use crate::names::Names;
use crate::notes;
use crate::options::Analyze;
use crate::output::{Directory, one_line, print};
use crate::partial::Partial;
use crate::scan::{EVENT_TABLES, Scan};
use crate::select::Window;
use crate::stacking::{self, LevelSelection};
use crate::store::stored::Facts;
use crate::store::{self, Partials, Store, Used};
use crate::tail::Tail;
use crate::trust::{self, Trust};
use crate::work::{Eventless, Work, scan_all};

/// Context that is known before events are read.
struct Ground<'a> {
    options: &'a Analyze,
    settings: Settings,
    captures: &'a [Capture],
    windows: Vec<Window>,
    choice: &'a LevelSelection,
    known: &'a Known<'a>,
    names: &'a Names<'a>,
    trust: Trust,
    directory: Option<Directory>,
    store: Option<Store>,
    /// What is known of the events of the captures without events, which are the last ones.
    facts: Vec<Facts>,
}

/// Loads everything that is needed before events are read and passes it to `then`. Warnings go to `err`.
fn grounded<T>(options: &Analyze, err: &mut dyn Write, then: impl FnOnce(Ground) -> Result<T>) -> Result<T> {
    let rules = match &options.rules {
        Some(file) => Systems::with_file(file)?,
        None => Systems::built_in()?,
    };
    let bundles = store::given(&options.partials)?;
    let Opened { captures, facts } = Opened::of(options, &bundles, err)?;
    let windows = options.selection.windows(&captures)?;
    let directory = options.out.as_deref().map(Directory::create).transpose()?;
    let losses: Vec<Losses> = captures.iter().map(Losses::load).collect::<Result<_>>()?;
    let mut trust = Trust::of(&captures, &losses, &windows);
    trust.count(&captures, options.partial_rows, options.selection.selects_files());
    let with_events = captures.len() - facts.len();
    let tails = captures[..with_events].iter().map(|capture| Tail::load(capture, options.memory));
    let tails: Vec<Tail> = tails.chain(facts.iter().map(|facts| Ok(facts.tail.clone()))).collect::<Result<_>>()?;
    trust.notes.extend(trust::tail::lines(&captures, &tails));
    trust.is_windowed = options.selection.is_windowed();
    trust.is_selected = !options.selection.takes_all();
    let choice = choose(&captures, options, &trust, |number, capture| match number.checked_sub(with_events) {
        Some(number) => Ok(facts[number].levels.clone()),
        None => stacking::seen(capture, options.threads),
    })?;
    trust.keep(|layer| options.selection.takes_layer(layer));
    check_layers(&captures[with_events..], &facts, &captured_layers(&trust))?;
    let known = Known::load(&captures, &rules, &choice, (losses, tails, options.needs_entities()), options.memory)?;
    let names = Names::new(&captures, &known.owners, &known.files);
    let settings = options.settings();
    let partials = if settings.are_stored() { &options.partials } else { &Partials::None };
    let store = Store::open((partials, bundles), &captures, &options.captures, options.rules.as_deref())?;
    let (captures, choice, known, names) = (&captures, &choice, &known, &names);
    then(Ground { options, settings, captures, windows, choice, known, names, trust, directory, store, facts })
}

/// Checks that files of captures without events have the layers that all captures have.
fn check_layers(captures: &[Capture], facts: &[Facts], expected: &[Layer]) -> Result<()> {
    let names = |layers: &[Layer]| match layers {
        [] => "none".to_owned(),
        layers => layers.iter().map(|layer| layer.name()).collect::<Vec<_>>().join(", "),
    };
    let Some((capture, Facts { layers, .. })) = captures.iter().zip(facts).find(|(_, facts)| facts.layers != expected)
    else {
        return Ok(());
    };
    bail!(
        "{}: its files have the layers {}, expected {}: those that all captures have, with their rows (give the same --layer and \
         --partial-rows to all)",
        capture.directory.display(),
        names(layers),
        names(expected)
    )
}

/// Returns the layers whose events are read.
fn captured_layers(trust: &Trust) -> Vec<Layer> {
    Layer::ALL.iter().copied().filter(|layer| trust.captured[*layer as usize]).collect()
}

/// Runs the analysis and passes the results to `then`, with the devices that the totals count, the output directory, and the use of partial
/// results. Warnings go to `err`.
pub fn analyzed<T>(
    options: &Analyze,
    err: &mut dyn Write,
    then: impl FnOnce(&Results, &LevelSelection, Option<&Directory>, Option<Used>) -> Result<T>,
) -> Result<T> {
    let (made, warnings) = grounded(options, err, |mut ground| {
        let (partial, order) = ground.scan()?;
        ground.check(&partial)?;
        let used = ground.store.take().map(Store::finish).transpose()?;
        let Ground { settings, captures, choice, known, names, mut trust, directory, .. } = ground;
        // An empty cell instead of a zero.
        trust.keep(|layer| layer != Layer::Block || choice.is_whole());
        // In an incomplete capture only the rows show that it was sampled.
        trust.sampled |= partial.sampled.rows > 0;
        trust.doubt(&partial.doubtful);
        options.memory.check()?;
        let finished = partial.finish(&settings, &trust.missing.map(|missing| missing.at_least), order);
        let results = Results { options, captures, known, names, finished, trust };
        Ok((then(&results, choice, directory.as_ref(), used)?, results.trust.warnings))
    })?;
    for warning in &warnings {
        print(err, &format!("{}\n", one_line(warning)))?;
    }
    Ok(made)
}

/// Reads a share of the events and keeps its partial results. Returns their use, and whether the captures are complete. Warnings go to `err`.
pub fn share(options: &Analyze, err: &mut dyn Write) -> Result<(Used, bool)> {
    let (used, warnings, is_complete) = shared(options, err)?;
    for warning in &warnings {
        print(err, &format!("{}\n", one_line(warning)))?;
    }
    Ok((used, is_complete))
}

fn shared(options: &Analyze, err: &mut dyn Write) -> Result<(Used, Vec<String>, bool)> {
    grounded(options, err, |mut ground| {
        ground.scan()?;
        if let Some(store) = &ground.store {
            let layers = captured_layers(&ground.trust);
            store.describe(ground.captures, (ground.choice, &layers), &ground.known.tails)?;
        }
        let used = ground.store.take().map(Store::finish).transpose()?;
        let Trust { mut warnings, rows_there, complete: is_complete, .. } = ground.trust;
        warnings.extend(rows_there.iter().map(|line| format!("warning: {line}")));
        Ok((used.unwrap_or_default(), warnings, is_complete))
    })
}

impl Ground<'_> {
    /// Scans all selected rows. Returns their sums and what depends on their order.
    fn scan(&self) -> Result<(Partial, sequence::Finished)> {
        let Ground { options, settings, captures, choice, known, names, trust, store, facts, .. } = self;
        let threads = options.room(settings, known.names());
        let named_by = captures.iter().map(|capture| self.named_by(capture)).collect::<Result<Vec<_>>>()?;
        let scan = |capture: usize| Scan {
            capture: CaptureNumber::new(capture, &captures[capture].manifest.capture_id),
            capture_id: &captures[capture].manifest.capture_id,
            owners: &known.owners[capture],
            files: &known.files[capture],
            disks: &known.disks[capture],
            mounted: &known.mounted[capture],
            choice,
            begins_late: trust::lacks(&captures[capture], Layer::Block, WITHOUT_QUEUEING),
            losses: &known.losses[capture],
            servers: &known.servers[capture],
            window: self.windows[capture],
            tail: &known.tails[capture],
            selection: &options.selection,
            names,
            named_by: named_by[capture].as_deref(),
            memory: options.memory,
            most_accounts: options.memory.accounts(threads),
        };
        let scans: Vec<Scan> = (0..captures.len()).map(scan).collect();
        let mut work = Vec::new();
        for (capture, scan) in captures.iter().zip(&scans) {
            for table in EVENT_TABLES.iter().filter(|table| trust.captured[table.layer as usize]) {
                let parts = table.parts(capture)?;
                work.extend(parts.into_iter().map(|part| Work { scan, table, part }));
            }
        }
        let room = (threads, options.memory);
        // Captures without events are behind all others.
        let without = scans.len() - facts.len()..scans.len();
        let read = |settings: &Settings, what: &'static str| {
            let sources = without.clone().zip(facts).map(|(number, facts)| Eventless {
                scan: &scans[number],
                path: captures[number].directory.display().to_string(),
                units: facts.plans.get(what).map_or(&[][..], Vec::as_slice),
            });
            scan_all((&work, &sources.collect::<Vec<_>>()), settings, room, (store.as_ref(), what))
        };
        // Alone, correlation runs together with counting; with all other ordered analyses it would take too much memory.
        let crosses_apart = settings.crossing && !settings.in_order.is_empty();
        let first = Settings { crossing: settings.crossing && !crosses_apart, ..settings.clone() };
        let (partial, mut order) = read(&first, "reading")?;
        for again in options.analysis.all_parts().filter_map(|analysis| analysis.again) {
            let mut settings = settings.again();
            (again.request)(&partial, &mut settings.in_order);
            order.results.extend(read(&settings, again.what)?.1.results);
        }
        if crosses_apart {
            let settings = Settings { crossing: true, ..settings.again() };
            order.crossings = read(&settings, "reading again: latency breakdown of calls")?.1.crossings;
        }
        Ok((partial, order))
    }

    /// Returns the parts that name the entities of `capture`, if names affect the stored partial results and all of these parts are complete.
    fn named_by(&self, capture: &Capture) -> Result<Option<Vec<Identity>>> {
        if self.store.is_none() || self.options.selection.takes_all() {
            return Ok(None);
        }
        let parts = capture.parts::<ProcessTable>()?.into_iter().chain(capture.parts::<FileTable>()?);
        Ok(parts.map(|part| part.identity()).collect::<iostrata_capture::Result<Option<Vec<_>>>>()?)
    }

    /// Checks that the result has rows, and has the requested windows.
    fn check(&self, partial: &Partial) -> Result<()> {
        let Ground { options, captures, trust, .. } = self;
        // With excluded layers, an empty result is valid: they may have had matching rows.
        if (partial.rows == 0 || !partial.selected) && !trust.withholds {
            bail!("{}", notes::nothing(captures, options, trust, &partial.doubtful));
        }
        options.analysis.all_parts().try_for_each(|analysis| (analysis.check)(options, partial))
    }
}
