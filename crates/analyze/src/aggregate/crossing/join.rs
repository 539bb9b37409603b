//! Which requests calls wait for.
//!
//! A request that a thread queues in its own context is of the call that the thread is in; if it is in none, of one that goes on
//! meanwhile (aio, io_uring). Submission queues at once, so that this is the one that began last; of several that began together
//! it cannot be told which. Syncs, and writes that are synced, also wait for what others queue meanwhile: writes of their file, and the journal
//! of the file system's disk. Of those that wait for the same, the one that began first has forced it out.
//!
//! Nothing of this depends on requests that came before, so that it does not matter where time is cut.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use iostrata_capture::op::{Direction, IoClass, Op};

use super::{Call, Commit, File, Forced, Request, Spent, Waits};

/// A request that a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    queued_ns: i64,
    issued_ns: Option<i64>,
    end_ns: Option<i64>,
}

/// What was found of a call.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The requests that it waits for.
    pub waits: Vec<Wait>,
    /// What it forced out.
    pub forced: Forced,
}

impl Found {
    /// Adds what was found later.
    pub fn append(&mut self, later: Found) {
        self.waits.extend(later.waits);
        self.forced.add(&later.forced);
    }

    /// Where the time of `call` went.
    pub fn spent(&self, call: &Call) -> Spent {
        let total_ns = u128::from(call.end_ns.abs_diff(call.ts_ns));
        let unknown = Spent { unknown_ns: total_ns, ..Spent::default() };
        let moves = call.direction.is_some() && call.bytes > 0;
        if call.weight > 1 || self.waits.iter().any(|wait| wait.issued_ns.is_none() || wait.end_ns.is_none()) {
            return unknown;
        }
        if self.waits.is_empty() {
            return match call.direction {
                // Another thread may have done it.
                Some(_) if moves && (call.is_async || call.is_direct) => unknown,
                Some(_) if !call.is_direct => Spent { cache_ns: total_ns, ..Spent::default() },
                // It had nothing to move, or nothing to write back.
                _ => Spent { filesystem_ns: total_ns, ..Spent::default() },
            };
        }
        let covered = |begin: fn(&Wait) -> Option<i64>| {
            let spans = self.waits.iter().filter_map(|wait| Some((begin(wait)?, wait.end_ns?)));
            covered_ns(spans.collect(), (call.ts_ns, call.end_ns))
        };
        let (device_ns, under_way_ns) = (covered(|wait| wait.issued_ns), covered(|wait| Some(wait.queued_ns)));
        Spent {
            device_ns,
            queue_ns: under_way_ns.saturating_sub(device_ns),
            filesystem_ns: total_ns.saturating_sub(under_way_ns),
            ..Spent::default()
        }
    }
}

/// How much of the time from `begin` to `end` the spans cover together.
fn covered_ns(mut spans: Vec<(i64, i64)>, (begin, end): (i64, i64)) -> u128 {
    spans.sort_unstable();
    let (mut covered, mut until) = (0u128, begin);
    for (first, last) in spans {
        let (first, last) = (first.max(until), last.min(end));
        if last > first {
            covered = covered.saturating_add(u128::from(last.abs_diff(first)));
            until = last;
        }
    }
    covered
}

/// Calls that are under way, by what they may wait for; those that are over are taken out when they are met.
struct UnderWay<'a> {
    calls: &'a [Call],
    begun: usize,
    threads: HashMap<i32, Vec<usize>, RandomState>,
    files: HashMap<File, Vec<usize>, RandomState>,
    /// That wait for a journal, by the disk it is on.
    journals: HashMap<i32, Vec<usize>, RandomState>,
    /// The same, by the file system that it is of.
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

    /// Begins all calls until `ns`.
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

    /// The call whose own the request is. Of several that began together it cannot be told which: all of these.
    fn own(&mut self, request: &Request) -> Vec<usize> {
        let (calls, Some(tid)) = (self.calls, request.tid) else { return Vec::new() };
        let of_thread = under_way(calls, self.threads.get_mut(&tid), request.ts_ns);
        if let Some(call) = of_thread.iter().rev().find(|call| !calls[**call].is_async) {
            return vec![*call];
        }
        let fits = |call: &Call| {
            let is_files =
                |file: File| request.files.is_empty() || request.files.iter().any(|(theirs, _)| *theirs == file);
            let is_same_way = call.direction.is_none() || call.direction == request.direction;
            is_same_way && call.file.is_none_or(is_files)
        };
        let fitting = || of_thread.iter().copied().filter(|call| fits(&calls[*call]));
        // Calls are in order of their begin.
        let Some(last) = fitting().next_back() else { return Vec::new() };
        fitting().filter(|call| calls[*call].ts_ns == calls[last].ts_ns).collect()
    }
}

