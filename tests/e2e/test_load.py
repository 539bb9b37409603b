"""Under load nothing is lost, or it is counted to the event; memory stays bounded; finished parts stay readable."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import pandas
import pyarrow.parquet
import pytest
from conftest import Capture, Disk, analyze, process_io, require, wait_for
from proc import children_of, threads_in
from test_identity import compiled

MIB = 1 << 20
SECOND_NS = 1_000_000_000
STORM_SECONDS = 60 if os.environ.get("IOSTRATA_SOAK") else 5


@pytest.fixture
def fast_disk(recordable, tmp_path):
    """A disk in memory with the maximum IOPS of this machine."""
    memory = Path("/dev/shm") / f"iostrata-{os.getpid()}"
    memory.mkdir()
    disk = Disk(tmp_path, backing=memory)
    yield disk
    disk.close()
    disk.image.unlink()
    memory.rmdir()


def fio(disk, *options, seconds=3):
    """Runs 4 KiB random reads and writes, and returns fio's report."""
    command = [
        require("fio"), "--name=test", f"--filename={disk.mount}/fio", "--size=64M", "--rw=randrw", "--bs=4k",
        "--direct=1", "--time_based", f"--runtime={seconds}", "--output-format=json", *options,
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ios(output):
    job = json.loads(output)["jobs"][0]
    return job["read"]["total_ios"], job["write"]["total_ios"]


@pytest.mark.moments
def test_fio_and_the_capture_agree_on_every_operation(fast_disk, record):
    """fio and the capture agree on every operation: with psync and eight jobs, every operation of fio is a row at both layers, or is
    counted as lost."""
    fio(fast_disk, "--ioengine=psync", "--runtime=1")
    recorder = record("--device", fast_disk.name)
    output = fio(fast_disk, "--ioengine=psync", "--numjobs=8", "--group_reporting")
    rss = recorder.peak_rss_bytes()
    recorder.process.send_signal(signal.SIGTERM)
    recorder.text = recorder.process.communicate(timeout=60)[1]
    capture = Capture(recorder.out)
    capture.check_books()
    assert rss < 128 * MIB, f"{rss / MIB:.0f} MiB"
    reads, writes = ios(output)
    lost = capture.lost()
    assert (recorder.process.returncode == 0) == (lost == 0)
    if lost == 0:
        capture.check_device(fast_disk.name, busy=True)
        # Two neighbours may be merged into one request.
        for table, op, count in (("syscall", "('pread64', 'pwrite64')", "count(*)"), ("block", "('read', 'write')", "sum(bios)")):
            rows = dict(capture.sql(f"select op, {count} from {{{table}}} where comm = 'fio' and op in {op} group by op"))
            assert sorted(rows.values()) == sorted((reads, writes)), table
    print(f"{reads + writes} operations, {lost} events lost, {rss / MIB:.0f} MiB")


@pytest.mark.moments
def test_a_device_that_is_busy_at_both_ends_has_books_all_the_same(fast_disk, tmp_path, record):
    """A device that is busy at both ends is still checked against its counters: the recording begins and ends during the load, and rows lie
    between the inner and the outer readings."""
    command = ["fio", "--name=test", f"--filename={fast_disk.mount}/fio", "--size=64M", "--rw=randrw", "--bs=4k",
               "--direct=1", "--ioengine=psync", "--numjobs=4", "--time_based", "--runtime=60"]
    require("fio")
    with open(tmp_path / "fio.txt", "w") as output:
        load = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        while fast_disk.stat()["write_ops"] < 10_000:
            assert load.poll() is None, (tmp_path / "fio.txt").read_text()
            time.sleep(0.05)
        recorder = record("--device", fast_disk.name, "--layers", "block")
        time.sleep(1)
        capture = recorder.stop(expected=None)
    finally:
        load.terminate()
        load.wait()
    capture.check_books()
    # Requests that ended without a captured end at the stop have a row.
    assert capture.lost() == 0 and recorder.process.returncode == 0, recorder.text
    book = capture.check_device(fast_disk.name, busy=True)
    assert book["edges"]["read_ops"] > 0 and book["rows"]["read_ops"] > 1000, book


@pytest.mark.moments
def test_what_the_rings_cannot_hold_is_counted_to_the_event(fast_disk, record):
    """Events that do not fit into the rings are counted exactly: with minimum ring size and a recorder that is stopped for a while, the
    losses equal the kernel's count."""
    recorder = record("--device", fast_disk.name, "--layers", "block", "--ring-size", "64KiB")
    before = fast_disk.stat()
    stopped_ns = time.time_ns()
    recorder.process.send_signal(signal.SIGSTOP)
    fio(fast_disk, "--ioengine=psync", seconds=1)
    woken_ns = time.time_ns()
    recorder.process.send_signal(signal.SIGCONT)
    time.sleep(0.3)
    after = fast_disk.stat()
    capture = recorder.stop(expected=3)
    capture.check_books()
    accounts = [account for account in capture.manifest["books"]["accounts"] if account["class"] == "block"]
    causes = {cause: sum(account["lost"][cause] for account in accounts) for cause in accounts[0]["lost"]}
    assert causes.pop("ring_full") > 0
    assert not any(causes.values()), causes
    # Lost requests, with their bytes, and rows add up to the kernel's counters.
    lost = {key: sum(account["lost_io"][key] for account in accounts) for key in accounts[0]["lost_io"]}
    book = next(book for book in capture.manifest["device_books"] if book["device"] == fast_disk.name)
    assert not book["balanced"]
    for key in ("read_ops", "read_bytes", "write_ops", "write_bytes"):
        assert book["rows"][key] + lost[key] == book["kernel"][key] == after[key] - before[key], key
    assert "INCONSISTENT" in recorder.text

    # The analyzer shows the time of the losses, while the recorder was stopped. They explain the excess of the device's counters, so no
    # more is missing.
    results = recorder.out.parent / "results"
    summary = analyze("summary", recorder.out, "--out", results)
    assert summary.returncode == 3, summary.stderr
    with open(results / "loss.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    told = {}
    for row in rows:
        told[row["table"], row["cause"]] = told.get((row["table"], row["cause"]), 0) + int(row["lost_events"])
    assert told == capture.lost_events()
    timed = [row for row in rows if row["cause"] == "ring_full"]
    assert timed and all(row["since_ns"] and stopped_ns - 2 * SECOND_NS < int(row["until_ns"]) for row in timed), rows
    assert min(int(row["since_ns"]) for row in timed) < woken_ns, rows
    with open(results / "latency.csv", newline="") as file:
        of_block = [row for row in csv.DictReader(file) if row["layer"] == "block" and row["p99_ns"]]
    lost_block = sum(events for (table, _), events in capture.lost_events().items() if table == "block")
    assert of_block and {int(row["lost_events"]) for row in of_block} == {lost_block}
    for row in of_block:
        missing = lost_block + int(row["untimed"])
        heavy = missing * 100 > missing + int(row["count"])
        assert ("p99?" in row["marks"].split()) == (row["p99_high_ns"] == "") == heavy, row
    if not {table for table, _ in capture.lost_events()} & {"process"}:
        assert not any("at_least" in row["marks"] for row in of_block), of_block


def test_what_comes_seldom_is_not_lost_with_what_comes_often(disk, record):
    """Rare events are not lost together with frequent ones: a stopped recorder has far more calls than the rings hold, and in addition some
    requests, processes and files."""
    often = disk.mount / "often"
    often.write_bytes(b"x")
    storm = f"import os\nfile = os.open('{often}', os.O_RDONLY)\nfor _ in range(200_000): os.pread(file, 1, 0)"
    seldom = [f"dd if=/dev/zero of={disk.mount}/seldom{number} bs=4k count=1 oflag=direct status=none" for number in range(20)]
    disk.settle()
    recorder = record("--device", disk.name, "--ring-size", "1MiB")
    try:
        recorder.process.send_signal(signal.SIGSTOP)
        subprocess.run(["sh", "-c", "\n".join(seldom[:10])], check=True)
        subprocess.run([sys.executable, "-c", storm], check=True)
        subprocess.run(["sh", "-c", "\n".join(seldom[10:])], check=True)
    finally:
        recorder.process.send_signal(signal.SIGCONT)
    capture = recorder.stop(expected=3)
    capture.check_books()
    capture.check_device(disk.name, busy=True)
    lost = capture.lost_events()
    assert lost["syscall", "ring_full"] > 100_000 and not {table for table, _ in lost} - {"syscall", "vfs", "fs"}, lost
    assert capture.one("select count(*) from {block} where comm = 'dd' and class = 'data' and op = 'write'") == (20,)
    assert capture.one("select count(*) from {process} where comm = 'dd'") == (20,)
    assert capture.one("select count(*) from {file} where path like '%/seldom%'") == (20,)


@pytest.mark.moments
@pytest.mark.parametrize("options", [(), ("--ring-size", "256KiB")], ids=["default", "small-rings"])
def test_a_storm_of_calls_costs_nothing_of_what_is_seldom(disk, record, tmp_path, options):
    """A storm of calls causes no loss of rare events: as many calls as two CPUs can make, for STORM_SECONDS, and in addition programs that
    start, create a file and write to the disk."""
    often, program = disk.mount / "often", compiled("storm", tmp_path)
    often.write_bytes(b"x")
    disk.settle()
    recorder = record("--device", disk.name, *options)
    storm = subprocess.Popen([program, often], start_new_session=True)
    seldom, began = 0, time.monotonic()
    try:
        while time.monotonic() < began + STORM_SECONDS:
            file = disk.mount / f"seldom{seldom}"
            subprocess.run(["dd", "if=/dev/zero", f"of={file}", "bs=4k", "count=1", "oflag=direct", "status=none"], check=True)
            seldom += 1
        os.killpg(storm.pid, signal.SIGSTOP)
        members = {storm.pid} | children_of(storm.pid)
        wait_for(lambda: all(threads_in(member, "T") for member in members))
        storm_read = sum(process_io(member)["rchar"] for member in members)
    finally:
        os.killpg(storm.pid, signal.SIGKILL)
        storm.wait()
    peak = recorder.peak_rss_bytes()
    capture = recorder.stop(expected=None)
    capture.check_books()
    capture.check_device(disk.name, busy=True)
    lost, seen, lost_read = capture.lost_events(), Counter(), 0
    for account in capture.manifest["books"]["accounts"]:
        seen[account["class"]] += account["seen"]
        lost_read += account["lost_io"]["read_bytes"] if account["class"] == "syscall" else 0
    print(f"{STORM_SECONDS} s beside {seldom} programs: seen {dict(seen)}, lost {lost}, peak RSS {peak / MIB:.1f} MiB")
    assert peak <= 64 * MIB
    assert len(members) == 2 and seen["syscall"] > 10_000 * STORM_SECONDS
    assert not {table for table, _ in lost} - {"syscall", "vfs", "fs"}, lost
    assert recorder.process.returncode == (3 if lost else 0), recorder.text
    assert capture.one("select count(*) from {block} where comm = 'dd' and class = 'data' and op = 'write'") == (seldom,)
    assert capture.one(f"select count(distinct (pid, start_ns)) from {{process}} where cmdline like '% of={disk.mount}/seldom%'") == (seldom,)
    assert capture.one("select count(*) from {file} where path like '%/seldom%'") == (seldom,)
    # The lost bytes of calls are known exactly. The kernel also counts the loader's reads of a library elsewhere.
    rows_read = capture.one("select sum(ret)::bigint from {syscall} where comm = 'storm' and op = 'pread64'")[0]
    assert 0 <= storm_read - rows_read - lost_read < 4096, (storm_read, rows_read, lost_read)


def test_finished_parts_stay_readable_after_kill_9(fast_disk, record):
    recorder = record("--device", fast_disk.name, "--rotate-interval", "500ms")
    for _ in range(20):
        fio(fast_disk, "--ioengine=psync", seconds=1)
        if len(list(recorder.out.glob("block/part-*.parquet"))) >= 2:
            break
    recorder.process.kill()
    recorder.process.wait()
    parts = sorted(recorder.out.glob("block/part-*.parquet"))
    assert len(parts) >= 2
    manifest = Capture(recorder.out).manifest
    assert manifest["state"] == "recording"
    listed = sum(part["rows"] for part in manifest["parts"] if part["table"] == "block")
    assert listed > 0
    counted = duckdb.sql(f"select count(*) from '{recorder.out}/block/*.parquet'").fetchall()[0][0]
    assert counted >= listed
    assert sum(len(pandas.read_parquet(part)) for part in parts) == counted
    assert sum(pyarrow.parquet.read_metadata(part).num_rows for part in parts) == counted


def test_parts_rotate_by_size(fast_disk, record):
    recorder = record("--device", fast_disk.name, "--layers", "block", "--rotate-size", "64KiB")
    while len(list(recorder.out.glob("block/part-*.parquet"))) < 3:
        fio(fast_disk, "--ioengine=psync", seconds=3)
    capture = recorder.stop(expected=None)
    sizes = [part["bytes"] for part in capture.manifest["parts"] if part["table"] == "block"]
    assert len(sizes) > 2
    assert max(sizes) < 512 * 1024
    capture.check_books()
