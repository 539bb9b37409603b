"""`--cpu-limit`: recording is sampled where recorder and programs exceed the CPU limit, and every row has the number of events that it represents."""

import csv
import math
import os
import statistics
import threading
import time
from pathlib import Path

import pytest
from conftest import analyze
from proc import descriptors
from test_load import fast_disk, fio, ios  # noqa: F401

STATS = Path("/proc/sys/kernel/bpf_stats_enabled")


@pytest.fixture
def timed():
    """Enables the kernel's own statistics of the run time of programs."""
    before = STATS.read_text()
    STATS.write_text("1")
    yield
    STATS.write_text(before)


def cpu_seconds(recorder):
    """Returns the CPU time of the process, by /proc, and of its programs, by the kernel's statistics."""
    process = Path(f"/proc/{recorder.process.pid}")
    fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    programs = {file["prog_id"]: int(file["run_time_ns"]) for file in descriptors(recorder.process.pid) if "run_time_ns" in file}
    assert programs
    return own + sum(programs.values()) / 1e9


PERIOD_NS = 1 << 28


def standard_error(capture, source, amount):
    """Returns the standard error of the weighted sum of an amount, from the variance of the sums of the periods: one time slice is drawn
    independently in each period."""
    periods, total, squares = capture.one(f"""
        select max(period) - min(period) + 1, sum(x), sum(x * x) from (
            select ts_ns // {PERIOD_NS} as period, sum(weight * {amount})::double as x from {source} group by 1)""")
    return math.sqrt(periods * (squares - total * total / periods) / (periods - 1))


@pytest.mark.moments
def test_the_limit_is_kept_and_what_rows_stand_for_is_what_happened(fast_disk, record, timed, tmp_path):  # noqa: F811
    # The cost of examining events grows with the operations, and a machine may do more of them than the limit allows.
    load = ("--ioengine=psync", "--rate_iops=8000")
    fio(fast_disk, "--ioengine=psync", seconds=1)
    # Two thirds of what recording costs without a limit: on a busy machine fio gets to few operations, whose rows cost little.
    unlimited = record("--device", fast_disk.name, "--layers", "syscall,fs,block", out=tmp_path / "unlimited")
    before, since = cpu_seconds(unlimited), time.monotonic()
    fio(fast_disk, *load, seconds=4)
    limit = min(3, max(0.5, round((cpu_seconds(unlimited) - before) / (time.monotonic() - since) * 100 * 2 / 3, 1)))
    unlimited.stop()
    recorder = record("--device", fast_disk.name, "--layers", "syscall,fs,block", "--cpu-limit", limit)
    # The controller does not know the load before it has measured some of it.
    first = ios(fio(fast_disk, *load, seconds=6))
    told, looks, over = [], [], threading.Event()

    def watch():
        while not over.is_set():
            before, since = cpu_seconds(recorder), time.monotonic()
            over.wait(2)
            told.append((cpu_seconds(recorder) - before) / (time.monotonic() - since) * 100)
            looks.append(recorder.status())

    watcher = threading.Thread(target=watch)
    watcher.start()
    second = ios(fio(fast_disk, *load, seconds=40))
    over.set()
    watcher.join()
    # In the median, not in each interval: the controller reacts after the load changed. From one in one to one in 256 it takes up to eight
    # steps of three seconds, where most of the cost does not depend on the rate.
    taken = statistics.median(told[-8:])
    health = looks[-1]
    capture = recorder.stop()
    assert "sampled" in recorder.text and "INCONSISTENT" not in recorder.text, recorder.text
    capture.check_books()
    assert capture.lost() == 0
    assert any(look["recorded_one_in"] > 1 for look in looks) and health["cpu_permille"] > 0, looks
    # Otherwise the excess is reported: examining events costs more, if others make hundreds of thousands of calls per second.
    assert taken < 1.5 * limit or any(look["over_cpu_limit"] for look in looks), (told, looks)

    sampling = capture.manifest["sampling"]
    assert sampling["cpu_limit_percent"] == limit and capture.manifest["device_books"] == []
    greatest = sampling["greatest_weight"]
    for table in ("syscall", "block"):
        weights = {weight for weight, in capture.sql(f"select distinct weight from {{{table}}}")}
        # The maximum weight may have been in force so late, or so briefly, that no event began in that time.
        assert 1 < max(weights) <= greatest and weights <= {2**step for step in range(9)}, (weights, greatest)
    reads, writes = (a + b for a, b in zip(first, second, strict=True))
    for table, own in (("syscall", "op in ('pread64', 'pwrite64')"), ("block", "class = 'data'")):
        for op, happened in (("read", reads), ("write", writes)):
            rows, estimate, bytes_done = capture.one(f"""
                select count(*), sum(weight), sum(weight * {'ret' if table == 'syscall' else 'bytes'}) from {{{table}}}
                where {own} and op like 'p{op}%' or {own} and op = '{op}' and comm = 'fio'""")
            assert rows < 0.8 * happened, (table, op)
            error = standard_error(capture, f"{{{table}}} where {own} and (op like 'p{op}%' or op = '{op}' and comm = 'fio')", "1")
            assert abs(estimate - happened) < max(0.1 * happened, 6 * error) and 2 * error < happened, (table, op, estimate, happened, error)
            assert bytes_done == 4096 * estimate

    # The analyzer's results equal the weighted sums, and are marked as estimates.
    out = tmp_path / "results"
    done = analyze("summary", capture.directory, "--out", out)
    assert done.returncode == 0 and "are estimates" in done.stdout + done.stderr, done.stdout + done.stderr
    row = next(row for row in csv.DictReader((out / "summary.csv").open()) if row["system"] == "fio")
    for direction in ("read", "write"):
        expected = capture.one(f"select sum(weight), sum(weight * bytes) from {{block}} where op = '{direction}' and comm = 'fio'")
        assert (int(row[f"block_{direction}_ops"]), int(row[f"block_{direction}_bytes"])) == expected
        assert row[f"{direction}_amp_bytes_low"] == row[f"{direction}_amp_bytes_high"] == ""
    latency = next(
        row for row in csv.DictReader((out / "latency.csv").open())
        if (row["system"], row["layer"], row["op"], row["phase"]) == ("fio", "block", "write", "total")
    )
    happened = "{block} where op = 'write' and comm = 'fio' and dur_ns is not null"
    assert (int(latency["count"]), int(latency["recorded"])) == capture.one(f"select sum(weight), count(*) from {happened}")
    assert "sampled" in latency["marks"].split()
    ranked = f"(select dur_ns, sum(weight) over (order by dur_ns) as until, sum(weight) over () as total from {happened})"
    for column, share in (("p50_ns", 0.5), ("p99_ns", 0.99)):
        exact = capture.one(f"select min(dur_ns) from {ranked} where until >= {share} * total")[0]
        assert abs(int(latency[column]) - exact) <= exact / 500, (column, latency[column], exact)


