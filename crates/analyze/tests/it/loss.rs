//! Losses over time, and their effect on percentiles.

use std::fs;
use std::path::Path;

use iostrata_capture::dir::Dir;
use iostrata_capture::ledger::{Account, Amounts, Lost};
use iostrata_capture::list::{Entry, ListFile, Removed};
use iostrata_capture::manifest::State;
use iostrata_capture::op::{Layer, Op};

use crate::summary::column;
use crate::support::{Capture, run_text};

/// 2026-11-22T06:00:00Z.
const START_NS: i64 = 1_795_327_200_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// Converts seconds of the recording to times.
fn between(since: i64, until: i64) -> (i64, i64) {
    (START_NS + since * SECOND_NS, START_NS + until * SECOND_NS)
}

/// A thousand writes of one process, a hundred per second, of 1 to 1000 microseconds, with losses: 30 in the third and fourth
/// second, 5 in the seventh, and 2 at the end.
fn lossy(id: &str) -> Capture {
    let mut capture = Capture::empty(id, &[Layer::Syscall]);
    capture.process(START_NS, 1, "etcd", Some("/usr/bin/etcd"));
    for i in 0..1_000 {
        let dur_ns = (i * 7 % 1_000 + 1) * 1_000;
        capture.syscall(START_NS + i * 10_000_000 + 1_000, 1, Op::Write, 1, dur_ns);
    }
    capture.loss(between(2, 3), "syscall", "ring_full", 10);
    capture.loss(between(3, 4), "syscall", "ring_full", 20);
    capture.loss(between(6, 7), "syscall", "channel_full", 5);
    let lost = Lost { ring_full: 30, channel_full: 5, unseen_end: 2, ..Lost::default() };
    let account =
        Account { class: "syscall".into(), cpu: 0, seen: 1_037, written: 1_000, lost, lost_io: Amounts::default() };
    capture.manifest.books.accounts.push(account);
    capture
}

fn csv(place: &Path, name: &str) -> String {
    fs::read_to_string(place.join("results").join(name)).expect("written")
}

#[test]
fn times_are_the_wall_clocks_and_the_files_have_those_of_the_capture() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = lossy("stepped");
    // An hour ahead in the fifth second.
    capture.step(START_NS, 0);
    capture.step(START_NS + 5 * SECOND_NS, 3600 * SECOND_NS);
    capture.write(place.path(), "run1");
    let (_, out, _) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
    assert!(out.contains("\n2026-11-22T06:00:02.000Z to 2026-11-22T06:00:04.000Z: lost 30 events"), "{out}");
    assert!(out.contains("\n2026-11-22T07:00:06.000Z to 2026-11-22T07:00:07.000Z: lost 5 events"), "{out}");
    let loss = place.path().join("results/loss.csv");
    assert_eq!(column(&loss, "since_ns")[1], (START_NS + 6 * SECOND_NS).to_string());
}

