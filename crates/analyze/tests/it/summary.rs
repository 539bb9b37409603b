//! Output of a summary.

use std::fs;
use std::path::Path;

use iostrata_capture::ledger::{Account, Amounts, Lost};
use iostrata_capture::manifest::State;
use iostrata_capture::op::{Layer, Op, Via};

use crate::support::{Capture, run, run_text, small};

const ALL: &[Layer] = Layer::ALL;

/// Returns a column of a CSV file.
pub fn column(csv: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(csv).expect("written");
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let index = header.iter().position(|h| h == name).expect("the column");
    lines.map(|cells| cells[index].clone()).collect()
}

#[test]
fn a_summary_is_printed_and_nothing_is_written() {
    let place = tempfile::tempdir().expect("a temporary directory");
    small(ALL).write(place.path(), "run1");
    let (code, out, err) = run_text(place.path(), &["summary", "run1"]);
    insta::assert_snapshot!(out, @r"
     SYSTEM    SYS_R   SYS_W   VFS_R   VFS_W   BLK_R   BLK_W   R_AMP   W_AMP
    ─────────────────────────────────────────────────────────────────────────
     dd            2       0       1       0       1       0    2.00       -
     etcd          0      20       0      20       0      21       -    4.10
     kworker       0       0       0       0       0       1       -       -
    ─────────────────────────────────────────────────────────────────────────
     (total)       2      20       1      20       1      22    2.00    4.51

    1 row of zeros is not shown; --out writes all rows

    excluded: 1 syscall operation (512 bytes) on files in memory, which reach no device
    ");
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(fs::read_dir(place.path()).expect("readable").count(), 1);
}

#[test]
fn a_layer_that_was_not_captured_is_a_dash_and_an_empty_cell() {
    let place = tempfile::tempdir().expect("a temporary directory");
    small(&[Layer::Syscall, Layer::Block]).write(place.path(), "run1");
    let (code, out, _) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
    insta::assert_snapshot!(out, @r"
     SYSTEM    SYS_R   SYS_W   VFS_R   VFS_W   BLK_R   BLK_W   R_AMP   W_AMP
    ─────────────────────────────────────────────────────────────────────────
     dd            2       0       -       -       1       0    2.00       -
     etcd          0      20       -       -       0      21       -    4.10
     kworker       0       0       -       -       0       1       -       -
    ─────────────────────────────────────────────────────────────────────────
     (total)       2      20       -       -       1      22    2.00    4.51

    1 row of zeros is not shown; --out writes all rows

    not captured: vfs (the kernel refused fentry)
    not captured: fs (the kernel refused fentry)
    excluded: 1 syscall operation (512 bytes) on files in memory, which reach no device

    Wrote results/summary.csv, results/amplification.csv, results/latency.csv and results/loss.csv.
    ");
    assert_eq!(code, 0);
    let summary = place.path().join("results/summary.csv");
    for name in ["vfs_read_ops", "vfs_write_bytes", "vfs_read_avg_ns", "read_amp_ops", "write_amp_ops_low"] {
        assert_eq!(column(&summary, name), [""; 5], "{name}");
    }
    assert_eq!(column(&summary, "system"), ["(flush)", "dd", "etcd", "kworker", "(total)"]);
}

#[test]
fn csv_files_hold_all_columns() {
    let place = tempfile::tempdir().expect("a temporary directory");
    small(ALL).write(place.path(), "run1");
    let (code, ..) = run_text(place.path(), &["summary", "run1", "--out", "a/b"]);
    assert_eq!(code, 0);
    let read = |name: &str| fs::read_to_string(place.path().join("a/b").join(name)).expect("written");
    insta::assert_snapshot!(read("summary.csv"), @r"
    system,syscall_read_ops,syscall_write_ops,syscall_read_bytes,syscall_write_bytes,vfs_read_ops,vfs_write_ops,vfs_read_bytes,vfs_write_bytes,fs_read_bytes,fs_write_bytes,block_read_ops,block_write_ops,block_read_bytes,block_write_bytes,syscall_read_avg_ns,syscall_write_avg_ns,vfs_read_avg_ns,vfs_write_avg_ns,block_read_avg_ns,block_write_avg_ns,read_amp_bytes,write_amp_bytes,read_amp_ops,write_amp_ops,total_ops,lost_events,served_read_bytes,served_read_ops,served_write_bytes,served_write_ops,read_amp_bytes_low,read_amp_bytes_high,write_amp_bytes_low,write_amp_bytes_high,read_amp_ops_low,read_amp_ops_high,write_amp_ops_low,write_amp_ops_high
    (flush),0,0,0,0,0,0,0,0,0,0,0,0,0,0,,,,,,,,,,,1,0,0,0,0,0,,,,,,,,
    dd,2,0,8192,0,1,0,8192,0,0,0,1,0,16384,0,30005,,59000,,40000,,2.0,,1.0,,5,0,0,0,0,0,2.0,2.0,,,1.0,1.0,,
    etcd,0,20,0,20000,0,20,0,20000,0,0,0,21,0,81920,,5010,,4010,,97710,,4.096,,2.05,62,0,0,0,0,0,,,4.096,4.096,,,2.05,2.05
    kworker,0,0,0,0,0,0,0,0,0,0,0,1,0,8192,,,,,,70000,,,,,2,0,0,0,0,0,,,,,,,,
    (total),2,20,8192,20000,1,20,8192,20000,0,0,1,22,16384,90112,30005,5010,59000,4010,40000,96450,2.0,4.5056,1.0,2.1,70,0,0,0,0,0,2.0,2.0,4.5056,4.5056,1.0,1.0,2.1,2.1
    ");
    insta::assert_snapshot!(read("latency.csv"), @r"
    system,layer,op,phase,count,recorded,avg_ns,min_ns,p50_ns,p90_ns,p95_ns,p99_ns,p999_ns,p9999_ns,max_ns,untimed,lost_events,lost_share,marks,p50_low_ns,p50_high_ns,p90_low_ns,p90_high_ns,p95_low_ns,p95_high_ns,p99_low_ns,p99_high_ns,p999_low_ns,p999_high_ns,p9999_low_ns,p9999_high_ns
    (flush),block,device_flush,total,1,1,30000,30000,,,,,,,30000,0,0,0.0,,,,,,,,,,,,,
    (flush),block,device_flush,queue,1,1,3000,3000,,,,,,,3000,0,0,0.0,,,,,,,,,,,,,
    (flush),block,device_flush,device,1,1,27000,27000,,,,,,,27000,0,0,0.0,,,,,,,,,,,,,
    dd,syscall,read,total,2,2,30005,10,10,,,,,,60000,0,0,0.0,,10,10,,,,,,,,,,
    dd,syscall,openat,total,1,1,700,700,,,,,,,700,0,0,0.0,,,,,,,,,,,,,
    dd,vfs,read,total,1,1,59000,59000,,,,,,,59000,0,0,0.0,,,,,,,,,,,,,
    dd,block,read,total,1,1,40000,40000,,,,,,,40000,0,0,0.0,,,,,,,,,,,,,
    dd,block,read,queue,1,1,4000,4000,,,,,,,4000,0,0,0.0,,,,,,,,,,,,,
    dd,block,read,device,1,1,36000,36000,,,,,,,36000,0,0,0.0,,,,,,,,,,,,,
    etcd,syscall,pwrite64,total,20,20,5010,5000,5009,5017,5018,,,,5019,0,0,0.0,,5009,5009,5017,5017,5018,5018,,,,,,
    etcd,syscall,fdatasync,total,1,1,900000,900000,,,,,,,900000,0,0,0.0,,,,,,,,,,,,,
    etcd,vfs,write,total,20,20,4010,4000,4009,4017,4018,,,,4019,0,0,0.0,,4009,4009,4017,4017,4018,4018,,,,,,
    etcd,block,write,total,20,20,100095,100000,100090,100170,100180,,,,100190,0,0,0.0,,100090,100090,100170,100170,100180,100180,,,,,,
    etcd,block,write,queue,20,20,10010,10000,10009,10017,10018,,,,10019,0,0,0.0,,10009,10009,10017,10017,10018,10018,,,,,,
    etcd,block,write,device,20,20,90086,90000,90081,90153,90162,,,,90171,0,0,0.0,,90081,90081,90153,90153,90162,90162,,,,,,
    etcd,block,flush,total,1,1,50000,50000,,,,,,,50000,0,0,0.0,,,,,,,,,,,,,
    etcd,block,flush,queue,1,1,5000,5000,,,,,,,5000,0,0,0.0,,,,,,,,,,,,,
    etcd,block,flush,insert,1,1,1000,1000,,,,,,,1000,0,0,0.0,,,,,,,,,,,,,
    etcd,block,flush,device,1,1,44000,44000,,,,,,,44000,0,0,0.0,,,,,,,,,,,,,
    kworker,block,write,total,1,1,70000,70000,,,,,,,70000,0,0,0.0,,,,,,,,,,,,,
    kworker,block,write,queue,1,1,7000,7000,,,,,,,7000,0,0,0.0,,,,,,,,,,,,,
    kworker,block,write,device,1,1,63000,63000,,,,,,,63000,0,0,0.0,,,,,,,,,,,,,
    kworker,block,discard,total,1,1,70000,70000,,,,,,,70000,0,0,0.0,,,,,,,,,,,,,
    kworker,block,discard,queue,1,1,7000,7000,,,,,,,7000,0,0,0.0,,,,,,,,,,,,,
    kworker,block,discard,device,1,1,63000,63000,,,,,,,63000,0,0,0.0,,,,,,,,,,,,,
    ");
    assert_eq!(fs::read_dir(place.path().join("a/b")).expect("readable").count(), 5);
}

/// The small capture with ten lost system calls and one lost block request.
fn lossy() -> Capture {
    let mut capture = small(ALL);
    let account = |class: &str, lost: u64, lost_io| Account {
        class: class.into(),
        cpu: 0,
        seen: 24 + lost,
        written: 24,
        lost: Lost { ring_full: lost, ..Lost::default() },
        lost_io,
    };
    let calls = Amounts { read_ops: 1, read_bytes: 8_192, write_ops: 5, write_bytes: 20_000 };
    let requests = Amounts { write_ops: 1, write_bytes: 9_808, ..Amounts::default() };
    capture.manifest.books.accounts = vec![account("syscall", 10, calls), account("block", 1, requests)];
    capture
}

#[test]
fn losses_are_printed_bound_the_ratios_and_set_the_exit_code() {
    let place = tempfile::tempdir().expect("a temporary directory");
    lossy().write(place.path(), "run1");
    let (code, out, _) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
    insta::assert_snapshot!(out, @r"
     SYSTEM    SYS_R   SYS_W   VFS_R   VFS_W   BLK_R   BLK_W   R_AMP   W_AMP
    ─────────────────────────────────────────────────────────────────────────
     dd            2       0       1       0       1       0   ~2.00       -
     etcd          0      20       0      20       0      21       -   ~4.10
     kworker       0       0       0       0       0       1       -       -
    ─────────────────────────────────────────────────────────────────────────
     (total)       2      20       1      20       1      22   ~2.00   ~4.51

    1 row of zeros is not shown; --out writes all rows

    lost 11 events: syscall 10 ring_full; block 1 ring_full
    lost at an unknown time: block 1 ring_full; syscall 10 ring_full
    ~ before a number: missing events may have changed it; its bounds are in summary.csv (--out)
    bounds of the total with missing events: R_AMP 1.00 to 2.00, W_AMP 2.25 to 5.00
    excluded: 1 syscall operation (512 bytes) on files in memory, which reach no device

    Wrote results/summary.csv, results/amplification.csv, results/latency.csv and results/loss.csv.
    Column marks of latency.csv: missing operations may have moved 3 percentiles by more than 0.1 %; no upper bound for 3, because more than 1 - p of the operations may be missing.
    ");
    assert_eq!(code, 3);
    let summary = place.path().join("results/summary.csv");
    // etcd: 81,920 bytes written to the device for 20,000 requested.
    assert_eq!(column(&summary, "write_amp_bytes"), ["", "", "4.096", "", "4.5056"]);
    assert_eq!(column(&summary, "write_amp_bytes_low"), ["", "", "2.048", "", "2.2528"]);
    assert_eq!(column(&summary, "write_amp_bytes_high"), ["", "", "4.5864", "", "4.996"]);
    // etcd: 20 in the VFS and 21 requests, flush included, for 20 calls.
    assert_eq!(column(&summary, "write_amp_ops"), ["", "", "2.05", "", "2.1"]);
    assert_eq!(column(&summary, "write_amp_ops_low"), ["", "", "1.64", "", "1.68"]);
    assert_eq!(column(&summary, "write_amp_ops_high"), ["", "", "2.1", "", "2.15"]);
    assert_eq!(column(&summary, "lost_events"), ["11"; 5]);
}

#[test]
fn a_recording_that_was_cut_off_is_analyzed_with_a_warning() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = small(ALL);
    capture.manifest.state = State::Recording;
    capture.write(place.path(), "run1");
    let (code, out, err) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
    assert_eq!(code, 3);
    assert!(out.contains("bounds of the total with missing events: R_AMP ? to ?, W_AMP ? to ?"), "{out}");
    insta::assert_snapshot!(err, @"warning: run1: the recording was interrupted or is still running: unflushed rows are missing, and the losses at its end are unknown");
    assert_eq!(column(&place.path().join("results/summary.csv"), "write_amp_bytes_high"), [""; 5]);
}

#[test]
fn each_part_of_a_request_goes_to_its_own_owner_and_all_add_up() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = Capture::empty("parts", ALL);
    capture.process(10, 1, "etcd", Some("/usr/bin/etcd"));
    capture.process(10, 2, "dd", Some("/usr/bin/dd"));
    capture.block(100, Some(1), Op::Write, 10_000, 50_000).owned_bytes = 4_000;
    capture.share(Some(2), 3_000);
    capture.share(None, 1_000);
    capture.write(place.path(), "run1");
    let (code, _, err) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let csv = place.path().join("results/summary.csv");
    let of = |name| column(&csv, name);
    assert_eq!(of("system"), ["(metadata)", "(unknown)", "dd", "etcd", "(total)"]);
    assert_eq!(of("block_write_bytes"), ["1000", "2000", "3000", "4000", "10000"]);
    assert_eq!(of("block_write_ops"), ["0", "0", "0", "1", "1"]);
}

#[test]
fn bytes_are_followed_from_the_application_to_the_device() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = Capture::empty("flows", ALL);
    capture.process(10, 1, "etcd", Some("/usr/bin/etcd"));
    for op in [Op::Pwrite, Op::AioWrite, Op::UringWrite] {
        let row = capture.syscall(100, 1, op, 1_000, 5_000);
        (row.dev, row.ino) = (Some(7 << 20), Some(12));
    }
    capture.fs(110, 1, Op::Dirty, Some(Via::Mapping), 4_096);
    capture.fs(120, 1, Op::Dirty, Some(Via::Call), 4_096);
    let request = capture.block(200, Some(1), Op::Write, 10_000, 50_000);
    (request.owned_bytes, request.file_dev, request.ino) = (6_096, Some(7 << 20), Some(12));
    capture.share(None, 1_000);
    capture.write(place.path(), "run1");
    let (code, _, err) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let csv = place.path().join("results/amplification.csv");
    let of = |name: &str| column(&csv, name);
    let scopes = of("scope");
    let rows = |scope: &str, name: &str| {
        let named = scopes.iter().zip(of(name)).filter(|(of, _)| *of == scope).map(|(_, value)| value);
        named.collect::<Vec<_>>()
    };
    assert_eq!(rows("system", "name"), ["(metadata)", "(unknown)", "etcd"]);
    assert_eq!(rows("process", "id"), ["1@0", "", ""]);
    assert_eq!(rows("file", "id"), ["7:0:12", "", ""]);
    for scope in ["total", "system", "process", "cgroup", "file", "device"] {
        let sum = |name| rows(scope, name).iter().map(|cell| cell.parse::<u64>().expect("a number")).sum::<u64>();
        assert_eq!(
            (sum("application_bytes"), sum("cached_bytes"), sum("device_bytes")),
            (7_096, 8_192, 10_000),
            "{scope}"
        );
    }
    for (name, bytes) in [("call", "1000"), ("aio", "1000"), ("io_uring", "1000"), ("mapping", "4096")] {
        assert_eq!(rows("file", &format!("{name}_bytes"))[0], bytes);
    }
    let etcd = |name: &str| rows("process", name)[0].clone();
    assert_eq!((etcd("device_data_bytes"), etcd("absorbed_bytes")), ("6096".into(), "1000".into()));
    let ratios = ["amplification_low", "amplification", "amplification_high"]
        .map(|name| etcd(name).parse::<f64>().expect("a number"));
    assert_eq!(ratios, [6_096.0 / 7_096.0, 6_096.0 / 7_096.0, 9_000.0 / 7_096.0]);
}

#[test]
fn rules_of_the_user_come_first() {
    let place = tempfile::tempdir().expect("a temporary directory");
    small(ALL).write(place.path(), "run1");
    let rules = "[[system]]\nname = \"all\"\nrules = [{ exe = \"/usr/bin/*\" }]\n";
    fs::write(place.path().join("rules.toml"), rules).expect("room");
    run_text(place.path(), &["summary", "run1", "--rules", "rules.toml", "--out", "results"]);
    assert_eq!(column(&place.path().join("results/summary.csv"), "system"), ["(flush)", "all", "kworker", "(total)"]);
}

#[test]
fn an_event_belongs_to_the_process_row_before_it_or_else_to_the_first() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = Capture::empty("exec", ALL);
    // Out of order, like rows of several CPUs.
    capture.process(300, 1, "etcd", Some("/usr/bin/etcd"));
    capture.process(100, 1, "sh", Some("/bin/sh"));
    for ts_ns in [50, 100, 299] {
        capture.syscall(ts_ns, 1, Op::Read, 10, 1);
    }
    for ts_ns in [300, 1_000] {
        capture.syscall(ts_ns, 1, Op::Read, 1, 1);
    }
    capture.syscall(300, 9, Op::Read, 5, 1);
    capture.write(place.path(), "run1");
    run_text(place.path(), &["summary", "run1", "--out", "results"]);
    let summary = place.path().join("results/summary.csv");
    assert_eq!(column(&summary, "system"), ["etcd", "sh", "some", "(total)"]);
    assert_eq!(column(&summary, "syscall_read_bytes"), ["2", "30", "5", "37"]);
}

#[test]
fn rows_that_stand_for_several_events_count_for_these_and_the_results_say_so() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = Capture::empty("sampled", ALL);
    capture.process(0, 1, "dd", None);
    capture.process(0, 2, "cp", None);
    for (number, weight) in [1, 4, 4].into_iter().enumerate() {
        let ts_ns = 10 * number as i64;
        capture.syscall(ts_ns, 1, Op::Write, 4096, 1_000 * i64::from(weight)).weight = weight;
        let request = capture.block(ts_ns, Some(1), Op::Write, 8192, 100);
        (request.weight, request.owned_bytes) = (weight, 4096);
        capture.share(Some(2), 4096);
    }
    capture.write(place.path(), "run1");
    let (_, out, _) = run_text(place.path(), &["summary", "run1", "--out", "results"]);
    // Two of the calls, two of the requests and two of their parts.
    let said = "sampled: 6 of 9 rows represent up to 4 events each (--cpu-limit): operations, bytes, ratios and percentiles are estimates\n";
    assert!(out.contains(said), "{out}");
    let results = place.path().join("results");
    let summary = |name| column(&results.join("summary.csv"), name);
    assert_eq!(summary("system"), ["cp", "dd", "(total)"]);
    assert_eq!([summary("syscall_write_ops"), summary("block_write_ops")], [["0", "9", "9"]; 2]);
    assert_eq!(
        [summary("syscall_write_bytes"), summary("block_write_bytes")],
        [["0", "36864", "36864"], ["36864", "36864", "73728"]]
    );
    // (1 × 1000 + 8 × 4000) / 9.
    assert_eq!(summary("syscall_write_avg_ns"), ["", "3667", "3667"]);
    let latency = |name| column(&results.join("latency.csv"), name)[0].clone();
    assert_eq!(
        ["op", "count", "recorded", "p50_ns", "p90_ns", "marks"].map(latency),
        ["write", "9", "3", "4000", "", "sampled"]
    );
    let amplification = |name| column(&results.join("amplification.csv"), name);
    assert_eq!(amplification("application_bytes")[0], "36864");
    assert_eq!(amplification("device_bytes")[0], "73728");
}

