"""Run-queue latency of calls, against the kernel's counters of the thread itself (/proc/PID/task/TID/schedstat)."""

import csv
import subprocess
from pathlib import Path

import pytest
from conftest import BIN, analyze, require, run

# The kernel reads the clock of a run queue shortly before it reports a switch, and a virtual CPU may be descheduled in between each time.
SLACK = 1.5

PARTS = ("no_request", "rest", "runnable", "queue", "device", "unknown")


@pytest.fixture(scope="module")
def cpu_waits(tmp_path_factory):
    program = tmp_path_factory.mktemp("bin") / "cpu_waits"
    subprocess.run([require("clang"), "-O2", "-Wall", "-Werror", "-o", program, Path(__file__).with_name("cpu_waits.c")], check=True)
    return program


@pytest.fixture
def recorded(cpu_waits, disk, record):
    """Records this number of calls beside two busy loops on their CPU; returns the kernel's wait time and number of waits."""
    def start(way, calls, *arguments):
        (disk.mount / "file").write_bytes(bytes(8 << 20))
        disk.settle()
        recorder = record("--device", disk.name, *arguments, "--", cpu_waits, way, disk.mount / "file", calls)
        waited, times = [int(word) for word in recorder.process.stdout.read().split()]
        return recorder.finish(expected=None), waited, times

    return start


def path_rows(capture, out):
    told = analyze("path", capture.directory, "--out", out)
    assert told.returncode in (0, 3), told.stderr
    with open(out / "path.csv", newline="") as lines:
        return told.stdout, {row["op"]: row for row in csv.DictReader(lines) if row["scope"] == "all"}


@pytest.mark.parametrize("way, calls, ops", [("sync", 300, ("pwrite64", "fdatasync")), ("read", 400, ("pread64",))])
def test_calls_wait_for_a_cpu_as_long_as_the_kernel_says(way, calls, ops, recorded, tmp_path):
    capture, waited, times = recorded(way, calls, "--run-queue")
    assert capture.manifest["run_queue"] is True
    names = ", ".join(f"'{op}'" for op in ops)
    count, known, runnable, longest = capture.one(f"""
        select count(*), count(runnable_ns), sum(runnable_ns)::bigint, max(runnable_ns - dur_ns) from {{syscall}} where op in ({names})""")
    print(f"{way}: {count} calls, {known} measured, {runnable / 1e6:.3f} ms in calls, {waited / 1e6:.3f} ms by the kernel, {times} times on a CPU")
    assert count == calls * len(ops) and longest <= 0
    # Unknown values are null, and counted. (A kernel may not run programs while threads of process 1 leave a CPU.)
    unmeasured = capture.manifest["books"]["incomplete"]["unmeasured_calls"]
    assert capture.one("select count(*) from {syscall} where runnable_ns is null") == (unmeasured,)
    assert known >= 0.9 * count
    # The program makes calls only, so its waits were in calls, except for preemption between two.
    assert waited > 10_000_000, "nothing to wait for"
    assert waited / 2 <= runnable <= SLACK * waited

    shown, rows = path_rows(capture, tmp_path / "out")
    assert "RUNNABLE" in shown
    for op in ops:
        row = rows[op]
        measured, runnable = capture.one(f"select count(runnable_ns), sum(runnable_ns)::bigint from {{syscall}} where op = '{op}'")
        assert int(row["measured"]) == measured
        assert int(row["runnable_ns"]) + int(row["runnable_in_flight_ns"]) == runnable
        assert 0 <= int(row["runnable_low_ns"]) <= int(row["runnable_ns"])
        assert sum(int(row[f"{part}_ns"]) for part in PARTS) == int(row["total_ns"])
        assert sum(float(row[f"{part}_share"]) for part in PARTS) == pytest.approx(1)
    # Beside busy loops it is most of the time outside requests; without this measurement it would be included there.
    slowest = rows[ops[-1]]
    assert int(slowest["runnable_ns"]) > int(slowest["rest_ns"]) + int(slowest["no_request_ns"])


def test_what_was_not_asked_for_is_empty_and_never_zero(recorded, tmp_path):
    capture, waited, _ = recorded("sync", 50)
    assert waited > 0
    assert "run_queue" not in capture.manifest
    assert not [probe["name"] for probe in capture.manifest["probes"] if "sched_switch" in probe["name"] or "sched_wakeup" in probe["name"]]
    assert capture.one("select count(*) > 0, count(runnable_ns) from {syscall}") == (True, 0)
    shown, rows = path_rows(capture, tmp_path / "out")
    row = rows["fdatasync"]
    assert row["measured"] == "0" and int(row["rest_ns"]) > 0
    assert {row[name] for name in row if name.startswith("runnable")} == {""}
    assert sum(int(row[f"{part}_ns"]) for part in PARTS if part != "runnable") == int(row["total_ns"])


def test_operations_that_their_thread_does_not_wait_in_have_none(disk, record):
    (disk.mount / "file").write_bytes(bytes(4 << 20))
    disk.settle()
    fio = [require("fio"), "--name=known", f"--filename={disk.mount}/file", "--size=4M", "--rw=randread", "--bs=4k", "--ioengine=libaio", "--iodepth=8",
           "--direct=1", "--output-format=terse"]
    recorder = record("--device", disk.name, "--run-queue")
    assert run(*fio).returncode == 0
    capture = recorder.stop(expected=None)
    rows = dict(capture.sql("select op, count(runnable_ns) from {syscall} where op in ('aio_read', 'openat') and comm = 'fio' group by all"))
    assert rows["aio_read"] == 0 and rows["openat"] > 0


def test_a_run_queue_without_calls_is_wrong_usage(recordable, tmp_path):
    refused = run(BIN / "iostrata", "record", "--out", tmp_path / "run", "--run-queue", "--layers", "block")
    assert refused.returncode == 2 and "--run-queue" in refused.stderr and not (tmp_path / "run").exists()
