//! Consistency checks of a capture: values that are impossible for any recording.

use iostrata_capture::Capture;
use iostrata_capture::ledger::{Account, Followed};
use iostrata_capture::manifest::{DeviceCheck, Manifest, MapUse, ProcessBook, ProcessCounters, State};
use iostrata_capture::op::{Direction, IoClass, Layer};

use super::{Check, Verdict, percent};
use crate::aggregate::count::DIRECTIONS;
use crate::aggregate::flow::Flow;
use crate::analyses::summary::word;
use crate::entity::{CaptureNumber, Entity};
use crate::partial::Finished;
use crate::trust::Trust;

/// Maximum count of anything in a recording; a larger value is a negative difference of two counters.
const MOST: u64 = i64::MAX as u64;

/// Use of a table of the kernel side above which it is reported, even if nothing was lost.
const FULL: f64 = 0.9;

/// Range of ratios of bytes that need no explanation.
const USUAL: std::ops::RangeInclusive<f64> = 1.0..=100.0;

/// Checks counters of the manifest: none is above the maximum, and no more events are lost than seen.
pub fn counters(manifest: &Manifest) -> Check {
    let incomplete = &manifest.books.incomplete;
    let mut wrong: Vec<String> = [
        ("requests without a recorded completion", incomplete.unseen_ends),
        ("requests without a recorded submitter", incomplete.unidentified_requests),
        ("operations of aio or io_uring in flight at the stop", incomplete.unfinished_async),
        ("system calls by the 32-bit entry", incomplete.compat_calls),
        ("calls in flight when the recording began", incomplete.earlier_calls),
        ("system calls without a run-queue latency", incomplete.unmeasured_calls),
    ]
    .into_iter()
    .filter(|(_, count)| *count > MOST)
    .map(|(what, count)| format!("{count} {what}"))
    .collect();
    let accounts = &manifest.books.accounts;
    for account in accounts {
        let (class, cpu, lost) = (&account.class, account.cpu, account.lost.total());
        if account.seen.max(account.written).max(lost) > MOST || lost > account.seen {
            let counts = format!("{} seen, {} written and {lost} lost", account.seen, account.written);
            wrong.push(format!("{class} on CPU {cpu}: {counts}"));
        }
    }
    // Each may be possible, and their sum not.
    let sum = |of: fn(&Account) -> u64| accounts.iter().map(|account| u128::from(of(account))).sum::<u128>();
    for (what, sum) in [
        ("events seen", sum(|account| account.seen)),
        ("bytes of lost reads", sum(|account| account.lost_io.read_bytes)),
        ("bytes of lost writes", sum(|account| account.lost_io.write_bytes)),
        ("lost reads", sum(|account| account.lost_io.read_ops)),
        ("lost writes", sum(|account| account.lost_io.write_ops)),
    ] {
        if sum > u128::from(MOST) {
            wrong.push(format!("{sum} {what} on all CPUs"));
        }
    }
    match wrong.as_slice() {
        [] => ("counters", Verdict::Good, "no invalid values".to_owned()),
        wrong => ("counters", Verdict::Bad, format!("invalid: {}", wrong.join("; "))),
    }
}

/// Checks that each operation that began has ended or is in flight.
pub fn followed(manifest: &Manifest) -> Option<Check> {
    let (mut verdict, mut found) = (Verdict::Good, Vec::new());
    for of in &manifest.books.followed {
        let Followed { kind, begun, ended, under_way } = of;
        let counts = format!("{begun} {} began, {ended} ended, {under_way} were in flight", kind.doc());
        let vanished = of.vanished();
        if of.has_unknown_bytes() {
            verdict = Verdict::Bad;
            found.push(format!("{counts}: inconsistent"));
        } else if vanished > 0 {
            verdict = verdict.max(Verdict::Note);
            found.push(format!(
                "{counts}, {vanished} did not fit into the in-flight table: they are in the bounds only"
            ));
        } else if *begun > 0 {
            found.push(counts);
        }
    }
    (!found.is_empty()).then(|| ("begun", verdict, found.join("; ")))
}