#[test]
fn when_and_how_much_was_lost_is_printed_and_written_and_percentiles_are_marked() {
    let place = tempfile::tempdir().expect("a temporary directory");
    lossy("lossy").write(place.path(), "run1");
    let (code, out, err) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
    assert_eq!((code, err.as_str()), (3, ""));
    insta::assert_snapshot!(out, @r"
     SYSTEM    SYS_R   SYS_W   VFS_R   VFS_W   BLK_R   BLK_W   R_AMP   W_AMP
    ─────────────────────────────────────────────────────────────────────────
     etcd          0    1000       -       -       -       -       -       -
    ─────────────────────────────────────────────────────────────────────────
     (total)       0    1000       -       -       -       -       -       -

    not captured: vfs (the kernel refused fentry)
    not captured: fs (the kernel refused fentry)
    not captured: block (the kernel refused fentry)
    lost 37 events: syscall 30 ring_full, 5 channel_full, 2 unseen_end
    2026-11-22T06:00:02.000Z to 2026-11-22T06:00:04.000Z: lost 30 events of syscall (ring_full), 13.0 % of all events in that time
    2026-11-22T06:00:06.000Z to 2026-11-22T06:00:07.000Z: lost 5 events of syscall (channel_full), 4.8 % of all events in that time
    lost at an unknown time: syscall 2 unseen_end

    Wrote results/summary.csv, results/amplification.csv, results/latency.csv and results/loss.csv.
    Column marks of latency.csv: missing operations may have moved 5 percentiles by more than 0.1 %; no upper bound for 2, because more than 1 - p of the operations may be missing.
    ");
    insta::assert_snapshot!(csv(place.path(), "loss.csv"), @r"
    capture,table,cause,since_ns,until_ns,times,cpus,lost_events,rows,lost_share
    lossy,syscall,ring_full,1795327202000000000,1795327204000000000,1,1,30,200,0.13043478260869565
    lossy,syscall,channel_full,1795327206000000000,1795327207000000000,1,1,5,100,0.047619047619047616
    lossy,syscall,unseen_end,,,,,2,,
    ");
    insta::assert_snapshot!(csv(place.path(), "latency.csv"), @r"
    system,layer,op,phase,count,recorded,avg_ns,min_ns,p50_ns,p90_ns,p95_ns,p99_ns,p999_ns,p9999_ns,max_ns,untimed,lost_events,lost_share,marks,p50_low_ns,p50_high_ns,p90_low_ns,p90_high_ns,p95_low_ns,p95_high_ns,p99_low_ns,p99_high_ns,p999_low_ns,p999_high_ns,p9999_low_ns,p9999_high_ns
    etcd,syscall,write,total,1000,1000,500500,1000,500223,900095,950271,990207,999423,,1000000,0,37,0.03567984570877531,p50 p90 p95 p99? p999?,481792,519167,896512,934399,948736,986111,989696,,998912,,,
    ");
}

#[test]
fn what_was_lost_is_in_the_windows_that_it_may_have_been_of() {
    let place = tempfile::tempdir().expect("a temporary directory");
    lossy("windows").write(place.path(), "run1");
    let (code, _, _) = run_text(place.path(), &["timeline", "run1", "--out", "results"]);
    assert_eq!(code, 3);
    let timeline = place.path().join("results/timeline.csv");
    assert_eq!(column(&timeline, "syscall_write_ops"), ["100"; 10]);
    // A loss window includes its last moment, which may be the first of a time window.
    assert_eq!(column(&timeline, "lost_events"), ["0", "0", "30", "30", "30", "0", "5", "5", "0", "0"]);
}

#[test]
fn what_was_over_before_what_is_asked_for_is_not_missing_of_it() {
    let place = tempfile::tempdir().expect("a temporary directory");
    lossy("asked").write(place.path(), "run1");
    let lost = |arguments: &[&str]| {
        let (code, _, _) = run_text(place.path(), &[&["latency", "run1", "--out", "results"], arguments].concat());
        assert_eq!(code, 3);
        column(&place.path().join("results/latency.csv"), "lost_events")
    };
    assert_eq!(lost(&[]), ["37"]);
    assert_eq!(lost(&["--since", "2026-11-22T06:00:05Z"]), ["7"]);
    assert_eq!(lost(&["--since", "2026-11-22T06:00:08Z"]), ["2"]);
    // Events that were lost later may have begun before.
    assert_eq!(lost(&["--until", "2026-11-22T06:00:01Z"]), ["37"]);
}

#[test]
fn of_a_recording_that_was_cut_off_what_is_known_is_used_and_called_the_least() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = lossy("cut");
    capture.manifest.state = State::Recording;
    capture.manifest.books.accounts.clear();
    capture.write(place.path(), "run1");
    let (code, out, _) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!(out, @r"
     SYSTEM    SYS_R   SYS_W   VFS_R   VFS_W   BLK_R   BLK_W   R_AMP   W_AMP
    ─────────────────────────────────────────────────────────────────────────
     etcd          0    1000       -       -       -       -       -       -
    ─────────────────────────────────────────────────────────────────────────
     (total)       0    1000       -       -       -       -       -       -

    not captured: vfs (the kernel refused fentry)
    not captured: fs (the kernel refused fentry)
    not captured: block (the kernel refused fentry)
    not known: the time up to which the capture is complete; the rows of some CPUs and tables may end earlier than those of others
    lost at least 35 events until 2026-11-22T06:00:07.000Z: syscall 5 channel_full, 30 ring_full; later losses are not known
    2026-11-22T06:00:02.000Z to 2026-11-22T06:00:04.000Z: lost 30 events of syscall (ring_full), 13.0 % of all events in that time
    2026-11-22T06:00:06.000Z to 2026-11-22T06:00:07.000Z: lost 5 events of syscall (channel_full), 4.8 % of all events in that time

    Wrote results/summary.csv, results/amplification.csv, results/latency.csv and results/loss.csv.
    Column marks of latency.csv: missing operations may have moved 5 percentiles by more than 0.1 %; no upper bound for 2, because more than 1 - p of the operations may be missing; more may be missing than is known.
    ");
    insta::assert_snapshot!(csv(place.path(), "loss.csv"), @r"
    capture,table,cause,since_ns,until_ns,times,cpus,lost_events,rows,lost_share
    cut,syscall,ring_full,1795327202000000000,1795327204000000000,1,1,30,200,0.13043478260869565
    cut,syscall,channel_full,1795327206000000000,1795327207000000000,1,1,5,100,0.047619047619047616
    cut,,cut_off,1795327207000000000,,,,,,
    ");
    let latency = place.path().join("results/latency.csv");
    assert_eq!(column(&latency, "marks"), ["at_least p50 p90 p95 p99? p999?"]);
    assert_eq!(column(&latency, "lost_events"), ["35"]);
}

#[test]
fn a_recording_that_was_cut_off_without_a_word_of_losses_has_not_lost_zero() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = lossy("cut");
    capture.manifest.state = State::Recovered;
    capture.manifest.books.accounts.clear();
    capture.loss.clear();
    capture.write(place.path(), "run1");
    run_text(place.path(), &["summary", "run1", "--out", "results"]);
    let latency = place.path().join("results/latency.csv");
    let of = |name| column(&latency, name);
    assert_eq!(
        (of("lost_events"), of("lost_share"), of("marks")),
        (vec!["".into()], vec!["".into()], vec!["at_least".into()])
    );
    assert_eq!(csv(place.path(), "loss.csv").lines().nth(1), Some("cut,,cut_off,,,,,,,"));
    // The capture is complete up to a known time.
    capture.manifest.whole_until_ns = Some(1_795_327_208_000_000_000);
    capture.write(place.path(), "run2");
    run_text(place.path(), &["summary", "run2", "--out", "results"]);
    let cut_off = "cut,,cut_off,1795327208000000000,,,,,,";
    assert_eq!(csv(place.path(), "loss.csv").lines().nth(1), Some(cut_off));
    let (_, out, _) = run_text(place.path(), &["quality", "run2"]);
    assert!(out.contains("no known losses; losses at the end are unknown"), "{out}");
}

#[test]
fn a_table_that_tells_more_than_the_books_is_told() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = lossy("more");
    capture.loss(between(8, 9), "syscall", "ring_full", 4);
    capture.write(place.path(), "run1");
    let (code, out, _) = run_text(place.path(), &["summary", "run1"]);
    assert_eq!(code, 3);
    let told = "table loss and the event accounting are inconsistent: 34 events of syscall (ring_full), but 30 in the event accounting";
    assert!(out.lines().any(|line| line == told), "{out}");
}

#[test]
fn the_largest_of_many_episodes_are_printed_and_none_is_cut() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = lossy("many");
    capture.loss.clear();
    (0..3_000).for_each(|i| {
        capture.loss(between(2 * i, 2 * i + 1), "syscall", "ring_full", if i == 2_500 { 900 } else { 1 })
    });
    capture.manifest.books.accounts[0].lost = Lost { ring_full: 3_899, ..Lost::default() };
    capture.manifest.books.accounts[0].seen = 4_899;
    capture.write(place.path(), "run1");
    let (_, out, _) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
    let loss = place.path().join("results/loss.csv");
    let sum = |name| column(&loss, name).iter().map(|cell| cell.parse::<u64>().expect("a number")).sum::<u64>();
    assert_eq!((column(&loss, "times").len(), sum("times"), sum("lost_events")), (1_000, 3_000, 3_899));
    assert!(out.contains("lost 9") && out.contains(" at 995 more times; loss.csv (--out) has all"), "{out}");
    assert!(out.contains("separate times, joined because there were too many"), "{out}");
}

#[test]
fn threads_parts_and_captures_do_not_change_what_was_lost_when() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut cut = lossy("lossy");
    lossy("lossy").write(place.path(), "whole");
    cut.rows_per_part = 90;
    cut.write(place.path(), "cut");
    let mut results = Vec::new();
    for arguments in [&["whole", "--threads", "1"][..], &["cut", "--threads", "1"], &["cut", "--threads", "5"]] {
        run_text(place.path(), &[&["summary", "--out", "results"], arguments].concat());
        results.push(["loss.csv", "latency.csv"].map(|name| csv(place.path(), name)));
    }
    assert!(results.iter().all(|result| *result == results[0]));
    // Each of two captures has its own losses, and any row may lack events of either.
    lossy("other").write(place.path(), "other");
    run_text(place.path(), &["summary", "--out", "results", "whole", "other"]);
    assert_eq!(column(&place.path().join("results/loss.csv"), "capture"), [["lossy"; 3], ["other"; 3]].concat());
    assert_eq!(column(&place.path().join("results/latency.csv"), "lost_events"), ["74"]);
}

