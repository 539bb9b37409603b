//! `amplification.csv`: bytes from the application over the page cache to the device, by system, process, cgroup, file and
//! device, and what they were amplified by.

use iostrata_capture::ledger::Amounts;
use iostrata_capture::op::{Direction, Evidence, IoClass, Layer};
use iostrata_capture::system::without_owner;

use crate::aggregate::count::DIRECTIONS;
use crate::aggregate::flow::{Flow, Flows, Path};
use crate::disks::Disks;
use crate::entity::{Entity, Scope};
use crate::frame::{ResultColumn, Value};
use crate::names::Names;
use crate::owners::Told;
use crate::partial::Finished;
use crate::trust::Trust;

/// What the table is.
pub const DOC: &str = "Bytes on their way from the application to the device, one row for each system, process, cgroup, file and device and \
    each direction that has any. Each scope has all bytes once, and what is nobody's in a row of its own, so the rows of \
    one scope add up to the kernel's counters of the devices. How an owner is known, and what remains uncertain: \
    docs/explanation/attribution.md. Memory follows the number of processes, cgroups and files.";

/// What a row is made from.
pub struct Row {
    scope: &'static str,
    name: String,
    id: String,
    process: Told,
    direction: Direction,
    flow: Flow,
    captured: [bool; Layer::ALL.len()],
    told: [bool; Path::ALL.len()],
    /// What went into the cache and what came out of it cannot be compared.
    is_part: bool,
    unknown: Unknown,
}

/// What may belong to a row and is not known to; `None` where not even its amount is known.
#[derive(Debug, Clone, Copy, Default)]
struct Unknown {
    /// Bytes that the application may have moved: lost, or of nobody in this scope.
    application: Option<u64>,
    /// Bytes that the device may have moved for it: lost, or data without an owner, or of folios that are counted as others'.
    device: Option<u64>,
    /// Bytes of folios that are counted as its own and may be others'.
    others: u64,
}

