//! Notes on a result, one line each.

use std::collections::BTreeSet;

use bytesize::ByteSize;
use iostrata_capture::Capture;
use iostrata_capture::op::{Direction, IoClass, Layer};
use iostrata_capture::system::without_owner;

use crate::aggregate::count::Counts;
use crate::options::Analyze;
use crate::partial::{Finished, FinishedSystem, Sampled};
use crate::stacking::LevelSelection;
use crate::trust::Trust;

/// Returns the notes on the scanned rows.
pub fn of(captures: &[Capture], choice: &LevelSelection, finished: &Finished, trust: &Trust) -> Vec<String> {
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

/// Note on rows that may match the filters. They count in bounds only.
fn doubtful_note(doubtful: &Counts) -> Option<String> {
    let of_layer = |layer: &Layer| {
        let bytes = |direction| doubtful.moved(*layer, direction).bytes;
        let bytes = bytes(Direction::Read).saturating_add(bytes(Direction::Write));
        let ops = doubtful.ops(*layer);
        (ops > 0 || bytes > 0).then(|| format!("{layer} {ops} operations, {bytes} bytes"))
    };
    let layers: Vec<String> = Layer::ALL.iter().filter_map(of_layer).collect();
    (!layers.is_empty()).then(|| {
        format!("may match the filters (owner or name unknown); counted in bounds only: {}", layers.join("; "))
    })
}

fn window_note(trust: &Trust) -> Option<String> {
    let note = "time window: writeback and readahead beyond its ends are not in the ratios";
    trust.is_windowed.then(|| note.to_owned())
}

/// Explains an empty result.
pub fn nothing(captures: &[Capture], options: &Analyze, trust: &Trust, doubtful: &Counts) -> String {
    let names: Vec<String> = captures.iter().map(|capture| capture.directory.display().to_string()).collect();
    let captured = Layer::ALL.iter().filter(|layer| trust.captured[**layer as usize]);
    let captured: Vec<&str> = captured.map(|layer| layer.name()).collect();
    let what = match (captured.as_slice(), options.selection.words()) {
        ([], None) => {
            let groups = captures.iter().flat_map(|capture| &capture.manifest.groups);
            let groups: BTreeSet<&str> =
                groups.filter(|(_, state)| state.captured).map(|(name, _)| name.as_str()).collect();
            let groups = groups.into_iter().collect::<Vec<_>>().join(", ");
            let only = if groups.is_empty() { groups } else { format!(", only {groups}; query its rows with SQL") };
            format!("nothing to analyze: no layer was captured{only}")
        }
        ([], Some(words)) => format!("nothing to analyze: no captured layer matches the filters ({words})"),
        (_, None) if captures.iter().all(|capture| capture.manifest.is_imported()) => {
            "nothing to analyze: no request of the trace remains".to_owned()
        }
        (layers, None) => format!(
            "nothing to analyze: no rows of {}; expected I/O during the recording{}",
            layers.join(", "),
            captures
                .iter()
                .find_map(|capture| capture.manifest.filters.words())
                .map_or(String::new(), |words| format!(" with {words}"))
        ),
        (layers, Some(words)) => {
            let certain = if *doubtful == Counts::default() { "" } else { "are known to " };
            format!("nothing to analyze: no rows of {} {certain}match the filters ({words})", layers.join(", "))
        }
    };
    let left_out = trust.notes.iter().filter(|note| note.contains("excluded: "));
    let left_out: String = left_out.map(|note| format!("; {note}")).collect();
    format!("{}: {what}{left_out}", names.join(", "))
}

/// Minimum share of bytes read through mappings, and minimum read amplification, for a note.
const MOSTLY_MAPPED: (f64, f64) = (0.5, 2.0);

/// Explains high read amplification with few bytes read by calls. A program that starts is read ahead in large pieces, of which only the pages that
/// faulted count as read by the application.
fn mapping_note(finished: &Finished, trust: &Trust) -> Option<String> {
    if [Layer::Syscall, Layer::Fs, Layer::Block].iter().any(|layer| !trust.captured_of_total()[*layer as usize]) {
        return None;
    }
    let read = finished.total_flows.get(Direction::Read);
    let share = read.mapped() as f64 / read.cached().max(1) as f64;
    let ratio = read.device() as f64 / Some(read.application()).filter(|bytes| *bytes > 0)? as f64;
    (share >= MOSTLY_MAPPED.0 && ratio >= MOSTLY_MAPPED.1).then(|| {
        format!(
            "R_AMP {ratio:.2}: {:.0} % of the bytes read into the page cache came through faults of mappings, as when programs and libraries \
             start; only the pages that faulted count as read by the application",
            share * 100.0
        )
    })
}

/// Counts one layer only: the same bytes pass the VFS again.
fn memory_note(finished: &Finished, trust: &Trust) -> Option<String> {
    let layer = *[Layer::Syscall, Layer::Vfs].iter().find(|layer| trust.captured[**layer as usize])?;
    let rows = finished.memory.ops(layer);
    let moved = |direction| finished.memory.moved(layer, direction).bytes;
    let bytes = moved(Direction::Read).saturating_add(moved(Direction::Write));
    (rows > 0).then(|| {
        let operations = if rows == 1 { "operation" } else { "operations" };
        format!("excluded: {rows} {layer} {operations} ({bytes} bytes) on files in memory, which reach no device")
    })
}

/// Counts one layer only, as for files in memory.
fn served_note(finished: &Finished, trust: &Trust) -> Option<String> {
    let layer = *[Layer::Syscall, Layer::Vfs].iter().find(|layer| trust.captured[**layer as usize])?;
    let [read, write] = [Direction::Read, Direction::Write].map(|direction| finished.served.moved(layer, direction));
    (finished.served.ops(layer) > 0).then(|| {
        format!(
            "counted once: FUSE daemons serve calls that are counted already; of their own calls {} reads ({} bytes) and {} writes ({} \
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
        .map(|(bytes, name)| format!("{} {name}", ByteSize(bytes).display().iec()))
        .collect();
    (!unowned.is_empty()).then(|| {
        format!("written to devices and not attributable to a process: {}; in totals only", unowned.join(", "))
    })
}

fn sampled_note(finished: &Finished) -> Option<String> {
    let Sampled { rows, greatest } = finished.sampled;
    (rows > 0).then(|| {
        format!(
            "sampled: {rows} of {} rows represent up to {greatest} events each (--cpu-limit): operations, bytes, ratios and \
             percentiles are estimates",
            finished.rows
        )
    })
}

fn values_notes(finished: &Finished) -> Vec<String> {
    let ignored = finished.checked.ignored().map(|ignored| format!("ignored, invalid: {ignored}"));
    ignored.into_iter().chain(finished.checked.overflown()).collect()
}
