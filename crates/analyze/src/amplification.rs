//! `amplification.csv`: bytes from the application over the page cache to the device, by system, process, cgroup, file and
//! device, and what they were amplified by.

use std::collections::HashMap;

use iostrata_capture::ledger::Amounts;
use iostrata_capture::manifest::Manifest;
use iostrata_capture::op::{Direction, Evidence, IoClass, Layer};
use iostrata_capture::part::Capture;
use iostrata_capture::system::without_owner;

use crate::aggregate::count::DIRECTIONS;
use crate::aggregate::flow::{Flow, Flows, Path};
use crate::entity::{Entity, FileId, Scope, device_number};
use crate::files::Files;
use crate::frame::{ResultColumn, Value};
use crate::owners::Owners;
use crate::partial::Finished;
use crate::trust::Trust;

/// What a row is made from.
pub struct Row {
    scope: &'static str,
    name: String,
    id: String,
    direction: Direction,
    flow: Flow,
    captured: [bool; Layer::ALL.len()],
    unknown: Unknown,
}

/// What may belong to a row and is not known to; `None` where not even its amount is known.
#[derive(Debug, Clone, Copy, Default)]
struct Unknown {
    /// Bytes that the application may have moved: lost.
    application: Option<u64>,
    /// Bytes that the device may have moved for it: lost, or data without an owner.
    device: Option<u64>,
}

/// The disk that each file system of a capture lies on: file systems on a disk or partition have its device number, others
/// (btrfs) are mounted from it.
pub fn disks(manifest: &Manifest) -> HashMap<i32, i32> {
    let mut disks = HashMap::new();
    for disk in &manifest.devices {
        let mut names = vec![format!("/dev/{}", disk.name)];
        disks.insert(disk.dev, disk.dev);
        for partition in &disk.partitions {
            disks.insert(partition.dev, disk.dev);
            names.push(format!("/dev/{}", partition.name));
        }
        let mounted = manifest.mounts.iter().filter(|mount| names.contains(&mount.source));
        disks.extend(mounted.map(|mount| (mount.dev, disk.dev)));
    }
    disks
}

/// The names of entities.
pub struct Names<'a> {
    captures: &'a [Capture],
    owners: &'a [Owners<'a>],
    files: &'a [Files],
}

impl<'a> Names<'a> {
    /// From these captures, their processes and their files, in the same order.
    pub fn new(captures: &'a [Capture], owners: &'a [Owners<'a>], files: &'a [Files]) -> Self {
        Names { captures, owners, files }
    }

    fn of(&self, entity: &Entity) -> (String, String) {
        match *entity {
            Entity::Process(capture, pid, start_ns) => {
                let comm = self.owners[capture].comm(pid, start_ns).unwrap_or_default();
                (comm.to_owned(), format!("{pid}@{start_ns}"))
            }
            Entity::Cgroup(capture, id) => {
                (self.owners[capture].cgroup(id).unwrap_or_default().to_owned(), id.to_string())
            }
            Entity::File(capture, file) => {
                let FileId { dev, ino, generation } = file;
                let generation = generation.map(|generation| format!("@{generation}")).unwrap_or_default();
                let name = self.files[capture].name(file).unwrap_or_default();
                (name.to_owned(), format!("{}:{ino}{generation}", device_number(dev)))
            }
            Entity::Device(capture, dev) => {
                let device = self.captures[capture].manifest.devices.iter().find(|device| device.dev == dev);
                (device.map(|device| device.name.clone()).unwrap_or_default(), device_number(dev))
            }
            Entity::Nobody(_, class) => (without_owner(class).to_owned(), String::new()),
        }
    }
}

/// Rows for the total, for each system by name and for each entity, in both directions; those without bytes are left out.
pub fn rows(finished: &Finished, names: &Names, trust: &Trust) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut push = |scope, (name, id): (String, String), flows: &Flows, nobodys: &Flows| {
        for direction in DIRECTIONS {
            let flow = *flows.get(direction);
            let unknown = unknown(trust, direction, nobodys.get(direction).data());
            let row =
                Row { scope, name: name.clone(), id: id.clone(), direction, flow, captured: trust.captured, unknown };
            if flow != Flow::default() {
                rows.push(row);
            }
        }
    };
    push("total", (String::new(), String::new()), &finished.total_flows, &Flows::default());
    let mut nobodys = Flows::default();
    let unowned = without_owner(IoClass::Data);
    finished.systems.iter().filter(|system| system.name == unowned).for_each(|s| nobodys.combine(&s.flows));
    for system in &finished.systems {
        push("system", (system.name.clone(), String::new()), &system.flows, &nobodys);
    }
    for scope in Scope::ALL {
        let mut nobodys = Flows::default();
        for (entity, flows) in &finished.entities {
            if matches!(entity, Entity::Nobody(of, IoClass::Data | IoClass::Readahead) if *of == scope) {
                nobodys.combine(flows);
            }
        }
        for (entity, flows) in finished.entities.iter().filter(|(entity, _)| entity.scope() == scope) {
            push(scope.name(), names.of(entity), flows, &nobodys);
        }
    }
    rows
}