/// Checks that the bytes of each device, summed by class from its rows, equal the count of the recorder when it wrote them.
pub fn classes(number: usize, capture: &Capture, finished: &Finished, trust: &Trust) -> Option<Check> {
    let manifest = &capture.manifest;
    let is_whole = manifest.state == State::Complete
        && !trust.is_selected
        && !trust.is_windowed
        && !trust.sampled
        && capture.list.removed_until_ns().is_none();
    if !is_whole || !trust.captured[Layer::Block as usize] {
        return None;
    }
    let (mut devices, mut wrong) = (0, Vec::new());
    for DeviceCheck { device: name, rows, .. } in &manifest.device_books {
        let Some(dev) = manifest.devices.iter().find(|device| device.name == *name).map(|device| device.dev) else {
            continue;
        };
        let of_device = Entity::Device(CaptureNumber::new(number, &manifest.capture_id), dev);
        // An excluded level has no bytes.
        let Some(flows) = finished.entities.get(&of_device).filter(|flows| flows.device() > 0) else { continue };
        devices += 1;
        for (direction, counted) in DIRECTIONS.into_iter().zip([rows.read_bytes, rows.write_bytes]) {
            let sum = flows.get(direction).device();
            if sum != counted {
                wrong.push(format!("{name}: {sum} bytes {} by class, {counted} by the recorder", done(direction)));
            }
        }
    }
    match wrong.as_slice() {
        [] if devices == 0 => None,
        [] => Some(("classes", Verdict::Good, format!("bytes by class sum to those of the rows of {devices} devices"))),
        wrong => Some(("classes", Verdict::Bad, wrong.join("; "))),
    }
}

/// Checks that system calls of processes moved no more bytes than the kernel counted for them. The kernel counts calls on pipes and sockets
/// too, so it may have more, but not fewer.
pub fn processes(number: usize, manifest: &Manifest, finished: &Finished, trust: &Trust) -> Option<Check> {
    let counters = manifest.process_counters.as_ref()?;
    if !trust.captured[Layer::Syscall as usize] || trust.is_windowed || trust.is_selected || trust.sampled {
        return None;
    }
    let ProcessCounters { processes, others, why_not } = counters;
    if let Some(why) = why_not {
        return Some(("processes", Verdict::Note, format!("not checked against the kernel's counters: {why}")));
    }
    let (mut checked, mut wrong) = (0, Vec::new());
    for ProcessBook { pid, start_ns, read_bytes, write_bytes } in processes {
        let process = Entity::Process(CaptureNumber::new(number, &manifest.capture_id), *pid, *start_ns);
        let Some(flows) = finished.entities.get(&process) else { continue };
        checked += 1;
        for (direction, counted) in DIRECTIONS.into_iter().zip([*read_bytes, *write_bytes]) {
            let calls = flows.get(direction).counted_calls();
            if calls > counted {
                wrong.push(format!(
                    "process {pid}: {calls} bytes {} by rows of calls, {counted} by the kernel",
                    done(direction)
                ));
            }
        }
    }
    let others = if *others > 0 { format!("; {others} more not checked") } else { String::new() };
    Some(match (wrong.as_slice(), checked) {
        ([], 0) if others.is_empty() => ("processes", Verdict::Good, "no process with calls ran to the end".to_owned()),
        ([], 0) => ("processes", Verdict::Note, format!("no process with calls could be checked{others}")),
        ([], _) => {
            let found = format!("calls of {checked} that ran to the end moved no more bytes than the kernel counted");
            ("processes", Verdict::Good, format!("{found}{others}"))
        }
        (wrong, _) => ("processes", Verdict::Bad, wrong.join("; ")),
    })
}

/// Explains ratios of bytes below 1 or above 100.
pub fn ratios(finished: &Finished, trust: &Trust) -> Option<Check> {
    let has = |layer: Layer| trust.captured[layer as usize];
    if !has(Layer::Syscall) || !has(Layer::Block) || trust.is_windowed || trust.sampled {
        return None;
    }
    let (mut verdict, mut found) = (Verdict::Good, Vec::new());
    for direction in DIRECTIONS {
        let flow = finished.total_flows.get(direction);
        let Some(ratio) = ratio(flow).filter(|ratio| !USUAL.contains(ratio)) else { continue };
        let why = match ratio < 1.0 {
            // Only the layer fs shows page cache hits and overwrites.
            true if !has(Layer::Fs) => {
                "bytes that the page cache served or absorbed are not known without the layer fs".to_owned()
            }
            true if flow.cached() > 0 => {
                "the page cache serves reads and absorbs writes (`cache` shows how many)".to_owned()
            }
            true => {
                verdict = Verdict::Note;
                let missing = flow.application().saturating_sub(flow.data());
                format!(
                    "{missing} bytes {} were not moved by a device: they were in the page cache or dirty before, are holes, are on no recorded \
                     disk, or requests are missing",
                    done(direction)
                )
            }
            false => {
                verdict = Verdict::Note;
                by_class(flow)
            }
        };
        found.push(format!("{} {ratio:.3}: {why}", word(direction)));
    }
    let said = if found.is_empty() { "between 1 and 100".to_owned() } else { found.join("; ") };
    Some(("ratios", verdict, said))
}

