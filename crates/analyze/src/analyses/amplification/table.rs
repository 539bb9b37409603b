//! `amplification.csv`: bytes from the application through the page cache to the device, by system, process, cgroup, file and
//! device, and their amplification.

use std::sync::Arc;

use iostrata_capture::ledger::Amounts;
use iostrata_capture::op::{Direction, Evidence, IoClass, Layer};
use iostrata_capture::system::without_owner;
use polars::prelude::{DataFrame, PolarsResult};

use crate::aggregate::count::DIRECTIONS;
use crate::aggregate::flow::{Flow, Flows, Path};
use crate::analyses::table::{Table, in_frames};
use crate::analyses::{Results, subject};
use crate::disks::Disks;
use crate::entity::{Entity, Scope};
use crate::frame::{self, ResultColumn, Value};
use crate::names::Names;
use crate::owners::ProcessNames;
use crate::partial::Finished;
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str = "Bytes from the application to the device, one row for each system, process, cgroup, file and device and \
    each direction that has any. Each scope has all bytes once, unattributed ones in a row of their own, so the rows of \
    one scope sum to the kernel's device counters. Attribution and its uncertainty: \
    docs/explanation/attribution.md. Memory grows with the number of processes, cgroups and files.";

/// The table.
pub static TABLE: Table = Table {
    name: "amplification",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        in_frames(&columns(), rows(&results.finished, results.names, &results.known.disks, &results.trust), take)
    },
};

/// Names of the entity or the system of a row; empty for the total.
#[derive(Clone, Default)]
struct Whose {
    name: String,
    id: String,
    host: Arc<str>,
    process: ProcessNames,
}

/// Source of a row.
pub struct Row {
    scope: &'static str,
    whose: Whose,
    direction: Direction,
    flow: Flow,
    captured: [bool; Layer::ALL.len()],
    told: [bool; Path::ALL.len()],
    /// Whether bytes into and out of the page cache cannot be compared.
    is_part: bool,
    unknown: Unknown,
}

/// Bytes that may belong to a row; `None` where their number is not known.
#[derive(Debug, Clone, Copy, Default)]
struct Unknown {
    /// Bytes that the application may have moved: lost, or unattributed in this scope.
    application: Option<u64>,
    /// Bytes that the device may have moved for it: lost, unattributed data, or folios attributed to others.
    device: Option<u64>,
    /// Bytes of folios that are attributed to it and may belong to others.
    others: u64,
}

/// Rows for the total, for each system by name and for each entity, in both directions; rows without bytes are excluded.
pub fn rows<'a>(
    finished: &'a Finished,
    names: &'a Names,
    disks: &'a [Disks],
    trust: &'a Trust,
) -> impl Iterator<Item = Row> + use<'a> {
    let total = finished.total_flows;
    // The owner of a folio that several processes modified does not matter for scopes that have all of them in one row.
    let several = move |by_writer: bool, direction, flow: &Flow| {
        let all = if by_writer { total.get(direction).of_evidence(Evidence::Folio) } else { 0 };
        let own = if by_writer { flow.of_evidence(Evidence::Folio) } else { 0 };
        (own, all.saturating_sub(own))
    };
    let both = move |scope, whose: Whose, flows: Flows, nobodys: Flows, captured| {
        let by_writer = WRITERS.contains(&scope);
        let moved = DIRECTIONS.into_iter().filter(move |direction| *flows.get(*direction) != Flow::default());
        moved.map(move |direction| Row {
            scope,
            whose: whose.clone(),
            direction,
            flow: *flows.get(direction),
            captured,
            told: trust.told,
            is_part: trust.sampled || trust.is_windowed,
            unknown: unknown(
                trust,
                direction,
                nobodys.get(direction),
                several(by_writer, direction, flows.get(direction)),
            ),
        })
    };
    // The daemons' own I/O is in no total either, so any of their bytes may be application bytes.
    // Partial rows have no total, of the machine or of a disk.
    let of_total = (!trust.is_partial)
        .then(|| both("total", Default::default(), total, finished.served_flows, trust.captured_of_total()));
    let nobodys =
        finished.systems.called(without_owner(IoClass::Data)).map(|system| system.flows()).unwrap_or_default();
    let of_systems = finished.systems.iter().flat_map(move |system| {
        let named = Whose { name: system.name.to_owned(), ..Whose::default() };
        both("system", named, system.flows(), nobodys, trust.captured)
    });
    let scopes = Scope::ALL.into_iter().filter(|scope| !trust.is_partial || *scope != Scope::Device);
    let of_entities = scopes.flat_map(move |scope| {
        let nobodys = finished.entities.get(&Entity::Nobody(scope, IoClass::Data)).unwrap_or_default();
        finished.entities.of(scope).flat_map(move |(entity, flows)| {
            let (flows, (name, id)) = (flows.get(), names.of(&entity));
            let captured = captured((entity, scope), &flows, disks, trust);
            let whose = Whose { name, id, host: names.host(&entity), process: names.told(&entity) };
            both(scope.name(), whose, flows, nobodys, captured)
        })
    });
    of_total.into_iter().flatten().chain(of_systems).chain(of_entities)
}