#[test]
fn a_name_that_a_terminal_would_obey_is_printed_harmless() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut capture = Capture::empty("names", ALL);
    capture.process(1, 1, "x", Some("/a\x1b[31m\nb"));
    capture.syscall(2, 1, Op::Read, 1, 1);
    capture.write(place.path(), "run1");
    let (_, out, _) = run_text(place.path(), &["summary", "run1"]);
    assert!(out.contains("a\\x1b[31m b") && !out.contains('\x1b'), "{out}");
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_is_a_normal_end() {
    use std::process::{Command, Stdio};
    let place = tempfile::tempdir().expect("a temporary directory");
    small(ALL).write(place.path(), "run1");
    for arguments in [&["summary", "run1"][..], &["schema"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iostrata-analyze"));
        command.current_dir(place.path()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{arguments:?}");
    }
}

#[test]
fn help_says_what_exit_codes_mean() {
    let output = run(Path::new("."), &["summary", "--help"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("Exit codes:") && text.contains("  3  done, but"), "{text}");
}

#[test]
fn a_process_is_called_what_it_was_last_in_whatever_order_its_rows_stand() {
    let mut capture = small(Layer::ALL);
    let (start_ns, pid) = (1, 4_711);
    for (ts_ns, name, cgroup) in [(10, "sh", "/first"), (20, "python3", "/second"), (30, "etcd", "/last")] {
        let process = capture.process(ts_ns, pid, name, Some(&format!("/usr/bin/{name}")));
        (process.start_ns, process.cgroup_id, process.cgroup) = (start_ns, 77, Some(cgroup.to_owned()));
    }
    let call = capture.syscall(40, pid, Op::Write, 4_096, 1_000);
    call.cgroup_id = 77;
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut told = Vec::new();
    for name in ["forward", "backward"] {
        let directory = capture.write(place.path(), name);
        let out = place.path().join("out");
        let arguments = ["top", directory.to_str().expect("UTF-8"), "--out", out.to_str().expect("UTF-8")];
        let (code, _, error) = run_text(place.path(), &arguments);
        assert_eq!((code, error.as_str()), (0, ""));
        told.push(fs::read_to_string(out.join("top.csv")).expect("a table"));
        capture.process.reverse();
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0].contains("etcd") && told[0].contains("/last"), "{}", told[0]);
    assert!(!told[0].contains("python3") && !told[0].contains("/first") && !told[0].contains("/second"), "{}", told[0]);
}
