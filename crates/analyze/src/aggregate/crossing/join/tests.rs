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
        runnable_ns: None,
        failed: false,
        weight: 1,
        is_regular: true,
        whose: Some((0, Places(nobody))),
    }
}

/// Returns a request that is queued for 10 ns.
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
        is_taken: true,
        rest: 0,
        files: vec![(FILE, 4_096)],
    }
}

fn spent(call: &Call, found: &Found) -> [u128; 5] {
    let Spent { cache_ns, rest_ns, queue_ns, device_ns, unknown_ns, .. } = found.spent(call);
    [cache_ns, rest_ns, queue_ns, device_ns, unknown_ns]
}

#[test]
fn a_read_waits_for_what_its_thread_queued_within_it() {
    let calls = [call(0, 100, 1, Op::Read, Waits::Own), call(0, 100, 2, Op::Read, Waits::Own)];
    // The last one is in flight when the call ends. Requests of another thread, and those before the call, do not belong to it.
    let requests = [
        request(20, 30, Some(1), Op::Read),
        request(25, 45, Some(1), Op::Read),
        request(30, 20, Some(3), Op::Read),
        request(90, 1_000, Some(1), Op::Read),
    ];
    let found = join(&calls, &requests, &[]);
    assert_eq!(found[0].waits.len(), 3);
    // From 20 to 30 and 90 to 100 requests are only queued; from 30 to 70 they are at the device.
    assert_eq!(spent(&calls[0], &found[0]), [0, 40, 20, 40, 0]);
    assert_eq!(spent(&calls[1], &found[1]), [100, 0, 0, 0, 0]);
}

/// Returns the run-queue latency, its lower bound and the part in addition to it; then the time without requests in flight, and the unknown
/// time.
fn runnable(call: &Call, found: &Found, ns: u64) -> ([u128; 3], u128, u128) {
    let call = Call { runnable_ns: Some(ns), ..call.clone() };
    let (without, spent) = (found.by_requests(&call), found.spent(&call));
    assert_eq!((spent.total_ns(), spent.queue_ns, spent.device_ns), (100, without.queue_ns, without.device_ns));
    assert_eq!(spent.runnable_ns + spent.runnable_in_flight_ns, u128::from(ns));
    let left = spent.cache_ns + spent.rest_ns;
    ([spent.runnable_ns, spent.runnable_low_ns, spent.runnable_in_flight_ns], left, spent.unknown_ns)
}

#[test]
fn time_without_a_cpu_is_taken_off_what_is_left_beside_requests_and_nothing_twice() {
    // 10 ns in the queue and 20 at the device: 70 remain.
    let read = call(0, 100, 1, Op::Read, Waits::Own);
    let found = join(std::slice::from_ref(&read), &[request(20, 30, Some(1), Op::Read)], &[]).remove(0);
    assert_eq!(runnable(&read, &found, 0), ([0, 0, 0], 70, 0));
    // All of it, or none, may have been while the request was in flight.
    assert_eq!(runnable(&read, &found, 25), ([25, 0, 0], 45, 0));
    // At most 30 of it.
    assert_eq!(runnable(&read, &found, 50), ([50, 20, 0], 20, 0));
    // At least 10 of it.
    assert_eq!(runnable(&read, &found, 80), ([70, 50, 10], 0, 0));
    // Without requests there is no uncertainty.
    assert_eq!(runnable(&read, &Found::default(), 60), ([60, 60, 0], 40, 0));
    let sync = call(0, 100, 1, Op::Fsync, Waits::Journal);
    assert_eq!(runnable(&sync, &Found::default(), 60), ([60, 60, 0], 40, 0));
    // The requests in flight are unknown, the run-queue latency is known.
    let direct = Call { is_direct: true, ..read.clone() };
    assert_eq!(runnable(&direct, &Found::default(), 60), ([60, 0, 0], 0, 40));
    assert_eq!(runnable(&direct, &Found::default(), 100), ([100, 0, 0], 0, 0));
    assert_eq!(found.spent(&read).runnable_ns, 0);
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
    assert!(found.iter().all(Found::waited) && found[1].is_unclear && found[2].is_unclear);
    assert_eq!(spent(&calls[0], &found[0]), [0, 80, 10, 10, 0]);
    assert_eq!(spent(&calls[1], &found[1])[4], 100);
    assert_eq!(spent(&calls[3], &found[3]), [0, 80, 10, 10, 0]);
    // A write does not belong to a read.
    assert!(join(&calls, &[request(2, 20, Some(1), Op::Write)], &[]).iter().all(|found| !found.waited()));
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
#[test]
fn a_copy_reads_by_the_one_of_its_calls_that_reads() {
    let calls = [call(0, 100, 1, Op::CopyFileRangeIn, Waits::Own), call(0, 100, 1, Op::CopyFileRangeOut, Waits::Own)];
    let found = join(&calls, &[request(20, 30, Some(1), Op::Read)], &[]);
    assert_eq!(found.iter().map(Found::waited).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_sync_does_not_wait_for_what_others_write_past_the_cache() {
    let direct = Call { is_direct: true, ..call(0, 100, 2, Op::Pwrite, Waits::Own) };
    let synced = Call { is_direct: true, ..call(0, 100, 3, Op::Pwritev, Waits::Journal) };
    let calls = [call(0, 100, 1, Op::Fsync, Waits::Journal), direct, synced];
    let found = join(&calls, &[request(20, 30, Some(2), Op::Write), request(30, 30, Some(3), Op::Write)], &[]);
    assert_eq!(found.iter().map(Found::waited).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(found.iter().map(|found| found.forced.data_bytes).collect::<Vec<_>>(), [0, 0, 4_096]);
}

#[test]
fn what_a_sync_waits_for_where_that_is_not_known_is_not_nothing() {
    let overlay = Call { disk: None, ..call(0, 100, 1, Op::Fsync, Waits::Journal) };
    assert_eq!(spent(&overlay, &Found::default()), [0, 0, 0, 0, 100]);
    let msync = call(0, 100, 1, Op::Msync, Waits::Own);
    assert_eq!(spent(&msync, &Found::default()), [0, 0, 0, 0, 100]);
    assert!(call(0, 100, 1, Op::Sync, Waits::All).is_placed() && call(0, 100, 1, Op::Read, Waits::Own).is_placed());
}

#[test]
fn many_requests_of_one_call_are_put_together_to_the_same_time() {
    let all = call(0, 1_000_000, 1, Op::Sync, Waits::All);
    let requests: Vec<Request> = (0..20_000).map(|n| request(n * 10, 25 + n % 30, None, Op::Write)).collect();
    let found = join(std::slice::from_ref(&all), &requests, &[]).remove(0);
    assert!(found.waits.len() < 5_000, "{}", found.waits.len());
    let wait = |of: &Request| Some(Wait { queued_ns: of.ts_ns, issued_ns: of.issued_ns?, end_ns: of.end_ns? });
    let one_by_one = Found { waits: requests.iter().filter_map(wait).collect(), ..Found::default() };
    assert_eq!(spent(&all, &found), spent(&all, &one_by_one));
    assert_eq!(found.forced.requests, 20_000);
}