def test_within_the_limit_everything_is_recorded(disk, record):
    recorder = record("--device", disk.name, "--layers", "block", "--cpu-limit", "90%")
    fio(disk, "--ioengine=psync", "--rate_iops=200", seconds=3)
    capture = recorder.stop()
    assert capture.manifest["sampling"] == {"cpu_limit_percent": 90.0, "greatest_weight": 1, "sampled_ms": 0}
    assert capture.one("select min(weight), max(weight) from {block}") == (1, 1)
    capture.check_books()
    capture.check_device(disk.name)


@pytest.mark.moments
def test_all_is_recorded_again_when_there_is_room(fast_disk, record):  # noqa: F811
    """Everything is recorded again when the load ends: later requests are not counted as requests without a captured start, and the event accounting
    is consistent."""
    recorder = record("--device", fast_disk.name, "--layers", "block", "--cpu-limit", "4")
    fio(fast_disk, "--ioengine=libaio", "--iodepth=32", seconds=4)
    assert recorder.status()["recorded_one_in"] > 1
    # The cost for other disks counts too: on a machine that uses them the cost must fit below the limit.
    recorder.wait_until(lambda health: health["recorded_one_in"] == 1)
    time.sleep(0.2)
    marked = time.time_ns()
    reads, writes = ios(fio(fast_disk, "--ioengine=psync", "--rate_iops=100", seconds=3))
    capture = recorder.stop()
    capture.check_books()
    after = "{block} where comm = 'fio' and ts_ns > %d and weight = 1" % marked
    assert capture.one(f"select count(*) filter (op = 'read'), count(*) filter (op = 'write') from {after} and class = 'data'") == (reads, writes)
    assert capture.one(f"select count(*) from {{block}} where ts_ns > {marked} and weight <> 1") == (0,)
    assert capture.manifest["books"]["incomplete"]["unidentified_requests"] == 0


def counters(disk):
    fields = [int(word) for word in Path(f"/sys/block/{disk.name}/stat").read_text().split()]
    return fields[4], fields[6] * 512


@pytest.mark.moments
def test_merged_and_split_requests_add_up_to_the_devices_counters(fast_disk, record):  # noqa: F811
    """Merged and split requests add up to the device's counters: writes of 1 MiB, which the block layer splits, and small ones that writeback merges."""
    recorder = record("--device", fast_disk.name, "--layers", "block", "--cpu-limit", "0.5")
    fio(fast_disk, "--ioengine=psync", "--rw=write", "--bs=1m", seconds=3)
    assert recorder.status()["recorded_one_in"] > 1
    before, since = counters(fast_disk), time.time_ns()
    fio(fast_disk, "--ioengine=psync", "--rw=write", "--bs=1m", seconds=12)
    fio(fast_disk, "--ioengine=psync", "--rw=write", "--direct=0", "--fdatasync=64", seconds=12)
    after = counters(fast_disk)
    capture = recorder.stop()
    capture.check_books()
    source = f"{{block}} where op in ('write', 'flush') and ts_ns > {since}"
    ops, size, greatest = capture.one(f"select sum(weight), sum(weight * bytes), max(weight) from {source}")
    assert greatest > 1
    for amount, estimate, happened in (("1", ops, after[0] - before[0]), ("bytes", size, after[1] - before[1])):
        error = standard_error(capture, source, amount)
        assert abs(estimate - happened) < 4 * error < 2 * happened, (estimate, happened, error, greatest)
    assert capture.manifest["books"]["incomplete"]["unidentified_requests"] == 0


def test_a_command_under_a_limit_is_recorded_alone_and_waited_for(fast_disk, record):  # noqa: F811
    path = fast_disk.mount / "fio"
    options = ["--size=32M", "--rw=randwrite", "--bs=4k", "--time_based", "--runtime=5", "--fdatasync=32", "--end_fsync=1"]
    # Longer than the test waits.
    recorder = record("--device", fast_disk.name, "--layers", "syscall,block", "--cpu-limit", "0.5", "--wait-writeback", "1h", "--",
                      "fio", "--name=test", f"--filename={path}", *options, wait=False)
    capture = recorder.finish()
    assert "were not written back" not in recorder.text, recorder.text
    capture.check_books()
    assert capture.manifest["sampling"]["greatest_weight"] > 1
    assert capture.one("select count(*) from {block} where class = 'data' and comm is distinct from 'fio'") == (0,)
    calls = capture.one("select sum(weight * ret) from {syscall} where op = 'pwrite64'")[0]
    assert calls > 0 and capture.one("select count(*) from {block} where class = 'data'")[0] > 0