/// Classes of bytes that a device moves, each with a column.
pub fn device_classes() -> impl Iterator<Item = IoClass> {
    IoClass::ALL.iter().copied().filter(|class| !matches!(class, IoClass::Flush | IoClass::Discard))
}

/// Builds the rows of the total.
///
/// # Errors
/// If the library cannot build a table.
pub fn total(results: &Results) -> PolarsResult<DataFrame> {
    let rows = rows(&results.finished, results.names, &results.known.disks, &results.trust);
    frame::frame(&columns(), &rows.take_while(|row| row.scope == "total").collect::<Vec<_>>())
}

/// Layers that a row of an entity has.
fn captured(
    (entity, scope): (Entity, Scope),
    flows: &Flows,
    disks: &[Disks],
    trust: &Trust,
) -> [bool; Layer::ALL.len()] {
    let has = |disks: Option<&Disks>, dev| disks.is_some_and(|disks| disks.contains_key(&dev));
    match entity {
        // Device I/O for a file of an overlay or a network file system is recorded for another file, or for none.
        Entity::File(capture, file) if flows.device() == 0 && !has(disks.get(capture.place()), file.dev) => {
            trust.captured_without(Layer::Block)
        }
        // Also the row of I/O without a known device.
        _ if scope == Scope::Device => trust.captured_of_total(),
        _ => trust.captured,
    }
}

/// Scopes of writers. The owner of a folio is uncertain for these, not for files and devices.
const WRITERS: [&str; 3] = ["system", Scope::Process.name(), Scope::Cgroup.name()];

/// Bytes that may belong to a row. `nobodys` has the unattributed file data of the scope; `several` the bytes of folios that several
/// processes modified: those of the row, and those of others.
fn unknown(trust: &Trust, direction: Direction, nobodys: &Flow, several: (u64, u64)) -> Unknown {
    let lost = |layer: Layer| trust.lost_io[layer as usize].map(|amounts| bytes(amounts, direction));
    let untold = trust.told.contains(&false);
    let application = lost(Layer::Syscall).zip(lost(Layer::Fs)).filter(|_| !untold);
    Unknown {
        application: application
            .map(|(calls, pages)| calls.saturating_add(pages).saturating_add(nobodys.application())),
        device: lost(Layer::Block).map(|lost| lost.saturating_add(nobodys.data()).saturating_add(several.1)),
        others: several.0,
    }
}

fn bytes(amounts: Amounts, direction: Direction) -> u64 {
    match direction {
        Direction::Read => amounts.read_bytes,
        Direction::Write => amounts.write_bytes,
    }
}

impl Row {
    fn has(&self, layer: Layer) -> bool {
        self.captured[layer as usize]
    }

    /// Application bytes on the recorded paths; without the file system layer mappings are missing.
    fn application(&self) -> Option<u64> {
        self.has(Layer::Syscall).then(|| self.flow.application())
    }

    fn device(&self) -> Option<u64> {
        self.has(Layer::Block).then(|| self.flow.device())
    }

    /// Absorbed bytes. The difference of estimates would be mostly chance, that of a time window mostly writeback after its end.
    fn absorbed(&self) -> Option<u64> {
        absorbed(&self.flow, &self.captured).filter(|_| !self.is_part)
    }

    /// Device bytes / application bytes, with bytes added or subtracted; undefined where the application moved none.
    fn ratio(&self, more_device: Option<u64>, fewer_device: u64, more_application: Option<u64>) -> Option<f64> {
        let asked = self.application().filter(|bytes| *bytes > 0)?;
        let above = self.device()?.saturating_add(more_device?).saturating_sub(fewer_device);
        let below = asked.saturating_add(more_application?);
        Some(above as f64 / below as f64)
    }
}

/// File data that the application moved and the device did not.
pub fn absorbed(flow: &Flow, captured: &[bool; Layer::ALL.len()]) -> Option<u64> {
    let both = captured[Layer::Syscall as usize] && captured[Layer::Block as usize];
    both.then(|| flow.application().saturating_sub(flow.data()))
}

fn text(name: &str, doc: &str, value: impl Fn(&Row) -> &str + 'static) -> ResultColumn<Row> {
    ResultColumn { name: name.into(), doc: doc.into(), value: Value::Text(Box::new(value)) }
}

