"""A recorder that is killed: what the analyzer shows of all CPUs ends at one time, up to which it is complete. A process on each CPU writes
numbered records, and logs the return of each write, so that the order of ends is known. The rings of CPUs, and the parts of tables, reach
the disk at different times."""

import json
import mmap
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time

import pytest
from conftest import Capture, analyze, wait_for, whole_until_ns
from test_load import fast_disk  # noqa: F401

ROUNDS = 40 if os.environ.get("IOSTRATA_SOAK") else 4
LOSSES = 40 if os.environ.get("IOSTRATA_SOAK") else 8
# More than are written in a test.
RECORDS = 1 << 21

WRITE_ON = f"""
import mmap, os, struct, sys, time
path, log, cpu = sys.argv[1:]
os.sched_setaffinity(0, [int(cpu)])
f = os.open(path, os.O_RDWR | os.O_CREAT)
with open(log, "r+b") as file:
    done = mmap.mmap(file.fileno(), {RECORDS * 8})
for number in range({RECORDS}):
    os.pwrite(f, b"x", number)
    struct.pack_into("<q", done, 8 * number, time.monotonic_ns())
    time.sleep(0.0001)
"""


class Writer:
    """Writes a file byte by byte, each by a call."""

    def __init__(self, directory, log, cpu):
        self.path, self.log = directory / f"file{cpu}", log
        log.write_bytes(b"")
        os.truncate(log, RECORDS * 8)
        self.process = subprocess.Popen([sys.executable, "-c", WRITE_ON, self.path, log, str(cpu)])

    def done_ns(self):
        """Returns the time at which each write had returned, by the monotonic clock."""
        with open(self.log, "r+b") as file, mmap.mmap(file.fileno(), 0) as log:
            times = struct.unpack(f"<{RECORDS}q", log)
        return times[: times.index(0)]


@pytest.fixture
def writers(disk, tmp_path):
    """A process on each CPU."""
    writers = [Writer(disk.mount, tmp_path / f"log{cpu}", cpu) for cpu in sorted(os.sched_getaffinity(0))]
    yield writers
    for writer in writers:
        writer.process.kill()
        writer.process.wait()


def shown(out, to):
    """Returns, by process, the first and the last number that the analyzer shows, and their count: one file, one byte per call."""
    traced = analyze("trace", out, "--layer", "syscall", "--out", to)
    assert traced.returncode == 3, traced.stderr
    numbers = {}
    for event in json.loads((to / "trace.json").read_text())["traceEvents"]:
        if event["ph"] == "X" and event["name"] == "pwrite64":
            numbers.setdefault(event["pid"], []).append(event["args"]["offset_bytes"])
    return {pid: (min(of), max(of), len(of)) for pid, of in numbers.items()}


@pytest.mark.moments
def test_what_is_shown_of_all_cpus_after_a_kill_ends_at_one_moment(disk, writers, record, tmp_path):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    for number in range(ROUNDS):
        out = tmp_path / f"run{number}"
        recorder = record("--device", disk.name, "--flush-interval", "300ms", "--rotate-interval", "700ms", out=out)
        # Until everything has been flushed at least once, and then at any time.
        deadline = time.monotonic() + 120
        while len(found := shown_or_none(out, tmp_path / "looked")) < len(writers):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        time.sleep(chance.uniform(0, 0.7))
        recorder.process.kill()
        recorder.process.communicate()

        before = shown(out, tmp_path / "before")
        recovered = analyze("recover", out)
        assert recovered.returncode == 0, recovered.stderr
        left_out = re.search(r"excluded: (\d+) rows? that ended after (\S+): ", recovered.stdout)
        assert left_out, recovered.stdout
        after = shown(out, tmp_path / "after")
        assert after == before

        capture = Capture(out)
        until_ns = capture.manifest["whole_until_ns"]
        offset_ns = capture.manifest["clock"]["offset_ns"]
        lost = capture.one("select coalesce(sum(events), 0)::bigint from {loss} where class = 'syscall'")[0]
        for writer in writers:
            done_ns = [ns + offset_ns for ns in writer.done_ns()]
            first, last, count = after[writer.process.pid]
            # There are no gaps but those of lost calls, all writes that had ended by then are shown, and none that ended later: the return of the write after the
            # last one was logged later, and the last one began after the return of its predecessor was logged.
            assert count <= last - first + 1 <= count + lost, (writer.process.pid, first, last, count, lost)
            assert done_ns[last - 1] < until_ns < done_ns[last + 1], (until_ns, done_ns[last - 1 : last + 2])
        # Independently of that time: no process shows a write that is later than one that another process lacks.
        for one in writers:
            for other in writers:
                lacking, last = after[one.process.pid][1] + 1, after[other.process.pid][1]
                assert one.done_ns()[lacking] > other.done_ns()[last - 1], (one.process.pid, other.process.pid)

        # The excluded rows are reported with their number: of the rows in the files, which other readers read.
        over_ns = "coalesce(ts_ns + dur_ns, ts_ns)"
        rows = sum(
            capture.one(f"select count(*) from {{{table}}} where {over_ns} > {until_ns}")[0] for table in ("syscall", "vfs", "fs", "block")
        )
        # Shares of requests are excluded with them.
        rows += capture.one(f"""
            select count(*) from {{share}} of where ts_ns > {until_ns} or exists (
                select 1 from {{block}} where ts_ns = of.ts_ns and dev = of.dev and sector is not distinct from of.sector and {over_ns} > {until_ns})""")[0]
        assert int(left_out[1]) == rows, recovered.stdout
        summary = analyze("summary", out)
        assert f"excluded: {left_out[1]} row" in summary.stdout, summary.stdout
        quality = analyze("quality", out)
        assert re.search(rf"end +note +{left_out[1]} row", quality.stdout), quality.stdout


