//! `cache.csv`: page cache hits, readahead and absorbed writes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use iostrata_capture::op::{Direction, IoClass, Layer};

use crate::aggregate::crossing::{Amount, Kind, PAGE_BYTES};
use crate::aggregate::flow::{Flows, Path};
use crate::aggregate::sequence::Subject;
use crate::analyses::amplification::absorbed;
use crate::analyses::path::lost;
use crate::analyses::subject::{self, Named};
use crate::analyses::table::{Table, at_once};
use crate::disks::Disks;
use crate::entity::{Entity, Scope};
use crate::frame::{self, ResultColumn};
use crate::names::Names;
use crate::partial::Finished;
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze cache --out DIR`: one row for `all`, and for each system, process, file and disk that moved bytes through the page cache; in \
    each scope the rows with the most bytes come first. A read call is a hit when its thread queued no block request during the call, as in `path.csv`. Neither hit nor miss are calls of aio and io_uring, which another \
    thread may execute, calls that read nothing, and sampled calls with a weight above 1 (`--cpu-limit`). Pages that another call read ahead are hits, even if the call waited for them to arrive. Pages are recorded \
    when they enter the cache, for the process that requested them: \
    pages that one process reads ahead and another uses are unused for the first. Only the rows of files and of `all` are free of this effect.";

/// The table.
pub static TABLE: Table = Table {
    name: "cache",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        at_once(&columns(), rows(&results.finished, results.names, &results.known.disks, &results.trust), take)
    },
};

/// Calls of a subject.
#[derive(Debug, Default)]
struct Calls {
    reads: Amount,
    hits: Amount,
    misses: Amount,
    file_bytes: u64,
    pages: u64,
    write_bytes: u64,
    direct: [u64; 2],
}

/// Source of a row.
pub struct Row {
    named: Named,
    calls: Calls,
    flows: Flows,
    captured: [bool; Layer::ALL.len()],
    /// Whether pages that mappings bring in are recorded.
    has_mappings: bool,
    /// Whether differences between layers would be mostly chance, or I/O outside the window.
    is_part: bool,
    sampled: bool,
    lost_events: Option<u64>,
}

/// Rows by scope; most bytes first.
pub fn rows(finished: &Finished, names: &Names, disks: &[Disks], trust: &Trust) -> Vec<Row> {
    let mut all: BTreeMap<Subject, (Calls, Flows)> = BTreeMap::new();
    all.entry(Subject::All).or_default().1 = finished.total_flows;
    for system in finished.systems.iter() {
        all.entry(Subject::System(system.name.to_owned())).or_default().1 = system.flows();
    }
    let scopes = [Scope::Process, Scope::File, Scope::Device];
    for (entity, flows) in finished.entities.iter() {
        if scopes.contains(&entity.scope()) && !matches!(entity, Entity::Nobody(..)) {
            all.entry(Subject::Entity(entity)).or_default().1 = flows.get();
        }
    }
    for ((subject, kind, _), sums) in &finished.order.crossings {
        let calls = &mut all.entry(subject.clone()).or_default().0;
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        match kind {
            Kind::Read => {
                calls.reads.add(sums.calls);
                calls.hits.add(sums.hits);
                calls.misses.add(sums.misses);
                add(&mut calls.file_bytes, sums.file_bytes);
                add(&mut calls.pages, sums.pages);
            }
            Kind::Write | Kind::SyncWrite => add(&mut calls.write_bytes, sums.calls.bytes),
            Kind::DirectRead => add(&mut calls.direct[0], sums.calls.bytes),
            Kind::DirectWrite | Kind::DirectSyncWrite => add(&mut calls.direct[1], sums.calls.bytes),
            Kind::Sync => {}
        }
    }
    let cached =
        |flows: &Flows| flows.get(Direction::Read).cached().saturating_add(flows.get(Direction::Write).cached());
    let mut all: Vec<(Subject, (Calls, Flows))> = all.into_iter().collect();
    all.retain(|(subject, _)| trust.gives(subject));
    all.retain(|(_, (calls, flows))| calls.reads.ops > 0 || calls.write_bytes > 0 || cached(flows) > 0);
    all.sort_by_key(|(subject, (calls, flows))| {
        let scope = match subject {
            Subject::All => None,
            Subject::System(_) => Some(None),
            Subject::Entity(entity) => Some(Some(entity.scope())),
        };
        (scope, Reverse(calls.reads.bytes.saturating_add(calls.write_bytes).saturating_add(cached(flows))))
    });
    let row = |(subject, (calls, flows)): (Subject, (Calls, Flows))| Row {
        named: Named::of(&subject, names),
        calls,
        flows,
        captured: match subject {
            // I/O for a file of an overlay or a network file system is recorded for another file, or for none.
            Subject::Entity(Entity::File(capture, file))
                if !disks.get(capture.place()).is_some_and(|disks| disks.contains_key(&file.dev)) =>
            {
                [trust.captured[0], false, false, false]
            }
            _ => trust.captured,
        },
        has_mappings: trust.told[Path::Mapping as usize],
        is_part: trust.sampled || trust.is_windowed,
        sampled: trust.sampled,
        lost_events: lost(trust),
    };
    all.into_iter().map(row).collect()
}

impl Row {
    fn has(&self, layers: &[Layer]) -> bool {
        layers.iter().all(|layer| self.captured[*layer as usize])
    }

    /// A value of calls, where it is known which of them waited for requests.
    fn of_calls(&self, value: u64) -> Option<u64> {
        self.has(&[Layer::Syscall, Layer::Block]).then_some(value)
    }

    fn share(&self, of: fn(&Amount) -> u64) -> Option<f64> {
        let (hits, misses) = (self.of_calls(of(&self.calls.hits))?, of(&self.calls.misses));
        (hits.saturating_add(misses) > 0).then(|| hits as f64 / (hits as f64 + misses as f64))
    }

    /// Bytes of pages that calls brought in for reading; unknown when pages that faults bring in are not recorded separately.
    fn filled(&self) -> Option<u64> {
        let flow = self.flows.get(Direction::Read);
        (self.has(&[Layer::Fs]) && self.has_mappings).then(|| flow.cached().saturating_sub(flow.mapped()))
    }

    fn page_share(&self) -> Option<f64> {
        let (filled, read) = (self.filled()?, self.calls.file_bytes);
        let is_told = self.has(&[Layer::Syscall]) && !self.sampled && read > 0 && filled <= read;
        is_told.then(|| 1.0 - filled as f64 / read as f64)
    }

    /// Bytes without a known read; they may have been read by unrecorded means, or under another name.
    fn unused(&self) -> Option<u64> {
        let touched = self.calls.pages.saturating_mul(PAGE_BYTES);
        let is_told = self.has(&[Layer::Syscall]) && !self.is_part && self.calls.reads.ops > 0;
        self.filled().filter(|_| is_told).map(|filled| filled.saturating_sub(touched))
    }

    fn absorbed(&self, direction: Direction) -> Option<u64> {
        absorbed(self.flows.get(direction), &self.captured).filter(|_| !self.is_part)
    }
}

/// The columns, in order.
pub fn columns() -> Vec<ResultColumn<Row>> {
    let calls = |name: &str, doc: &str, value: fn(&Calls) -> u64| {
        ResultColumn::integer(name, doc, move |row: &Row| row.has(&[Layer::Syscall]).then(|| value(&row.calls)))
    };
    let waits = |name: &str, doc: &str, value: fn(&Calls) -> u64| {
        ResultColumn::integer(name, doc, move |row: &Row| row.of_calls(value(&row.calls)))
    };
    vec![
        ResultColumn::text("scope", "`all`, `system`, `process`, `file` or `device`.", |row: &Row| row.named.scope),
        ResultColumn::text("name", "Name, as in `amplification.csv`; empty for `all`.", |row: &Row| &row.named.name),
        ResultColumn::text("id", "Id, as in `amplification.csv`; empty for `all` and systems.", |row: &Row| {
            &row.named.id
        }),
        subject::host(|row: &Row| &row.named.host),
        calls("read_ops", "Number of calls that read through the page cache.", |calls| calls.reads.ops),
        calls("read_bytes", "Number of bytes that they read.", |calls| calls.reads.bytes),
        waits("hit_ops", "Number of these calls that read something and queued no block request.", |calls| {
            calls.hits.ops
        }),
        waits("miss_ops", "Number of these calls that queued a block request.", |calls| calls.misses.ops),
        ResultColumn::number(
            "hit_ops_share",
            "Hit ratio of calls: `hit_ops` / (`hit_ops` + `miss_ops`).",
            |row: &Row| row.share(|of| of.ops),
        ),
        ResultColumn::number(
            "hit_bytes_share",
            "Hit ratio of the bytes that these calls read; a miss counts with all its bytes.",
            |row: &Row| row.share(|of| of.bytes),
        ),
        ResultColumn::integer(
            "filled_bytes",
            "Bytes of pages that calls brought into the cache for reading: misses and readahead. Empty when pages brought in by page faults are not recorded.",
            Row::filled,
        ),
        ResultColumn::integer(
            "mapped_filled_bytes",
            "Bytes of pages that page faults of mappings brought into the cache for reading.",
            |row: &Row| {
                let is_told = row.has(&[Layer::Fs]) && row.has_mappings;
                is_told.then(|| row.flows.get(Direction::Read).mapped())
            },
        ),
        ResultColumn::number(
            "hit_pages_share",
            "Hit ratio of pages: 1 - `filled_bytes` / the part of `read_bytes` from regular files. Pages read ahead count as one miss each. Empty when more was filled than was read, \
             and with sampling.",
            Row::page_share,
        ),
        ResultColumn::integer(
            "readahead_bytes",
            "Number of bytes that the device read by readahead, before they were requested.",
            |row: &Row| row.has(&[Layer::Block]).then(|| row.flows.get(Direction::Read).of_class(IoClass::Readahead)),
        ),
        ResultColumn::integer(
            "unused_bytes",
            "Lower bound of the part of `filled_bytes` that was not read before the recording ended: pages that calls of the row touched are subtracted, each page once per touch. \
             Wasted readahead is included. Reads by lost calls, and by mappings of pages that calls read ahead, are not known. Empty with sampling, with a time window, and when no call read.",
            Row::unused,
        ),
        ResultColumn::integer(
            "read_absorbed_bytes",
            "Number of bytes that the application read and the device did not; `absorbed_bytes` of `amplification.csv`.",
            |row: &Row| row.absorbed(Direction::Read),
        ),
        calls("write_bytes", "Number of bytes that calls wrote through the page cache.", |calls| calls.write_bytes),
        ResultColumn::integer(
            "dirtied_bytes",
            "Bytes of the folios that calls and mappings turned from clean to dirty; fewer bytes of them may have been written.",
            |row: &Row| row.has(&[Layer::Fs]).then(|| row.flows.get(Direction::Write).cached()),
        ),
        ResultColumn::integer(
            "write_absorbed_bytes",
            "Number of bytes that the application wrote and the device did not: overwritten or deleted before writeback, or still dirty.",
            |row: &Row| row.absorbed(Direction::Write),
        ),
        calls("direct_read_bytes", "Number of bytes that calls read bypassing the page cache (`O_DIRECT`).", |calls| {
            calls.direct[0]
        }),
        calls(
            "direct_write_bytes",
            "Number of bytes that calls wrote bypassing the page cache (`O_DIRECT`).",
            |calls| calls.direct[1],
        ),
        ResultColumn::integer(
            "lost_events",
            "Number of lost calls and block requests, of all owners. Empty when not known.",
            |row: &Row| row.lost_events,
        ),
    ]
}