fn integer(name: String, doc: String, value: impl Fn(&Row) -> Option<u64> + 'static) -> ResultColumn<Row> {
    ResultColumn { name, doc, value: Value::Integer(Box::new(value)) }
}

fn decimal(name: &str, doc: &str, value: impl Fn(&Row) -> Option<f64> + 'static) -> ResultColumn<Row> {
    ResultColumn { name: name.into(), doc: doc.into(), value: Value::Number(Box::new(value)) }
}

/// The columns, in order.
pub fn columns() -> Vec<ResultColumn<Row>> {
    let mut columns = vec![
        text("scope", "Scope of the row: `total`, `system`, `process`, `cgroup`, `file` or `device`.", |row| row.scope),
        text(
            "name",
            "Name: command, cgroup path, disk; a word in parentheses for unattributed I/O. For a file the last recorded path: \
             from the root of a mount namespace it begins with `/`, from the root of its file system with \
             `[major:minor]/`, a truncated one with `…/`; empty when no path is known.",
            |row| &row.whose.name,
        ),
        text(
            "id",
            "`pid@start_ns` of a process, the id of a cgroup, `major:minor` of a disk. `major:minor:inode@generation` of a file, \
             without the generation when `file` has no row of it.",
            |row| &row.whose.id,
        ),
        subject::host(|row: &Row| &row.whose.host),
        text("direction", "`read` or `write`.", |row| match row.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        }),
    ];
    for path in Path::ALL {
        columns.push(integer(
            format!("{}_bytes", path.name()),
            format!(
                "Number of bytes that the application moved {}; empty when a capture does not record them.",
                path.doc()
            ),
            move |row| row.told[*path as usize].then(|| row.flow.of_path(*path)),
        ));
    }
    columns.push(integer(
        "application_bytes".into(),
        "Sum of the known ones of these, in bytes.".into(),
        Row::application,
    ));
    columns.push(integer(
        "cached_bytes".into(),
        "Bytes of file data that entered the page cache for reading, or turned dirty in it: whole folios, of which fewer bytes may have \
         been written."
            .into(),
        |row| row.has(Layer::Fs).then(|| row.flow.cached()),
    ));
    for class in device_classes() {
        columns.push(integer(
            format!("device_{}_bytes", class.name()),
            format!("Number of bytes of class `{}` that the device moved.", class.name()),
            move |row| row.has(Layer::Block).then(|| row.flow.of_class(class)),
        ));
    }
    columns.push(integer(
        "device_bytes".into(),
        "Sum of these, in bytes. The rows of each scope sum to the kernel's device counters. Empty for a file on a file \
         system without a recorded disk (overlayfs, network): its device I/O belongs to another file."
            .into(),
        Row::device,
    ));
    for evidence in Evidence::ALL {
        columns.push(integer(
            format!("evidence_{}_bytes", evidence.name()),
            format!("Part of `device_bytes` that is attributed to this row by evidence `{}`.", evidence.name()),
            move |row| row.has(Layer::Block).then(|| row.flow.of_evidence(*evidence)),
        ));
    }
    columns.push(integer(
        "absorbed_bytes".into(),
        "Bytes of file data that the application moved and the device did not: cache hits, and data overwritten or deleted \
         before writeback. Empty with sampling, and with a time window."
            .into(),
        Row::absorbed,
    ));
    columns.push(decimal(
        "amplification",
        "`device_bytes` / `application_bytes`; empty when the application moved none.",
        |row| row.ratio(Some(0), 0, Some(0)),
    ));
    columns.push(decimal(
        "amplification_low",
        "Lower bound of `amplification`: all lost system calls and all unattributed application bytes of this scope belong to this row, the application used all \
         pages that page faults brought in, and no `evidence_folio_bytes` belong to this row; empty when not known, as without the `fs` layer.",
        |row| {
            let application = row.unknown.application.map(|lost| lost.saturating_add(row.flow.mapped_ahead()));
            row.ratio(Some(0), row.unknown.others, application)
        },
    ));
    columns.push(decimal(
        "amplification_high",
        "Upper bound of `amplification`: all lost requests, all unattributed data and, for systems, processes and cgroups, all `evidence_folio_bytes` \
         belong to this row; empty when not known.",
        |row| row.ratio(row.unknown.device, 0, Some(0)),
    ));
    columns.push(text("exe", "Path of the executable of a process, as in `process`; else empty.", |row| {
        &row.whose.process.exe
    }));
    columns.push(text("cmdline", "Command line of a process, as in `process`; else empty.", |row| {
        &row.whose.process.cmdline
    }));
    columns
}
