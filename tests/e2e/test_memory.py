"""Memory of the recorder: while the disk of the capture stalls, and for names."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from conftest import TABLES, Disk, analyze, lost_so_far, require, wait_for
from proc import descriptors
from pyarrow import parquet
from survival import check_parts
from test_identity import compiled

SECONDS = 60 if os.environ.get("IOSTRATA_SOAK") else 8
MIB = 1 << 20


class Load:
    """200,000 reads and writes per second, unless another rate is given, of a file in memory, without disk I/O, until stopped."""

    # Name of this test's copy of fio: tests that run at the same time may have others.
    NAME = f"fio-{os.getpid()}"

    def __init__(self, rate=("--rate_iops=50k,50k",)):
        self.file = Path("/dev/shm") / f"iostrata-test-{os.getpid()}"
        self.file.write_bytes(bytes(16 * MIB))
        self.programs = tempfile.TemporaryDirectory()
        program = shutil.copy(require("fio"), Path(self.programs.name) / self.NAME)
        command = [program, "--name=load", f"--filename={self.file}", "--size=16M", "--rw=randrw", "--bs=4k", "--ioengine=psync",
                   "--numjobs=2", *rate, "--time_based", "--runtime=2h", "--group_reporting", "--output-format=json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def stop(self):
        """Stops fio and returns its own count of reads and writes."""
        self.process.send_signal(signal.SIGINT)
        output = self.process.communicate(timeout=60)[0]
        job = json.loads(output[output.index("{"):])["jobs"][0]
        return job["read"]["total_ios"] + job["write"]["total_ios"]

    def close(self):
        # Stopped by fio itself, not killed: its jobs are separate processes.
        if self.process.poll() is None:
            self.stop()
        self.file.unlink(missing_ok=True)
        self.programs.cleanup()


@pytest.fixture
def stalling(recordable, tmp_path):
    """A disk that stalls while the one below it is frozen, and the one below."""
    disks = []
    for name in ("below", "above"):
        (tmp_path / name).mkdir()
        disks.append(Disk(tmp_path / name, backing=disks[0].mount if disks else None, mebibytes=1024 - 256 * len(disks)))
    below, above = disks
    yield above, below
    subprocess.run(["fsfreeze", "--unfreeze", below.mount], check=False, capture_output=True)
    above.close()
    below.close()


def watch_rss(recorder, peaks, over):
    while not over.wait(0.1):
        status = Path(f"/proc/{recorder.process.pid}/status").read_text()
        peaks.append(int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024)


@pytest.mark.moments
def test_a_disk_that_stands_still_costs_counted_events_and_no_memory(stalling, record):
    above, below = stalling
    recorder = record("--comm", Load.NAME, out=above.mount / "run")
    load = Load()
    rss, over = [], threading.Event()
    watcher = threading.Thread(target=watch_rss, args=(recorder, rss, over))
    watcher.start()

    def seen(health):
        return next((account["seen"] for account in health["classes"] if account["class"] == "syscall"), 0)

    def thrown_away(health):
        return lost_so_far(health, "syscall").get("channel_full", 0)

    def kept(health):
        return seen(health) - sum(lost_so_far(health, "syscall").values())

    try:
        recorder.wait_until(lambda health: kept(health) > 300_000)
        subprocess.run(["fsfreeze", "--freeze", below.mount], check=True)
        stalled_ns = time.time_ns()
        # The drain continues while nothing is written: it repeatedly drops what it has no room for.
        full = recorder.wait_until(lambda health: thrown_away(health) > 200_000)
        time.sleep(SECONDS)
        recorder.wait_until(lambda health: thrown_away(health) > thrown_away(full) + 200_000)
        subprocess.run(["fsfreeze", "--unfreeze", below.mount], check=True)
        resumed_ns = time.time_ns()
        again = recorder.wait_until(lambda health: health["writer_silent_ms"] < 1000)
        recorder.wait_until(lambda health: kept(health) > kept(again) + 500_000)
        ios = load.stop()
    finally:
        over.set()
        watcher.join()
        load.close()
    peak = recorder.peak_rss_bytes()
    capture = recorder.stop(expected=3)
    accounts = [account for account in capture.manifest["books"]["accounts"] if account["class"] == "syscall"]
    total = sum(account["seen"] for account in accounts)
    lost = capture.lost_events()
    print(f"{SECONDS} s and more without a disk: {total} calls seen, {ios} by fio's own count, lost {lost}; peak RSS {peak / MIB:.1f} MiB")
    # The kernel counts per CPU and sums up now and then, so the reported peak may be slightly below an earlier value.
    assert 0 < max(*rss, peak) <= 64 * MIB, f"{max(rss) / MIB:.1f} MiB, {peak / MIB:.1f} MiB"
    # The events seen are fio's own count and its other I/O: files, its configuration.
    assert 0 <= total - ios < 1000
    capture.check_books()
    # Rare events, which every ratio needs, are not lost together with calls.
    assert not {table for table, _ in lost} - {"syscall", "vfs", "fs"}, lost
    # Rows and losses by time: there are rows from before and after, and losses in between.
    assert capture.one(f"select count(*) > 100000 from {{syscall}} where ts_ns < {stalled_ns}") == (True,)
    assert capture.one(f"select count(*) > 100000 from {{syscall}} where ts_ns > {resumed_ns}") == (True,)
    between = f"ts_ns > {stalled_ns} and since_ns < {resumed_ns}"
    assert capture.one(f"select sum(events) > 200000 from {{loss}} where cause = 'channel_full' and {between}") == (True,)


NAMES = 1_000_000 if os.environ.get("IOSTRATA_SOAK") else 100_000


@pytest.fixture
def in_memory():
    """A directory of files in memory, for a maximum rate of names."""
    directory = Path("/dev/shm") / f"iostrata-test-names-{os.getpid()}"
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


@pytest.mark.moments
@pytest.mark.parametrize("name_bytes, byte, directory_bytes", [(16, ord("n"), 0), (255, ord("n"), 200), (255, 0xFF, 200)],
                         ids=["short", "long", "not-utf-8"])
def test_a_name_in_every_row_costs_no_more_memory(record, in_memory, tmp_path, name_bytes, byte, directory_bytes):
    """New names in every row cost no more memory: the thread name and the file name of each row are unique. Bytes that are not UTF-8 make a path
    three times as long in a capture."""
    program = compiled("many_names", tmp_path)
    directory = in_memory / ("d" * directory_bytes)
    directory.mkdir(exist_ok=True)
    done, go = tmp_path / "done", tmp_path / "go"
    script = f"{program} {NAMES} {directory} {name_bytes} {byte}; echo $? > {done}; while [ ! -e {go} ]; do sleep 0.05; done"
    recorder = record("--wait-writeback", "0s", "--", "sh", "-c", script)
    try:
        wait_for(lambda: done.exists() and done.read_text(), "the program's end", patience_s=600)
        peak = recorder.peak_rss_bytes()
    finally:
        go.touch()
    capture = recorder.finish(expected=None)
    assert done.read_text() == "0\n" and recorder.process.returncode in (0, 3)
    capture.check_books()
    seen = sum(account["seen"] for account in capture.manifest["books"]["accounts"] if account["class"] == "file")
    names, longest = capture.one("select count(distinct path), max(length(path)) from {file}")
    print(f"{seen} names, {names} of them recorded, the longest of {longest} characters; peak RSS {peak / MIB:.1f} MiB")
    assert seen >= NAMES and names > NAMES / 10 and longest >= name_bytes + directory_bytes
    assert capture.one("select count(distinct comm) > 1000 from {syscall}") == (True,)
    assert 0 < peak <= 64 * MIB, f"{peak / MIB:.1f} MiB"


# Rows of every table that the kernel side fills: a new file, pages of two processes in one request, a new process.
IN_EVERY_TABLE = """
import os, sys
number = 0
while True:
    number += 1
    path = f"{sys.argv[1]}/{number}"
    f = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(f, bytes(4096), 0)
    child = os.fork()
    if child == 0:
        os.pwrite(f, bytes(4096), 4096)
        os._exit(0)
    os.waitpid(child, 0)
    os.fsync(f)
    os.close(f)
    os.unlink(path)
