//! Matching of requests to the calls that wait for them.
//!
//! A request that a thread queues in its own context belongs to the call that the thread is in. If it is in none, the request belongs to an
//! asynchronous call (aio, io_uring). Submission queues at once, so this is the call that began last; of several that began at the same time
//! the right one is unknown. Syncs and synced writes also wait for requests that others queue meanwhile: writes of their file, and the journal
//! of the file system's disk. Of the calls that wait for the same request, the one that began first has forced it out.
//!
//! None of this depends on earlier requests, so the boundaries of time ranges do not matter.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use iostrata_capture::op::{Direction, IoClass, Op};
use serde::{Deserialize, Serialize};

use super::{Call, Commit, File, Forced, Request, Spent, Waits};

/// Request that a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    queued_ns: i64,
    issued_ns: i64,
    end_ns: i64,
}

/// Requests and forced I/O of a call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Found {
    /// Requests that it waits for.
    waits: Vec<Wait>,
    /// Number of requests above which they are combined next.
    most: usize,
    /// Whether it may wait for an unknown request, or for an unknown time.
    is_unclear: bool,
    /// I/O that it forced out.
    pub forced: Forced,
}

/// Maximum number of requests of a call that are kept individually.
const KEPT: usize = 1_024;

impl Found {
    /// Adds what was found in a later time range.
    pub fn append(&mut self, later: Found) {
        later.waits.into_iter().for_each(|wait| self.wait(wait));
        self.is_unclear |= later.is_unclear;
        self.forced.add(&later.forced);
    }

    /// Whether it waits for any request.
    pub fn waited(&self) -> bool {
        self.is_unclear || !self.waits.is_empty()
    }

    fn wait(&mut self, wait: Wait) {
        self.waits.push(wait);
        if self.waits.len() > self.most.max(KEPT) {
            self.put_together();
        }
    }

    /// Combines requests to the time that they cover: one call may have as many as a whole recording.
    fn put_together(&mut self) {
        let with_device = union(self.waits.iter().map(|wait| (wait.issued_ns, wait.end_ns)).collect());
        let under_way = union(self.waits.iter().map(|wait| (wait.queued_ns, wait.end_ns)).collect());
        let device =
            with_device.into_iter().map(|(begin, end)| Wait { queued_ns: begin, issued_ns: begin, end_ns: end });
        let queued = under_way.into_iter().map(|(begin, end)| Wait { queued_ns: begin, issued_ns: end, end_ns: end });
        self.waits = device.chain(queued).collect();
        self.most = 2 * self.waits.len();
    }

    /// Returns the breakdown of the time of `call`.
    pub fn spent(&self, call: &Call) -> Spent {
        let spent = self.by_requests(call);
        call.runnable_ns.map_or(spent, |ns| spent.less_runnable(u128::from(ns)))
    }

    /// Returns the breakdown by requests, without run-queue latency.
    fn by_requests(&self, call: &Call) -> Spent {
        let total_ns = u128::from(call.end_ns.abs_diff(call.ts_ns));
        let unknown = Spent { unknown_ns: total_ns, ..Spent::default() };
        if call.weight > 1 || self.is_unclear {
            return unknown;
        }
        if self.waits.is_empty() {
            return match call.direction {
                // Another thread may have done the I/O, or it was done where it is not recorded.
                Some(_) if call.bytes > 0 && (call.is_async || call.is_direct) => unknown,
                _ if !call.is_placed() => unknown,
                Some(_) if !call.is_direct => Spent { cache_ns: total_ns, ..Spent::default() },
                // The call had nothing to move, or nothing to write back.
                _ => Spent { rest_ns: total_ns, ..Spent::default() },
            };
        }
        let covered = |begin: fn(&Wait) -> i64| {
            let spans = self.waits.iter().map(|wait| (begin(wait), wait.end_ns));
            let within = |(first, last): (i64, i64)| (first.max(call.ts_ns), last.min(call.end_ns));
            let spans = union(spans.map(within).filter(|(first, last)| first < last).collect());
            spans.into_iter().fold(0u128, |sum, (first, last)| sum + u128::from(last.abs_diff(first)))
        };
        let (device_ns, under_way_ns) = (covered(|wait| wait.issued_ns), covered(|wait| wait.queued_ns));
        Spent {
            device_ns,
            queue_ns: under_way_ns.saturating_sub(device_ns),
            rest_ns: total_ns.saturating_sub(under_way_ns),
            ..Spent::default()
        }
    }
}

/// Returns the union of intervals, in order.
fn union(mut spans: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    spans.sort_unstable();
    spans.dedup_by(|(first, last), (_, until)| {
        let touches = *first <= *until;
        *until = if touches { (*until).max(*last) } else { *until };
        touches
    });
    spans
}