#[test]
fn a_part_of_loss_that_cannot_be_read_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let capture = lossy("broken").write(place.path(), "run1");
    let part = capture.join("loss/part-000001.parquet");
    let bytes = fs::metadata(&part).expect("there").len();
    fs::write(&part, vec![b'x'; bytes as usize]).expect("room");
    let (code, out, err) = run_text(place.path(), &["summary", "run1"]);
    assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1));
    let expected = "iostrata-analyze: run1/loss/part-000001.parquet: not a readable Parquet file: ";
    assert!(err.starts_with(expected), "{err}");
}

/// Returns the output of `quality`, and the verdict of each check from `quality.csv`.
fn quality(capture: Capture, code: i32) -> (String, Vec<(String, String)>) {
    quality_without(capture, code, 0)
}

/// Returns the same for a capture from which `rows` calls were removed to keep within `--max-disk`.
fn quality_without(capture: Capture, code: i32, rows: u64) -> (String, Vec<(String, String)>) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = capture.write(place.path(), "run1");
    let removed = Removed { table: iostrata_capture::TableId::Syscall, parts: 1, rows, bytes: 1, last_ts_ns: None };
    let list = Dir::open(&directory).and_then(|capture| ListFile::open(&capture, |_| Ok(())));
    list.and_then(|mut list| list.append(&[Entry::RemovedSum(removed)])).expect("room");
    let (ended, out, _) = run_text(place.path(), &["quality", "run1", "--out", "results"]);
    assert_eq!(ended, code, "{out}");
    let csv = place.path().join("results/quality.csv");
    (out, column(&csv, "check").into_iter().zip(column(&csv, "verdict")).collect())
}

