//! Manifest of a capture made of a trace.

use std::time::{Duration, UNIX_EPOCH};

use iostrata_capture::SCHEMA_VERSION;
use iostrata_capture::ledger::{Account, Amounts, EventAccounting, Incomplete, Lost};
use iostrata_capture::manifest::{Clock, ClockPair, Filters, Host, LayerState, Manifest, State, WITHOUT_OWNERS};
use iostrata_capture::op::Layer;
use iostrata_capture::table::Table;
use iostrata_capture::tables::BlockTable;

use super::Import;
use super::gathered::Known;

/// Returns the manifest of the capture that `import` made, with rows from first to last time.
pub fn of(import: &Import, known: &Known, (first_ns, last_ns): (i64, i64)) -> Manifest {
    let time =
        |ns: i64| humantime::format_rfc3339(UNIX_EPOCH + Duration::from_nanos(ns.max(0).unsigned_abs())).to_string();
    let name = import.trace.name();
    let state = |layer: &Layer| LayerState {
        captured: *layer == Layer::Block,
        how: match layer {
            Layer::Block => {
                [&[format!("imported from a trace ({name})")], known.remarks.as_slice()].concat().join("; ")
            }
            _ => "the trace has no such layer".to_owned(),
        },
        without: match layer {
            Layer::Block => [WITHOUT_OWNERS].iter().chain(&known.without).map(|what| (*what).to_owned()).collect(),
            _ => Vec::new(),
        },
    };
    let file = import.files.first().and_then(|file| file.file_name()).map(|name| name.to_string_lossy().into_owned());
    let account = Account {
        class: BlockTable::NAME.to_owned(),
        cpu: 0,
        seen: known.rows,
        written: known.rows,
        lost: Lost::default(),
        lost_io: Amounts::default(),
    };
    let offset_ns = known.offset_ns.unwrap_or(first_ns);
    let pair = |ns: i64| ClockPair { monotonic_ns: ns.saturating_sub(offset_ns), wall_ns: ns };
    Manifest {
        schema_version: SCHEMA_VERSION,
        capture_id: format!("{name}-{}-{}-{first_ns}-{last_ns}", file.unwrap_or_default(), known.rows),
        parts_id: None,
        continues: None,
        // The missing end of a truncated trace is like rows that an interrupted recorder did not write: it is unknown.
        state: if known.is_cut_off { State::Recovered } else { State::Complete },
        started_at: time(first_ns),
        stopped_at: Some(time(last_ns)),
        stop_reason: Some(if known.is_cut_off { "the trace was truncated" } else { "the trace ended" }.to_owned()),
        recorder_version: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        privacy: Default::default(),
        run_queue: false,
        whole_until_ns: known.whole_until_ns,
        command_line: std::env::args().collect(),
        host: Host { hostname: name.to_owned(), ..Host::default() },
        clock: Clock { offset_ns, pairs: vec![pair(first_ns), pair(last_ns)] },
        layers: Layer::ALL.iter().map(|layer| (*layer, state(layer))).collect(),
        groups: std::collections::BTreeMap::new(),
        probes: Vec::new(),
        filters: Filters::default(),
        filtered: None,
        devices: known.disks.devices(),
        mounts: Vec::new(),
        books: EventAccounting {
            accounts: vec![account],
            incomplete: Incomplete { unidentified_requests: known.unidentified, ..Incomplete::default() },
            ..EventAccounting::default()
        },
        sampling: None,
        device_books: Vec::new(),
        process_counters: None,
        servers: Vec::new(),
        maps: Vec::new(),
    }
}
