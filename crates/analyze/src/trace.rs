//! `trace.json`: individual operations for trace viewers.
//!
//! The format is Chrome's Trace Event Format, JSON, which Perfetto reads too. A viewer groups the slices of a process, and stacks slices of one
//! thread only if one is within the other. So a process here is a process or a disk, and a thread is a lane: there are as many lanes as operations
//! in flight at once.

pub mod spans;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::{Result, bail};
use clap::{Args, FromArgMatches};
use indicatif::HumanCount;
use iostrata_capture::op::Layer;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::about::Source;
use crate::aggregate::any_order;
use crate::analyses::{Analysis, Results};
use crate::entity::{Entity, Scope};
use crate::memory::Budget;
use crate::names::Names;
use crate::output::one_line;
use crate::terminal::Shown;
use crate::time::utc;
use spans::{Finished, Span, Spans};

/// Name of the file.
pub const FILE_NAME: &str = "trace.json";

/// Default maximum number of operations: viewers in a browser handle no more easily.
pub const MOST: usize = 1_000_000;

/// Number of operations between checks of the memory limit: each process and disk has lanes.
const CHECKED_ROWS: usize = 1 << 12;

/// The analysis; its own output is not a table.
pub static ANALYSIS: Analysis = Analysis {
    name: "trace",
    about: "Export each operation to trace.json for Perfetto (ui.perfetto.dev) and Chrome's trace viewer (chrome://tracing); requires --out",
    is_mergeable: false,
    needs_directory: true,
    aggregates: &[any_order::Registered::of::<Spans>()],
    request: |options, settings| settings.any_order.request::<Spans>(options.most_spans),
    show: |results| {
        let operations = results.finished.of::<Spans>()?.rows.len() as u64;
        let what = if operations == 1 { "operation" } else { "operations" };
        Ok(Shown { text: format!("{} {what}\n", HumanCount(operations)), is_marked: false })
    },
    arguments: Own::augment_args,
    parse: |given, options| {
        options.most_spans = Own::from_arg_matches(given)?.most;
        Ok(())
    },
    ..Analysis::BASE
};

/// Own options.
#[derive(Debug, Args)]
struct Own {
    /// Maximum number of operations; viewers handle a few million at most.
    #[arg(long, value_name = "N", default_value_t = MOST)]
    most: usize,
}

/// Event of the format. Times are in microseconds.
#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    cat: &'a str,
    ph: &'static str,
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: usize,
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    args: Map<String, Value>,
}

/// Lanes of one layer of a process or disk.
#[derive(Default)]
struct Lanes {
    /// Numbers of the lanes, and the time from which each is free.
    free_ns: Vec<(usize, i64)>,
}

/// Writes the file of the selected operations, which need not be in memory as a whole.
///
/// # Errors
/// If there are more operations than the maximum, or on a write error.
pub fn json(results: &Results, most: usize, memory: Budget, mut to: &mut impl Write) -> Result<()> {
    let Results { captures, names, finished, trust, .. } = results;
    let spans = finished.of::<Spans>()?;
    if spans.more > 0 {
        let all = HumanCount(spans.more.saturating_add(spans.rows.len() as u64));
        bail!(
            "{all} operations match, expected at most {}: narrow the selection (--since, --until, --process, --layer, …) or raise the limit (--most)",
            HumanCount(most as u64)
        );
    }
    let first_ns = spans.rows.first().map_or(0, |span| span.ts_ns);
    to.write_all(b"{\"traceEvents\":[\n")?;
    let mut writer = Writer { to: &mut to, is_first: true };
    let mut tracks = Tracks::default();
    for (number, span) in spans.rows.iter().enumerate() {
        if number.is_multiple_of(CHECKED_ROWS) {
            memory.check()?;
        }
        let (pid, tid) = tracks.of(spans, span);
        slices(&mut writer, (spans, names), span, (pid, tid, first_ns))?;
    }
    tracks.name(&mut writer, names)?;
    let began = captures.first().map(|capture| utc(capture, first_ns));
    let mut about = json!({
        "tool": concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        "captures": captures.iter().map(Source::of).collect::<Vec<_>>(),
        "first_operation_at": began,
    });
    // Only for captures with missing or surplus rows.
    if let (Value::Object(about), false) = (&mut about, trust.rows_there.is_empty()) {
        about.insert("rows_there".to_owned(), trust.rows_there.clone().into());
    }
    to.write_all(b"\n],\"displayTimeUnit\":\"ns\",\"otherData\":")?;
    serde_json::to_writer(&mut to, &about)?;
    Ok(to.write_all(b"}\n")?)
}

/// Writer of events, one per line.
struct Writer<'a, W> {
    to: &'a mut W,
    is_first: bool,
}

impl<W: Write> Writer<'_, W> {
    fn add(&mut self, event: &impl Serialize) -> Result<()> {
        if !std::mem::take(&mut self.is_first) {
            self.to.write_all(b",\n")?;
        }
        Ok(serde_json::to_writer(&mut self.to, event)?)
    }
}

fn microseconds(ns: i64) -> f64 {
    ns as f64 / 1_000.0
}