/// Rows for the total, for each system by name and for each entity, in both directions; those without bytes are left out.
pub fn rows<'a>(
    finished: &'a Finished,
    names: &'a Names,
    disks: &'a [Disks],
    trust: &'a Trust,
) -> impl Iterator<Item = Row> + use<'a> {
    let total = finished.total_flows;
    // Whose a folio is that several processes changed does not matter where all of them are one.
    let several = move |by_writer: bool, direction, flow: &Flow| {
        let all = if by_writer { total.get(direction).of_evidence(Evidence::Folio) } else { 0 };
        let own = if by_writer { flow.of_evidence(Evidence::Folio) } else { 0 };
        (own, all.saturating_sub(own))
    };
    let both = move |scope, (name, id, process): (String, String, Told), flows: Flows, nobodys: Flows, captured| {
        let by_writer = WRITERS.contains(&scope);
        let moved = DIRECTIONS.into_iter().filter(move |direction| *flows.get(*direction) != Flow::default());
        moved.map(move |direction| Row {
            scope,
            name: name.clone(),
            id: id.clone(),
            process: process.clone(),
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
    // What daemons did for themselves is in no total either, so that all of theirs may have been asked for.
    // Of a part of the rows there is no total, of the machine or of a disk.
    let of_total = (!trust.is_partial)
        .then(|| both("total", Default::default(), total, finished.served_flows, trust.captured_of_total()));
    let nobodys =
        finished.systems.called(without_owner(IoClass::Data)).map(|system| system.flows()).unwrap_or_default();
    let of_systems = finished.systems.iter().flat_map(move |system| {
        let named = (system.name.to_owned(), String::new(), Told::default());
        both("system", named, system.flows(), nobodys, trust.captured)
    });
    let scopes = Scope::ALL.into_iter().filter(|scope| !trust.is_partial || *scope != Scope::Device);
    let of_entities = scopes.flat_map(move |scope| {
        let nobodys = finished.entities.get(&Entity::Nobody(scope, IoClass::Data)).unwrap_or_default();
        finished.entities.of(scope).flat_map(move |(entity, flows)| {
            let (flows, (name, id)) = (flows.get(), names.of(&entity));
            let captured = captured((entity, scope), &flows, disks, trust);
            both(scope.name(), (name, id, names.told(&entity)), flows, nobodys, captured)
        })
    });
    of_total.into_iter().flatten().chain(of_systems).chain(of_entities)
}

/// The layers that a row of an entity has.
fn captured(
    (entity, scope): (Entity, Scope),
    flows: &Flows,
    disks: &[Disks],
    trust: &Trust,
) -> [bool; Layer::ALL.len()] {
    let has = |disks: Option<&Disks>, dev| disks.is_some_and(|disks| disks.contains_key(&dev));
    match entity {
        // What reaches the device for a file of an overlay or a network has another file, or none.
        Entity::File(capture, file) if flows.device() == 0 && !has(disks.get(capture), file.dev) => {
            trust.captured_without(Layer::Block)
        }
        // Also of the row of what no device is known of.
        _ if scope == Scope::Device => trust.captured_of_total(),
        _ => trust.captured,
    }
}

/// Scopes of those who write: of files and devices it is no question whose a folio is.
const WRITERS: [&str; 3] = ["system", Scope::Process.name(), Scope::Cgroup.name()];

/// `nobodys` is what in the scope is nobody's, of file contents; `several` is what of folios that several changed is the row's, and
/// what is others'.
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

    /// Of the ways that are told; without the file system layer mappings are missing.
    fn application(&self) -> Option<u64> {
        self.has(Layer::Syscall).then(|| self.flow.application())
    }

    fn device(&self) -> Option<u64> {
        self.has(Layer::Block).then(|| self.flow.device())
    }

    /// Of estimates the difference would be mostly chance, and of a window of time mostly what was written back beyond its end.
    fn absorbed(&self) -> Option<u64> {
        absorbed(&self.flow, &self.captured).filter(|_| !self.is_part)
    }

    /// Device bytes by application bytes, with more and fewer of these; undefined where the application moved none.
    fn ratio(&self, more_device: Option<u64>, fewer_device: u64, more_application: Option<u64>) -> Option<f64> {
        let asked = self.application().filter(|bytes| *bytes > 0)?;
        let above = self.device()?.saturating_add(more_device?).saturating_sub(fewer_device);
        let below = asked.saturating_add(more_application?);
        Some(above as f64 / below as f64)
    }
}

/// What the application moved and the device did not, of file contents.
pub(super) fn absorbed(flow: &Flow, captured: &[bool; Layer::ALL.len()]) -> Option<u64> {
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
        text(
            "scope",
            "By what the row is one of: `total`, `system`, `process`, `cgroup`, `file` or `device`.",
            |row| row.scope,
        ),
        text(
            "name",
            "The name: command, cgroup path, disk; a word in parentheses for what is nobody's. Of a file the last path that was \
             told: from the root of a mount namespace it begins with `/`, from the root of its file system with \
             `[major:minor]/`, and one that is cut with `…/`; empty where no path is known.",
            |row| &row.name,
        ),
        text(
            "id",
            "`pid@start_ns` of a process, the id of a cgroup, `major:minor` of a disk. Of a file `major:minor:inode@generation`, \
             without the generation where `file` has no row of it.",
            |row| &row.id,
        ),
        text("direction", "`read` or `write`.", |row| match row.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        }),
    ];
    for path in Path::ALL {
        columns.push(integer(
            format!("{}_bytes", path.name()),
            format!("Bytes that the application moved {}; empty where a capture does not tell of them.", path.doc()),
            move |row| row.told[*path as usize].then(|| row.flow.of_path(*path)),
        ));
    }
    columns.push(integer("application_bytes".into(), "The sum of these that are known.".into(), Row::application));
    columns.push(integer(
        "cached_bytes".into(),
        "Bytes of file contents that entered the page cache to be read, or turned dirty there: of whole folios, of which less may have \
         been written."
            .into(),
        |row| row.has(Layer::Fs).then(|| row.flow.cached()),
    ));
    for class in IoClass::ALL.iter().filter(|class| !matches!(class, IoClass::Flush | IoClass::Discard)) {
        columns.push(integer(
            format!("device_{}_bytes", class.name()),
            format!("Bytes that the device moved, of class `{}`.", class.name()),
            move |row| row.has(Layer::Block).then(|| row.flow.of_class(*class)),
        ));
    }
    columns.push(integer(
        "device_bytes".into(),
        "The sum of these. Of each scope all rows add up to the kernel's counters of the devices. Empty of a file whose file \
         system lies on no disk that was recorded (overlayfs, a network): what reaches a device for it is another file's."
            .into(),
        Row::device,
    ));
    for evidence in Evidence::ALL {
        columns.push(integer(
            format!("evidence_{}_bytes", evidence.name()),
            format!("What of `device_bytes` is known to be this row's by `{}`.", evidence.name()),
            move |row| row.has(Layer::Block).then(|| row.flow.of_evidence(*evidence)),
        ));
    }
    columns.push(integer(
        "absorbed_bytes".into(),
        "What the application moved and the device did not, of file contents: found in the cache, overwritten or deleted \
         before it was written back. Empty of a sample, and of a window of time."
            .into(),
        Row::absorbed,
    ));
    columns.push(decimal(
        "amplification",
        "`device_bytes` / `application_bytes`; empty where the application moved none.",
        |row| row.ratio(Some(0), 0, Some(0)),
    ));
    columns.push(decimal(
        "amplification_low",
        "The same if all lost system calls, and in this scope nobody's, were of this row, the application had used all that \
         page faults brought in, and nothing of `evidence_folio_bytes` were of this row; empty if not known, as without the `fs` layer.",
        |row| {
            let application = row.unknown.application.map(|lost| lost.saturating_add(row.flow.mapped_ahead()));
            row.ratio(Some(0), row.unknown.others, application)
        },
    ));
    columns.push(decimal(
        "amplification_high",
        "The same if all lost requests, all data without an owner and, of systems, processes and cgroups, all `evidence_folio_bytes` \
         were of this row; empty if not known.",
        |row| row.ratio(row.unknown.device, 0, Some(0)),
    ));
    columns.push(text("exe", "Of a process the path of its executable, as in `process`; else empty.", |row| {
        &row.process.exe
    }));
    columns.push(text("cmdline", "Of a process its command line, as in `process`; else empty.", |row| {
        &row.process.cmdline
    }));
    columns
}