fn verdict<'a>(of: &'a [(String, String)], check: &str) -> &'a str {
    &of.iter().find(|(known, _)| known == check).expect("a check of that name").1
}

#[test]
fn a_capture_that_lost_too_much_is_called_bad_and_one_that_lost_little_is_not() {
    let (out, checks) = quality(lossy("much"), 3);
    assert!(
        out.contains("37 of 1038 events lost, at most 3.568 % of a table") && out.contains("Verdict: not reliable"),
        "{out}"
    );
    assert_eq!(
        ["loss", "recording", "books", "layer syscall"].map(|check| verdict(&checks, check)),
        ["bad", "good", "good", "good"]
    );
    let mut half = lossy("half");
    let lost = Lost { ring_full: 5, ..Lost::default() };
    let account = half.manifest.books.accounts[0].clone();
    half.manifest.books.accounts[0] = Account { seen: 100_000_037, written: 100_000_000, ..account.clone() };
    half.manifest.books.accounts.push(Account { class: "block".into(), seen: 10, written: 5, lost, ..account });
    let (out, checks) = quality(half, 3);
    assert!(verdict(&checks, "loss") == "bad" && out.contains("at most 50.000 % of a table"), "{out}");
    let mut little = lossy("little");
    let account = &mut little.manifest.books.accounts[0];
    (account.seen, account.written) = (1_000_037, 1_000_000);
    // All but the last of them were removed for `--max-disk`.
    let (out, checks) = quality_without(little, 3, 999_000);
    assert_eq!((verdict(&checks, "loss"), verdict(&checks, "layer block")), ("note", "note"));
    assert!(out.contains("Verdict: reliable; report the notes with any number."), "{out}");
}

#[test]
fn a_capture_that_was_cut_off_or_whose_books_do_not_balance_is_called_bad() {
    let mut cut_off = lossy("cut off");
    cut_off.manifest.state = State::Recovered;
    let (_, checks) = quality(cut_off, 3);
    assert_eq!(["recording", "loss"].map(|check| verdict(&checks, check)), ["bad", "bad"]);
    let mut unbalanced = lossy("unbalanced");
    unbalanced.manifest.books.accounts[0].seen += 1;
    let (out, checks) = quality(unbalanced, 3);
    assert_eq!(verdict(&checks, "books"), "bad");
    assert!(
        out.contains("event accounting of syscall is inconsistent: 1038 seen, but 1000 recorded and 37 lost"),
        "{out}"
    );
}

#[test]
fn a_clock_that_was_set_is_noted() {
    let mut stepped = lossy("set");
    stepped.step(START_NS, 0);
    stepped.step(START_NS + 5 * SECOND_NS, 3600 * SECOND_NS);
    let (out, checks) = quality(stepped, 3);
    assert!(verdict(&checks, "clock") == "note" && out.contains("wall-clock drift: 3600.000 s"), "{out}");
}

#[test]
fn books_that_the_table_contradicts_are_called_bad() {
    let mut contradicted = lossy("contradicted");
    contradicted.loss(between(8, 9), "syscall", "ring_full", 1);
    let (_, checks) = quality(contradicted, 3);
    assert_eq!(verdict(&checks, "books"), "bad");
}