/// Calls in flight, by the requests that they may wait for. A call that has ended is removed when it is encountered.
struct UnderWay<'a> {
    calls: &'a [Call],
    begun: usize,
    threads: HashMap<i32, Vec<usize>, RandomState>,
    files: HashMap<File, Vec<usize>, RandomState>,
    /// Calls that wait for a journal, by the disk that it is on.
    journals: HashMap<i32, Vec<usize>, RandomState>,
    /// Calls that wait for a journal or for a disk, by file system.
    file_systems: HashMap<i32, Vec<usize>, RandomState>,
    disks: HashMap<i32, Vec<usize>, RandomState>,
    everywhere: Vec<usize>,
}

impl<'a> UnderWay<'a> {
    fn new(calls: &'a [Call]) -> Self {
        UnderWay {
            calls,
            begun: 0,
            threads: HashMap::default(),
            files: HashMap::default(),
            journals: HashMap::default(),
            file_systems: HashMap::default(),
            disks: HashMap::default(),
            everywhere: Vec::new(),
        }
    }

    /// Adds all calls that began until `ns`.
    fn begin(&mut self, ns: i64) {
        while let Some(call) = self.calls.get(self.begun).filter(|call| call.ts_ns <= ns) {
            let number = self.begun;
            self.begun += 1;
            self.threads.entry(call.tid).or_default().push(number);
            if let (Waits::File | Waits::Journal, Some(file)) = (call.waits, call.file) {
                self.files.entry(file).or_default().push(number);
            }
            if let (Waits::Journal | Waits::Disk, Some(disk)) = (call.waits, call.disk) {
                let by_disk = if call.waits == Waits::Disk { &mut self.disks } else { &mut self.journals };
                by_disk.entry(disk).or_default().push(number);
            }
            if let (Waits::Journal | Waits::Disk, Some(dev)) = (call.waits, call.dev) {
                self.file_systems.entry(dev).or_default().push(number);
            }
            if call.waits == Waits::All {
                self.everywhere.push(number);
            }
        }
    }

    /// Returns the call that a request belongs to. Of several that began at the same time the right one is unknown: all of them are returned.
    fn own(&mut self, request: &Request) -> Vec<usize> {
        let (calls, Some(tid)) = (self.calls, request.tid) else { return Vec::new() };
        let of_thread = under_way(calls, self.threads.get_mut(&tid), request.ts_ns);
        let fits = |call: &Call| {
            let is_files =
                |file: File| request.files.is_empty() || request.files.iter().any(|(theirs, _)| *theirs == file);
            let is_same_way = call.direction.is_none() || call.direction == request.direction;
            is_same_way && call.file.is_none_or(is_files)
        };
        // A call that copies is two calls: one that reads, and one that writes.
        let inside = || of_thread.iter().rev().copied().filter(|call| !calls[*call].is_async);
        if let Some(call) = inside().find(|call| fits(&calls[*call])).or_else(|| inside().next()) {
            return vec![call];
        }
        let fitting = || of_thread.iter().copied().filter(|call| fits(&calls[*call]));
        // Calls are in the order of their begin.
        let Some(last) = fitting().next_back() else { return Vec::new() };
        fitting().filter(|call| calls[*call].ts_ns == calls[last].ts_ns).collect()
    }
}

/// Removes calls that ended before `ns` from a list. Returns the rest.
fn under_way<'l>(calls: &[Call], list: Option<&'l mut Vec<usize>>, ns: i64) -> &'l [usize] {
    match list {
        Some(list) => {
            list.retain(|call| calls[*call].end_ns >= ns);
            list
        }
        None => &[],
    }
}

/// Returns the call of several lists that began first.
fn first(lists: &[&[usize]]) -> Option<usize> {
    // Calls, and therefore their numbers, are in the order of their begin.
    lists.iter().filter_map(|list| list.first()).min().copied()
}

/// Returns the requests and forced I/O of each call. All arguments are in time order.
pub fn join(calls: &[Call], requests: &[Request], commits: &[Commit]) -> Vec<Found> {
    let mut found = vec![Found::default(); calls.len()];
    let mut open = UnderWay::new(calls);
    let mut commits = commits.iter().peekable();
    for request in requests {
        while let Some(commit) = commits.next_if(|commit| commit.end_ns <= request.ts_ns) {
            commit_in(&mut open, commit, &mut found);
        }
        open.begin(request.ts_ns);
        let own = open.own(request);
        if request.direction == Some(Direction::Write) || request.op == Op::DeviceFlush {
            write_in(&mut open, (request, &own), &mut found);
        } else {
            wait_for(request, &own, &[], &mut found);
        }
    }
    commits.for_each(|commit| commit_in(&mut open, commit, &mut found));
    found
}