/// Device bytes / application bytes; none where the application moved none.
fn ratio(flow: &Flow) -> Option<f64> {
    let asked = Some(flow.application()).filter(|bytes| *bytes > 0)?;
    Some(flow.device() as f64 / asked as f64)
}

fn by_class(flow: &Flow) -> String {
    let all = flow.device().max(1) as f64;
    let of = |class: &IoClass| {
        let bytes = flow.of_class(*class);
        (bytes > 0).then(|| format!("{} {}", class.name(), percent(bytes as f64 / all)))
    };
    IoClass::ALL.iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

const fn done(direction: Direction) -> &'static str {
    match direction {
        Direction::Read => "read",
        Direction::Write => "written",
    }
}

/// Checks of the bounded tables of the kernel side: size, maximum use and evictions.
pub fn maps(manifest: &Manifest) -> Vec<Check> {
    manifest.maps.iter().map(map).collect()
}

fn map(used: &MapUse) -> Check {
    let MapUse { map, entries, peak, evicted, effect } = used;
    let share = peak.map(|peak| peak as f64 / (*entries).max(1) as f64);
    let is_missing = evicted.is_some_and(|evicted| evicted > 0);
    let peak = match peak.zip(share) {
        Some((peak, share)) => format!("{peak} of {entries} entries ({})", percent(share)),
        None => format!("{entries} entries; use not measured"),
    };
    let evicted = match evicted {
        Some(evicted) => format!(", {evicted} evicted or rejected"),
        None => String::new(),
    };
    let is_told = is_missing || share.is_some_and(|share| share >= FULL);
    let effect = if is_told && !effect.is_empty() { format!(": {effect}") } else { String::new() };
    let verdict = if is_told { Verdict::Note } else { Verdict::Good };
    ("map", verdict, format!("{map}: {peak}{evicted}{effect}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::flow::{Path, Step};
    use crate::aggregate::{Precision, Settings};
    use iostrata_capture::ledger::FollowedKind;
    use iostrata_capture::op::Evidence;

    fn settings() -> Settings {
        Settings::new(Precision::DEFAULT)
    }

    fn manifest() -> Manifest {
        serde_json::from_str(include_str!("../../../../../../tests/fixtures/debian-6.12-nvme/manifest.json"))
            .expect("a manifest")
    }

    #[test]
    fn a_counter_that_wrapped_and_more_lost_than_seen_cannot_be_true() {
        let mut books = manifest();
        assert_eq!(counters(&books).1, Verdict::Good);
        books.books.incomplete.unfinished_async = 10u64.wrapping_sub(20);
        let (_, verdict, found) = counters(&books);
        assert_eq!(
            (verdict, found.contains("18446744073709551606 operations of aio")),
            (Verdict::Bad, true),
            "{found}"
        );
        let mut lost = manifest();
        lost.books.accounts[0].lost.ring_full = lost.books.accounts[0].seen + 1;
        assert_eq!(counters(&lost).1, Verdict::Bad);
        let mut sum = manifest();
        sum.books.accounts.truncate(2);
        sum.books.accounts.iter_mut().for_each(|account| account.lost_io.write_bytes = MOST);
        let (_, verdict, found) = counters(&sum);
        assert_eq!(
            (verdict, found.as_str()),
            (Verdict::Bad, "invalid: 18446744073709551614 bytes of lost writes on all CPUs")
        );
    }

    #[test]
    fn a_table_is_told_when_it_is_nearly_full_or_had_no_room() {
        let used = |peak, evicted| MapUse {
            map: "calls".into(),
            entries: 100,
            peak,
            evicted,
            effect: "calls are lost".into(),
        };
        let verdict = |peak, evicted| map(&used(peak, evicted)).1;
        assert_eq!(verdict(Some(89), Some(0)), Verdict::Good);
        assert_eq!(verdict(None, None), Verdict::Good);
        assert_eq!(verdict(Some(90), None), Verdict::Note);
        assert_eq!(verdict(Some(1), Some(1)), Verdict::Note);
        assert_eq!(
            map(&used(Some(1), Some(2))).2,
            "calls: 1 of 100 entries (1.000 %), 2 evicted or rejected: calls are lost"
        );
    }

    #[test]
    fn a_ratio_below_one_is_explained_by_the_page_cache_alone() {
        let check = |cached: u64, device: u64, fs: bool| {
            let mut flows = crate::aggregate::flow::Flows::default();
            flows.add(Direction::Write, Step::Application(Path::Call), 100);
            flows.add(Direction::Write, Step::Cache { mapped: false }, cached);
            flows.add(Direction::Write, Step::Device(IoClass::Data, Evidence::Direct), device);
            let mut finished =
                crate::partial::Partial::default().finish(&settings(), &[0; Layer::ALL.len()], Default::default());
            finished.total_flows = flows;
            let trust = Trust { captured: [true, true, fs, true], ..Trust::default() };
            ratios(&finished, &trust).expect("both layers")
        };
        assert_eq!(check(0, 100, true).1, Verdict::Good);
        assert_eq!(check(10, 49, true).1, Verdict::Good);
        assert_eq!(check(0, 49, false).1, Verdict::Good);
        let (_, verdict, found) = check(0, 49, true);
        assert_eq!(
            (verdict, found.starts_with("write 0.490: 51 bytes written were not moved by a device")),
            (Verdict::Note, true),
            "{found}"
        );
        assert_eq!(check(0, 10_001, true).2, "write 100.010: data 100.000 %");
    }

    #[test]
    fn what_began_has_ended_or_is_under_way() {
        let check = |kind, begun, ended, under_way| {
            let mut books = manifest();
            books.books.followed = vec![Followed { kind, begun, ended, under_way }];
            followed(&books).map(|(_, verdict, _)| verdict)
        };
        use FollowedKind::{Async, Calls};
        assert_eq!(check(Calls, 0, 0, 0), None);
        assert_eq!([check(Calls, 9, 8, 1), check(Async, 9, 8, 1)], [Some(Verdict::Good); 2]);
        assert_eq!([check(Calls, 9, 7, 1), check(Async, 9, 7, 1)], [Some(Verdict::Bad), Some(Verdict::Note)]);
        assert_eq!([check(Calls, 9, 9, 1), check(Async, u64::MAX, u64::MAX, 1)], [Some(Verdict::Bad); 2]);
    }

    #[test]
    fn calls_that_moved_more_than_the_kernel_counted_are_a_fault_and_less_is_none() {
        let check = |step: Step, counted: u64| {
            let mut flows = crate::aggregate::flow::Flows::default();
            flows.add(Direction::Write, step, 100);
            let mut finished =
                crate::partial::Partial::default().finish(&settings(), &[0; Layer::ALL.len()], Default::default());
            finished.entities = std::iter::once((Entity::Process(CaptureNumber::default(), 7, 1), flows)).collect();
            let book = ProcessBook { pid: 7, start_ns: 1, read_bytes: 0, write_bytes: counted };
            let counters = ProcessCounters { processes: vec![book], ..ProcessCounters::default() };
            let manifest = Manifest { process_counters: Some(counters), ..manifest() };
            let trust = Trust { captured: [true; Layer::ALL.len()], ..Trust::default() };
            processes(0, &manifest, &finished, &trust).expect("counters")
        };
        let call = Step::Application(Path::Call);
        assert_eq!([99, 100, 5000].map(|counted| check(call, counted).1), [Verdict::Bad, Verdict::Good, Verdict::Good]);
        assert_eq!(check(call, 99).2, "process 7: 100 bytes written by rows of calls, 99 by the kernel");
        for elsewhere in [Step::Application(Path::Aio), Step::Application(Path::IoUring), Step::Spliced] {
            assert_eq!(
                check(elsewhere, 0).1,
                Verdict::Good,
                "{elsewhere:?} is not in the kernel's counters of a process"
            );
        }
    }
}