/// Takes out of a list what is over at `ns`.
fn under_way<'l>(calls: &[Call], list: Option<&'l mut Vec<usize>>, ns: i64) -> &'l [usize] {
    match list {
        Some(list) => {
            list.retain(|call| calls[*call].end_ns >= ns);
            list
        }
        None => &[],
    }
}

/// The one of several lists that began first.
fn first(lists: &[&[usize]]) -> Option<usize> {
    // Calls are in order of their begin, and so are their numbers.
    lists.iter().filter_map(|list| list.first()).min().copied()
}

/// What is found of each call. All are in order of time.
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

/// Makes calls wait for a request: `own`, whose it is, and others.
fn wait_for(request: &Request, own: &[usize], others: &[usize], found: &mut [Found]) {
    let wait = Wait { queued_ns: request.ts_ns, issued_ns: request.issued_ns, end_ns: request.end_ns };
    others.iter().for_each(|call| found[*call].waits.push(wait));
    // Of several, that it waited for this one is not known.
    let own_wait = if own.len() > 1 { Wait { issued_ns: None, ..wait } } else { wait };
    own.iter().filter(|call| !others.contains(call)).for_each(|call| found[*call].waits.push(own_wait));
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

/// What a write is to those that wait for it.
fn write_in(open: &mut UnderWay, (request, own): (&Request, &[usize]), found: &mut [Found]) {
    let (calls, ns) = (open.calls, request.ts_ns);
    let is_journal = request.class == IoClass::Journal;
    let journals = open.journals.get_mut(&request.disk).filter(|_| is_journal || request.op == Op::DeviceFlush);
    let journals = under_way(calls, journals, ns);
    let disks = under_way(calls, open.disks.get_mut(&request.disk), ns);
    let everywhere = under_way(calls, Some(&mut open.everywhere), ns);
    let syncing = own.first().copied().filter(|call| calls[*call].waits > Waits::Own);
    let mut waiting: Vec<usize> = disks.iter().chain(everywhere).copied().collect();
    // A flush may be anybody's: it is nothing that a call is known to wait for.
    waiting.extend(journals.iter().filter(|_| is_journal));
    let mut forced: Vec<(usize, Forced)> = Vec::new();
    for (file, bytes) in &request.files {
        let of_file = under_way(calls, open.files.get_mut(file), ns);
        waiting.extend(of_file);
        let data = Forced { data_bytes: *bytes, ..Forced::default() };
        forced.extend(first(&[of_file, disks, everywhere]).or(syncing).map(|call| (call, data)));
    }
    let rest = match request.class {
        _ if request.op == Op::DeviceFlush => Forced { flushes: 1, ..Forced::default() },
        IoClass::Data => Forced { data_bytes: request.rest, ..Forced::default() },
        IoClass::Journal => Forced { journal_bytes: request.rest, ..Forced::default() },
        _ => Forced { other_bytes: request.rest, ..Forced::default() },
    };
    if request.rest > 0 || forced.is_empty() {
        let by_others = first(&[journals, disks, everywhere]);
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
mod tests {
    use super::*;
    use crate::entity::{Entities, Entity, Places, Scope};

    const FILE: File = (8, 12);
    const DISK: i32 = 7;

    fn call(ts_ns: i64, ns: i64, tid: i32, op: Op, waits: Waits) -> Call {
        let mut entities = Entities::default();
        let nobody = Scope::ALL.map(|scope| entities.place(Entity::Nobody(scope, IoClass::Data)));
        Call {
            ts_ns,
            end_ns: ts_ns + ns,
            tid,
            op,
            direction: op.direction(),
            waits,
            is_async: matches!(op, Op::AioRead | Op::AioWrite),
            is_direct: false,
            file: Some(FILE),
            dev: Some(FILE.0),
            disk: Some(DISK),
            position: Some(0),
            bytes: if op.direction().is_some() { 4_096 } else { 0 },
            failed: false,
            weight: 1,
            slot: 0,
            places: Places(nobody),
        }
    }

    /// Queued for 10 ns.
    fn request(ts_ns: i64, ns: i64, tid: Option<i32>, op: Op) -> Request {
        Request {
            ts_ns,
            disk: DISK,
            sector: None,
            issued_ns: Some(ts_ns + 10),
            end_ns: Some(ts_ns + ns),
            tid,
            op,
            class: IoClass::Data,
            direction: op.direction(),
            rest: 0,
            files: vec![(FILE, 4_096)],
        }
    }

    fn spent(call: &Call, found: &Found) -> [u128; 5] {
        let Spent { cache_ns, filesystem_ns, queue_ns, device_ns, unknown_ns } = found.spent(call);
        [cache_ns, filesystem_ns, queue_ns, device_ns, unknown_ns]
    }

    #[test]
    fn a_read_waits_for_what_its_thread_queued_within_it() {
        let calls = [call(0, 100, 1, Op::Read, Waits::Own), call(0, 100, 2, Op::Read, Waits::Own)];
        // The last one is under way when the call is over; another thread's and one before the call are not its own.
        let requests = [
            request(20, 30, Some(1), Op::Read),
            request(25, 45, Some(1), Op::Read),
            request(30, 20, Some(3), Op::Read),
            request(90, 1_000, Some(1), Op::Read),
        ];
        let found = join(&calls, &requests, &[]);
        assert_eq!(found[0].waits.len(), 3);
        // From 20 to 30 and 90 to 100 requests are queued alone; from 30 to 70 with the device.
        assert_eq!(spent(&calls[0], &found[0]), [0, 40, 20, 40, 0]);
        assert_eq!(spent(&calls[1], &found[1]), [100, 0, 0, 0, 0]);
    }

    #[test]
    fn what_cannot_be_told_is_unknown() {
        let direct = Call { is_direct: true, ..call(0, 100, 1, Op::Pread, Waits::Own) };
        let failed = Call { bytes: 0, ..direct.clone() };
        let several = Call { weight: 8, ..call(0, 100, 1, Op::Pread, Waits::Own) };
        let none = Found::default();
        assert_eq!(spent(&direct, &none), [0, 0, 0, 0, 100]);
        assert_eq!(spent(&failed, &none), [0, 100, 0, 0, 0]);
        assert_eq!(spent(&several, &none), [0, 0, 0, 0, 100]);
        let unseen = Request { end_ns: None, ..request(10, 10, Some(1), Op::Read) };
        assert_eq!(spent(&direct, &join(std::slice::from_ref(&direct), &[unseen], &[])[0]), [0, 0, 0, 0, 100]);
    }

    #[test]
    fn of_what_goes_on_beside_a_thread_the_last_is_meant_unless_several_began_together() {
        let aio = |ts_ns| call(ts_ns, 100, 1, Op::AioRead, Waits::Own);
        let calls = [aio(0), aio(5), aio(5), aio(8)];
        let requests =
            [request(2, 20, Some(1), Op::Read), request(6, 20, Some(1), Op::Read), request(9, 20, Some(1), Op::Read)];
        let found = join(&calls, &requests, &[]);
        assert_eq!(found.iter().map(|found| found.waits.len()).collect::<Vec<_>>(), [1, 1, 1, 1]);
        assert_eq!(spent(&calls[0], &found[0]), [0, 80, 10, 10, 0]);
        assert_eq!(spent(&calls[1], &found[1])[4], 100);
        assert_eq!(spent(&calls[3], &found[3]), [0, 80, 10, 10, 0]);
        // A write is no read's.
        assert!(join(&calls, &[request(2, 20, Some(1), Op::Write)], &[]).iter().all(|found| found.waits.is_empty()));
    }

    #[test]
    fn the_first_of_several_syncs_forces_out_and_all_wait() {
        let calls = [
            call(0, 100, 1, Op::Fsync, Waits::Journal),
            call(10, 50, 2, Op::Fsync, Waits::Journal),
            call(10, 50, 3, Op::Fsync, Waits::Journal),
        ];
        let other = Call { file: Some((8, 13)), ..calls[2].clone() };
        let calls = [calls[0].clone(), calls[1].clone(), other];
        let journal =
            Request { class: IoClass::Journal, files: Vec::new(), rest: 8_192, ..request(30, 20, None, Op::Write) };
        let flush = Request { files: Vec::new(), class: IoClass::Flush, ..request(40, 5, None, Op::DeviceFlush) };
        let requests = [request(20, 30, Some(9), Op::Write), journal, flush];
        let commit = Commit { end_ns: 50, dev: 8, blocks: 3 };
        let found = join(&calls, &requests, &[commit]);
        assert_eq!(
            found[0].forced,
            Forced {
                requests: 2,
                data_bytes: 4_096,
                journal_bytes: 8_192,
                other_bytes: 0,
                flushes: 1,
                commits: 1,
                journal_blocks: 3
            }
        );
        assert!(found[1..].iter().all(|found| found.forced == Forced::default()));
        assert_eq!(found.iter().map(|found| found.waits.len()).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(spent(&calls[1], &found[1]), [0, 20, 10, 20, 0]);
    }

    #[test]
    fn a_sync_of_everything_waits_for_everything_and_of_a_file_for_no_other() {
        let elsewhere = Request { disk: 1, files: vec![((9, 1), 512)], ..request(20, 30, None, Op::Write) };
        let waits = |waits| {
            let calls = [call(0, 100, 1, Op::Sync, waits)];
            let found = join(&calls, &[request(20, 30, None, Op::Write), elsewhere.clone()], &[]);
            (found[0].waits.len(), found[0].forced.data_bytes)
        };
        assert_eq!(waits(Waits::Own), (0, 0));
        assert_eq!(waits(Waits::File), (1, 4_096));
        assert_eq!(waits(Waits::Disk), (1, 4_096));
        assert_eq!(waits(Waits::All), (2, 4_608));
    }
}