fn unknown(trust: &Trust, direction: Direction, nobodys: u64) -> Unknown {
    let lost = |layer: Layer| trust.lost_io[layer as usize].map(|amounts| bytes(amounts, direction));
    Unknown { application: lost(Layer::Syscall), device: lost(Layer::Block).map(|lost| lost.saturating_add(nobodys)) }
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

    /// Without the file system layer what went through mappings is missing, and the sum is what is known.
    fn application(&self) -> Option<u64> {
        self.has(Layer::Syscall).then(|| self.flow.application())
    }

    fn device(&self) -> Option<u64> {
        self.has(Layer::Block).then(|| self.flow.device())
    }

    fn absorbed(&self) -> Option<u64> {
        Some(self.application()?.saturating_sub(self.has(Layer::Block).then(|| self.flow.data())?))
    }

    /// Device bytes by application bytes, with more of either; undefined where the application moved none.
    fn ratio(&self, more_device: Option<u64>, more_application: Option<u64>) -> Option<f64> {
        let asked = self.application().filter(|bytes| *bytes > 0)?;
        let (above, below) = (self.device()?.saturating_add(more_device?), asked.saturating_add(more_application?));
        Some(above as f64 / below as f64)
    }
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
        let layer = if *path == Path::Mapping { Layer::Fs } else { Layer::Syscall };
        columns.push(integer(
            format!("{}_bytes", path.name()),
            format!("Bytes that the application moved {}.", path.doc()),
            move |row| row.has(layer).then(|| row.flow.of_path(*path)),
        ));
    }
    columns.push(integer("application_bytes".into(), "The sum of these.".into(), Row::application));
    columns.push(integer(
        "cached_bytes".into(),
        "Bytes of file contents that entered the page cache to be read, or turned dirty there.".into(),
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
        "The sum of these. Of each scope all rows add up to the kernel's counters of the devices.".into(),
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
         before it was written back."
            .into(),
        Row::absorbed,
    ));
    columns.push(decimal(
        "amplification",
        "`device_bytes` / `application_bytes`; empty where the application moved none.",
        |row| row.ratio(Some(0), Some(0)),
    ));
    columns.push(decimal(
        "amplification_low",
        "The same if all lost system calls were of this row, and the application had used all that page faults brought in; \
         empty if not known.",
        |row| row.ratio(Some(0), row.unknown.application.map(|lost| lost.saturating_add(row.flow.mapped_ahead()))),
    ));
    columns.push(decimal(
        "amplification_high",
        "The same if all lost requests and all data without an owner were of this row; empty if not known.",
        |row| row.ratio(row.unknown.device, Some(0)),
    ));
    columns
}