/// Writes the slice of an operation. The slice of a request contains that of its time at the device.
fn slices(
    writer: &mut Writer<impl Write>,
    (spans, names): (&Finished, &Names),
    span: &Span,
    (pid, tid, first_ns): (usize, usize, i64),
) -> Result<()> {
    let ts = microseconds(span.ts_ns.saturating_sub(first_ns));
    let cat = span.layer.name();
    let duration = |ns: u64| microseconds(i64::try_from(ns).unwrap_or(i64::MAX));
    let (ph, dur, s) = match span.total_ns {
        Some(ns) => ("X", Some(duration(ns)), None),
        // The duration is unknown.
        None => ("i", None, Some("t")),
    };
    let args = arguments((spans, names), span);
    writer.add(&Event { name: span.op.name(), cat, ph, ts, dur, pid, tid, s, args })?;
    if let (Some(total), Some(device)) = (span.total_ns, span.device_ns)
        && device < total
    {
        let ts = ts + duration(total - device);
        let args = Map::new();
        writer.add(&Event {
            name: "device",
            cat,
            ph: "X",
            ts,
            dur: Some(duration(device)),
            pid,
            tid,
            s: None,
            args,
        })?;
    }
    Ok(())
}

fn arguments((spans, names): (&Finished, &Names), span: &Span) -> Map<String, Value> {
    let mut args = Map::new();
    let mut add = |name: &str, value: Value| drop(args.insert(name.to_owned(), value));
    let scopes =
        [(Scope::Process, "process"), (Scope::File, "file"), (Scope::Device, "device"), (Scope::Cgroup, "cgroup")];
    for (scope, word) in scopes {
        let (name, id) = names.of(&spans.owner(span, scope));
        // Programs on the recorded machine choose the names.
        let words = [one_line(&name), id].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        if !words.is_empty() {
            add(word, words.into());
        }
    }
    add("system", spans.system(span).into());
    add("bytes", span.bytes.into());
    if let Some(position) = span.position {
        add("offset_bytes", position.into());
    }
    if span.ops > 1 {
        add("stands_for_operations", span.ops.into());
    }
    args
}

/// Limit of process ids: the kernel's `PID_MAX_LIMIT`.
const BEYOND_PIDS: usize = 1 << 22;

/// Assignment of operations to processes and lanes of the viewer.
#[derive(Default)]
struct Tracks {
    /// Numbers of processes and disks, and the lanes of each layer.
    of: BTreeMap<Entity, (usize, BTreeMap<Layer, Lanes>)>,
    /// Process ids that are used as numbers.
    pids: BTreeSet<usize>,
    /// Number of lanes.
    lanes: usize,
}

impl Tracks {
    fn of(&mut self, spans: &Finished, span: &Span) -> (usize, usize) {
        let scope = if span.layer == Layer::Block { Scope::Device } else { Scope::Process };
        let (next, pids) = (BEYOND_PIDS + self.of.len(), &mut self.pids);
        let owner = spans.owner(span, scope);
        let (pid, layers) =
            self.of.entry(owner).or_insert_with(|| (process_id(&owner, pids).unwrap_or(next), BTreeMap::new()));
        let lanes = &mut layers.entry(span.layer).or_default().free_ns;
        let length = i64::try_from(span.total_ns.unwrap_or(0)).unwrap_or(i64::MAX);
        let end_ns = span.ts_ns.saturating_add(length);
        if let Some((number, free_ns)) = lanes.iter_mut().find(|(_, free_ns)| *free_ns <= span.ts_ns) {
            *free_ns = end_ns;
            return (*pid, *number);
        }
        self.lanes += 1;
        lanes.push((self.lanes, end_ns));
        (*pid, self.lanes)
    }

    fn name(&self, writer: &mut Writer<impl Write>, names: &Names) -> Result<()> {
        let mut told = |name: &str, (pid, tid): (usize, usize), args: Value| {
            writer.add(&json!({"name": name, "ph": "M", "pid": pid, "tid": tid, "args": args}))
        };
        for (entity, (pid, layers)) in &self.of {
            let (name, id) = names.of(entity);
            // Viewers show the number beside the name.
            let id = if *pid < BEYOND_PIDS { "" } else { id.split('@').next().unwrap_or_default() };
            let disk = if entity.scope() == Scope::Device { "disk " } else { "" };
            told("process_name", (*pid, 0), json!({ "name": format!("{disk}{} {id}", one_line(&name)).trim() }))?;
            for (layer, Lanes { free_ns }) in layers {
                for (index, (lane, _)) in free_ns.iter().enumerate() {
                    let name = if index == 0 { layer.name().to_owned() } else { format!("{layer} {}", index + 1) };
                    told("thread_name", (*pid, *lane), json!({ "name": name }))?;
                    told("thread_sort_index", (*pid, *lane), json!({ "sort_index": (*layer as usize) << 20 | index }))?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the id of a process as its number, unless another process already uses it: ids are reused, and occur on several machines.
fn process_id(entity: &Entity, taken: &mut BTreeSet<usize>) -> Option<usize> {
    let Entity::Process(_, pid, _) = entity else { return None };
    let pid = usize::try_from(*pid).ok().filter(|pid| (1..BEYOND_PIDS).contains(pid))?;
    taken.insert(pid).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::CaptureNumber;

    #[test]
    fn a_process_has_its_id_as_its_number_if_nobody_else_has() {
        let mut taken = BTreeSet::new();
        let mut of = |entity| process_id(&entity, &mut taken);
        assert_eq!(of(Entity::Process(CaptureNumber::default(), 307, 5)), Some(307));
        assert_eq!(of(Entity::Process(CaptureNumber::default(), 307, 9)), None);
        assert_eq!(of(Entity::Process(CaptureNumber::new(1, ""), 307, 5)), None);
        assert_eq!(of(Entity::Process(CaptureNumber::default(), 1, 5)), Some(1));
        for none in [
            Entity::Process(CaptureNumber::default(), 0, 5),
            Entity::Process(CaptureNumber::default(), -1, 5),
            Entity::Process(CaptureNumber::default(), 1 << 22, 5),
            Entity::Device(CaptureNumber::default(), 7),
        ] {
            assert_eq!(of(none), None);
        }
    }
}