"""
# Layers of the tables, if captured.
FILLED = {"syscall": "syscall", "vfs": "vfs", "fs": "fs", "block": "block", "share": "block", "process": "syscall", "file": "syscall"}
# Row groups of each of these tables until the peak is checked. When a part kept them in memory, 12 KB each, it exceeded LITTLE MiB earlier.
GROUPS = 4_000 if os.environ.get("IOSTRATA_SOAK") else 150
# Maximum of a part (`MOST_GROUPS`): a part with this number is closed.
MOST_GROUPS = 1_024
# The minimum that is accepted.
LITTLE = 43


def groups_in_log(log):
    """Returns the number of row groups of a part that is being written: its log has a record for each, and one before them."""
    data, at, records = log.read_bytes(), 16, 0
    while len(data) >= at + 4 and (end := at + 8 + int.from_bytes(data[at:at + 4], "little")) <= len(data):
        at, records = end, records + 1
    return max(0, records - 1)


def groups_of(directory, table):
    """Returns the number of row groups by part of a table, that of the open part last."""
    finished = [parquet.ParquetFile(part).metadata.num_row_groups for part in sorted(directory.glob(f"{table}/*.parquet"))]
    for log in directory.glob(f"{table}/.*.groups"):
        with contextlib.suppress(FileNotFoundError):
            finished.append(groups_in_log(log))
    return finished


@pytest.mark.moments
def test_row_groups_cost_no_memory_however_short_the_flush_interval_and_long_the_rotation(disk, record, tmp_path):
    recorder = record("--device", disk.name, "--flush-interval", "100ms", "--rotate-interval", "3650days", "--rotate-size", "1TiB",
                      "--memory", f"{LITTLE}MiB")
    layers = json.loads((recorder.out / "manifest.json").read_text())["layers"]
    filled = [table for table, layer in FILLED.items() if layers[layer]["captured"]]
    assert {"syscall", "fs", "block"} <= set(filled), layers
    work = subprocess.Popen([sys.executable, "-c", IN_EVERY_TABLE, disk.mount])
    began = time.monotonic()
    try:
        wait_for(lambda: all(sum(groups_of(recorder.out, table)) >= GROUPS for table in filled), f"{GROUPS} row groups", patience_s=300 + 2 * GROUPS)
        peak = recorder.peak_rss_bytes()
    finally:
        work.kill()
        work.wait()
    took = time.monotonic() - began
    capture = recorder.stop(expected=None)
    assert recorder.process.returncode in (0, 3), recorder.text
    capture.check_books()
    check_parts(capture)
    groups = {table: groups_of(capture.directory, table) for table in TABLES}
    print(f"{took:.0f} s: row groups by part {groups}; peak RSS {peak / MIB:.1f} MiB")
    assert all(sum(groups[table]) >= GROUPS for table in filled) and max(max(parts) for parts in groups.values()) <= MOST_GROUPS
    # A part that is closed early is full.
    assert all(part == MOST_GROUPS for parts in groups.values() for part in parts[:-1])
    assert 0 < peak <= LITTLE * MIB, f"{peak / MIB:.1f} MiB"
    summary = analyze("summary", capture.directory, "--out", tmp_path / "results")
    assert summary.returncode == recorder.process.returncode, summary.stderr


@pytest.mark.moments
def test_maps_of_the_kernel_side_take_what_is_said_of_them(record):
    """BPF maps take the documented amount of memory, which belongs to no process. Maps of owners scale with the machine's memory, within bounds; the
    others have fixed sizes."""
    recorder = record()
    locked = {open_file["map_id"]: int(open_file["memlock"]) for open_file in descriptors(recorder.process.pid) if "map_id" in open_file}
    recorder.stop(expected=None)
    memory = int(re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[1]) * 1024
    taken = sum(locked.values())
    print(f"{len(locked)} maps, {taken / MIB:.1f} MiB of {memory / MIB:.0f}")
    assert len(locked) > 30 and taken < 60 * MIB + min(max(0.0035 * memory, 20 * MIB), 500 * MIB)
