//! What to know about a result, a line each.

use std::collections::BTreeSet;

use iostrata_capture::Capture;
use iostrata_capture::op::{Direction, IoClass, Layer};
use iostrata_capture::system::without_owner;

use crate::aggregate::count::Counts;
use crate::levels::Choice;
use crate::options::Analyze;
use crate::partial::{Finished, FinishedSystem, Sampled};
use crate::trust::Trust;

/// The lines about what was scanned.
pub fn of(captures: &[Capture], choice: &Choice, finished: &Finished, trust: &Trust) -> Vec<String> {
    let mut notes = choice.notes(captures, &finished.left_out);
    notes.extend(doubtful_note(&finished.doubtful));
    notes.extend(window_note(trust));
    notes.extend(memory_note(finished, trust));
    notes.extend(served_note(finished, trust));
    notes.extend(mapping_note(finished, trust));
    notes.extend(writeback_note(finished, trust));
    notes.extend(sampled_note(finished));
    notes.extend(values_notes(finished));
    notes
}

/// What may be asked for. Only bounds tell of it.
fn doubtful_note(doubtful: &Counts) -> Option<String> {
    let of_layer = |layer: &Layer| {
        let bytes = |direction| doubtful.moved(*layer, direction).bytes;
        let bytes = bytes(Direction::Read).saturating_add(bytes(Direction::Write));
        let ops = doubtful.ops(*layer);
        (ops > 0 || bytes > 0).then(|| format!("{layer} {ops} operations, {bytes} bytes"))
    };
    let layers: Vec<String> = Layer::ALL.iter().filter_map(of_layer).collect();
    (!layers.is_empty()).then(|| {
        format!("may be asked for too, which nobody knows, and is in no number but in bounds: {}", layers.join("; "))
    })
}

fn window_note(trust: &Trust) -> Option<String> {
    let note =
        "of a window of time: what was written back, or read ahead, on the other side of its ends is not in ratios";
    trust.is_windowed.then(|| note.to_owned())
}

/// Why there is nothing to tell.
pub fn nothing(captures: &[Capture], options: &Analyze, trust: &Trust, doubtful: &Counts) -> String {
    let names: Vec<String> = captures.iter().map(|capture| capture.directory.display().to_string()).collect();
    let captured = Layer::ALL.iter().filter(|layer| trust.captured[**layer as usize]);
    let captured: Vec<&str> = captured.map(|layer| layer.name()).collect();
    let what = match (captured.as_slice(), options.selection.words()) {
        ([], None) => "nothing to analyze: no layer was captured".to_owned(),
        ([], Some(words)) => format!("nothing to analyze: no layer that was captured is asked for ({words})"),
        (_, None) if captures.iter().all(|capture| capture.manifest.is_imported()) => {
            "nothing to analyze: no request of the trace is left".to_owned()
        }
        (layers, None) => format!(
            "nothing to analyze: there is not a single row of {}; expected I/O while it was recorded{}",
            layers.join(", "),
            captures
                .iter()
                .find_map(|capture| capture.manifest.filters.words())
                .map_or(String::new(), |words| format!(" with {words}"))
        ),
        (layers, Some(words)) => {
            let certain = if *doubtful == Counts::default() { "" } else { " known to be" };
            format!("nothing to analyze: there is nothing of {} that is{certain} {words}", layers.join(", "))
        }
    };
    let left_out = trust.notes.iter().filter(|note| note.contains("left out: "));
    let left_out: String = left_out.map(|note| format!("; {note}")).collect();
    format!("{}: {what}{left_out}", names.join(", "))
}

/// From which part of what was read through mappings on, and from which read amplification on, there is a note.
const MOSTLY_MAPPED: (f64, f64) = (0.5, 2.0);

/// Why read amplification is high where hardly anything was read by calls: a program that starts is read ahead in large pieces, and of
/// these the pages that faulted alone count as asked for.
fn mapping_note(finished: &Finished, trust: &Trust) -> Option<String> {
    if [Layer::Syscall, Layer::Fs, Layer::Block].iter().any(|layer| !trust.captured_of_total()[*layer as usize]) {
        return None;
    }
    let read = finished.total_flows.get(Direction::Read);
    let share = read.mapped() as f64 / read.cached().max(1) as f64;
    let ratio = read.device() as f64 / Some(read.application()).filter(|bytes| *bytes > 0)? as f64;
    (share >= MOSTLY_MAPPED.0 && ratio >= MOSTLY_MAPPED.1).then(|| {
        format!(
            "R_AMP {ratio:.2}: {:.0} % of what entered the page cache to be read came by faults of mappings, as programs and libraries do \
             when they start; of that only the pages that faulted count as read by the application",
            share * 100.0
        )
    })
}

/// One layer's view of it: the same bytes pass the VFS again.
fn memory_note(finished: &Finished, trust: &Trust) -> Option<String> {
    let layer = *[Layer::Syscall, Layer::Vfs].iter().find(|layer| trust.captured[**layer as usize])?;
    let rows = finished.memory.ops(layer);
    let moved = |direction| finished.memory.moved(layer, direction).bytes;
    let bytes = moved(Direction::Read).saturating_add(moved(Direction::Write));
    (rows > 0).then(|| {
        let operations = if rows == 1 { "operation" } else { "operations" };
        format!("left out: {rows} {layer} {operations} ({bytes} bytes) on files in memory, which reach no device")
    })
}

/// One layer's view of it, as of files in memory.
fn served_note(finished: &Finished, trust: &Trust) -> Option<String> {
    let layer = *[Layer::Syscall, Layer::Vfs].iter().find(|layer| trust.captured[**layer as usize])?;
    let [read, write] = [Direction::Read, Direction::Write].map(|direction| finished.served.moved(layer, direction));
    (finished.served.ops(layer) > 0).then(|| {
        format!(
            "counted once: daemons of FUSE file systems serve calls on these; of their own calls {} reads ({} bytes) and {} writes ({} \
             bytes) are in no total",
            read.ops, read.bytes, write.ops, write.bytes
        )
    })
}

fn writeback_note(finished: &Finished, trust: &Trust) -> Option<String> {
    if !trust.captured[Layer::Syscall as usize] {
        return None;
    }
    let written = |system: &FinishedSystem| system.counts().moved(Layer::Block, Direction::Write).bytes;
    let unowned: BTreeSet<&str> = IoClass::ALL.iter().map(|class| without_owner(*class)).collect();
    let unowned: Vec<String> = unowned
        .into_iter()
        .filter_map(|name| finished.systems.called(name))
        .map(|system| (written(&system), system.name))
        .filter(|(bytes, _)| *bytes > 0)
        .map(|(bytes, name)| format!("{bytes} {name}"))
        .collect();
    (!unowned.is_empty()).then(|| {
        format!(
            "bytes written to devices that no one process caused: {}; they are in W_AMP of the total row only",
            unowned.join(", ")
        )
    })
}

fn sampled_note(finished: &Finished) -> Option<String> {
    let Sampled { rows, greatest } = finished.sampled;
    (rows > 0).then(|| {
        format!(
            "sampled: {rows} of {} rows stand for up to {greatest} events each (--cpu-limit): operations, bytes, ratios and \
             percentiles are estimates",
            finished.rows
        )
    })
}

fn values_notes(finished: &Finished) -> Vec<String> {
    let ignored = finished.checked.ignored().map(|ignored| format!("ignored, because it cannot be true: {ignored}"));
    ignored.into_iter().chain(finished.checked.overflown()).collect()
}