/// Makes calls wait for a request: those in `own`, which it belongs to, and others.
fn wait_for(request: &Request, own: &[usize], others: &[usize], found: &mut [Found]) {
    let wait = request.issued_ns.zip(request.end_ns);
    let wait = wait.map(|(issued_ns, end_ns)| Wait { queued_ns: request.ts_ns, issued_ns, end_ns });
    let mut wait_one = |call: usize, is_sure: bool| match wait.filter(|_| is_sure) {
        Some(wait) => found[call].wait(wait),
        None => found[call].is_unclear = true,
    };
    others.iter().for_each(|call| wait_one(*call, true));
    // With several, it is unknown whether a call waited for this request.
    own.iter().filter(|call| !others.contains(call)).for_each(|call| wait_one(*call, own.len() == 1));
}

fn commit_in(open: &mut UnderWay, commit: &Commit, found: &mut [Found]) {
    open.begin(commit.end_ns);
    let calls = open.calls;
    let of_file_system = under_way(calls, open.file_systems.get_mut(&commit.dev), commit.end_ns);
    let everywhere = under_way(calls, Some(&mut open.everywhere), commit.end_ns);
    if let Some(call) = first(&[of_file_system, everywhere]) {
        found[call].forced.add(&Forced { commits: 1, journal_blocks: commit.blocks, ..Forced::default() });
    }
}

/// Adds a direct write to its own call: no sync waits for data that were never in the page cache.
fn direct_write_in((request, own): (&Request, &[usize]), calls: &[Call], found: &mut [Found]) {
    if let [call] = own
        && calls[*call].waits > Waits::Own
    {
        let bytes = request.files.iter().fold(request.rest, |sum, (_, bytes)| sum.saturating_add(*bytes));
        let forced = match request.class {
            IoClass::Data => Forced { data_bytes: bytes, ..Forced::default() },
            IoClass::Journal => Forced { journal_bytes: bytes, ..Forced::default() },
            _ => Forced { other_bytes: bytes, ..Forced::default() },
        };
        found[*call].forced.add(&Forced { requests: 1, ..forced });
    }
    wait_for(request, own, &[], found);
}

/// Adds a write to the calls that wait for it.
fn write_in(open: &mut UnderWay, (request, own): (&Request, &[usize]), found: &mut [Found]) {
    let (calls, ns) = (open.calls, request.ts_ns);
    if !own.is_empty() && own.iter().all(|call| calls[*call].is_direct) {
        return direct_write_in((request, own), calls, found);
    }
    let is_journal = request.class == IoClass::Journal;
    let journals = open.journals.get_mut(&request.disk).filter(|_| is_journal || request.op == Op::DeviceFlush);
    let journals = under_way(calls, journals, ns);
    let disks = under_way(calls, open.disks.get_mut(&request.disk), ns);
    let everywhere = under_way(calls, Some(&mut open.everywhere), ns);
    // The same bytes may be written at several levels of stacked devices.
    let counted_everywhere = if request.is_taken { everywhere } else { &[] };
    let syncing = own.first().copied().filter(|call| calls[*call].waits > Waits::Own);
    let mut waiting: Vec<usize> = disks.iter().chain(everywhere).copied().collect();
    // A flush may belong to any call: no call is known to wait for it.
    waiting.extend(journals.iter().filter(|_| is_journal));
    let mut forced: Vec<(usize, Forced)> = Vec::new();
    for (file, bytes) in &request.files {
        let of_file = under_way(calls, open.files.get_mut(file), ns);
        waiting.extend(of_file);
        let data = Forced { data_bytes: *bytes, ..Forced::default() };
        forced.extend(first(&[of_file, disks, counted_everywhere]).or(syncing).map(|call| (call, data)));
    }
    let rest = match request.class {
        _ if request.op == Op::DeviceFlush => Forced { flushes: 1, ..Forced::default() },
        IoClass::Data => Forced { data_bytes: request.rest, ..Forced::default() },
        IoClass::Journal => Forced { journal_bytes: request.rest, ..Forced::default() },
        _ => Forced { other_bytes: request.rest, ..Forced::default() },
    };
    if request.rest > 0 || forced.is_empty() {
        let by_others = first(&[journals, disks, counted_everywhere]);
        let whose = if is_journal { by_others.or(syncing) } else { syncing.or(by_others) };
        forced.extend(whose.map(|call| (call, rest)));
    }
    for (number, (call, more)) in forced.into_iter().enumerate() {
        let requests = u64::from(number == 0 && request.op != Op::DeviceFlush);
        found[call].forced.add(&Forced { requests, ..more });
    }
    waiting.sort_unstable();
    waiting.dedup();
    wait_for(request, own, &waiting, found);
}

#[cfg(test)]
mod tests;