def shown_or_none(out, to):
    """Returns what is shown of a running recording."""
    looked = analyze("trace", out, "--layer", "syscall", "--out", to)
    return shown(out, to) if looked.returncode == 3 else {}


def test_a_recording_that_came_to_its_end_says_nothing_of_that(disk, writers, record, tmp_path):
    recorder = record("--device", disk.name, "--flush-interval", "300ms")
    recorder.wait_until(lambda health: health["drained_events"] > 1000)
    assert (recorder.out / ".whole").exists()
    capture = recorder.stop()
    assert not (capture.directory / ".whole").exists()
    assert "whole_until_ns" not in capture.manifest
    traced = analyze("trace", capture.directory, "--layer", "syscall", "--out", tmp_path / "trace")
    assert traced.returncode == 0, traced.stderr
    assert "excluded: " not in traced.stdout


def test_what_is_in_finished_parts_is_not_left_out_for_a_long_flush_interval(disk, writers, record):
    """Rows in finished parts are not excluded because of a long flush interval: the completeness time also advances where parts are closed
    more often than they are flushed."""
    recorder = record("--device", disk.name, "--flush-interval", "1h", "--rotate-interval", "500ms")
    done = wait_for(lambda: (told := analyze("summary", recorder.out)).returncode == 3 and "python" in told.stdout and told)
    assert re.search(r"excluded: \d+ rows? that ended after ", done.stdout + done.stderr), done.stdout + done.stderr
    recorder.stop(expected=None)


@pytest.mark.moments
def test_what_was_lost_before_that_moment_is_on_the_disk_too(fast_disk, record, tmp_path):  # noqa: F811
    """Losses before the completeness time are on the disk too: a recorder that was stopped for a moment loses requests, and is killed as
    soon as it states a later completeness time."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    for number in range(LOSSES):
        out = tmp_path / f"run{number}"
        recorder = record("--device", fast_disk.name, "--layers", "block", "--ring-size", "64KiB", "--flush-interval", "200ms", out=out)
        before = fast_disk.stat()
        # Losses are also checked once a second: now and then just before.
        time.sleep(chance.uniform(0, 1))
        recorder.process.send_signal(signal.SIGSTOP)
        subprocess.run(["dd", f"if=/dev/{fast_disk.name}", "of=/dev/null", "iflag=direct", "bs=4k", "count=2000", "status=none"], check=True)
        over_ns = time.time_ns()
        recorder.process.send_signal(signal.SIGCONT)
        wait_for(lambda out=out, since=over_ns: whole_until_ns(out) > since, "the moment")
        recorder.process.kill()
        recorder.process.communicate()
        after = fast_disk.stat()
        recovered = analyze("recover", out)
        assert recovered.returncode == 0, recovered.stderr
        capture = Capture(out)
        assert capture.manifest["whole_until_ns"] > over_ns
        happened = sum(after[key] - before[key] for key in ("read_ops", "write_ops"))
        rows = capture.one("select count(*) from {block} where op in ('read', 'write', 'flush')")[0]
        [lost] = capture.one("select coalesce(sum(events), 0) from {loss} where class = 'block' and cause = 'ring_full'")
        assert rows < happened and rows + lost == happened, (rows, lost, happened)
