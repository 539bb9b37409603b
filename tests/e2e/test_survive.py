"""A recorder that is killed: flushed data is present and readable, and no more than a flush interval is lost. The workload writes one block
after the other, so a capture of it can have no gaps, and no other end than the flush interval allows."""

import os
import random
import shutil
import statistics
import subprocess
import sys
import time

import pytest
from conftest import BIN, Capture, Recorder, analyze, run
from survival import check_no_gaps, check_parts

ROUNDS = 200 if os.environ.get("IOSTRATA_SOAK") else 6
# Few enough for one extent of the disk.
BLOCKS = 1024
FLUSH_INTERVAL_S = 0.3
# Delay between a due flush and its end on a busy machine.
SLACK_S = 1.0

WRITE_ON = f"""
import mmap, os, sys
f = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
block = mmap.mmap(-1, 4096)
number = 0
while True:
    os.pwrite(f, block, number % {BLOCKS} << 12)
    number += 1
"""


@pytest.fixture
def writer(disk):
    """A process that writes the blocks of a file in turn, forever."""
    path = disk.mount / "file"
    path.write_bytes(bytes(BLOCKS << 12))
    disk.settle()
    process = subprocess.Popen([sys.executable, "-c", WRITE_ON, path])
    yield process
    process.kill()
    process.wait()


@pytest.mark.moments
def test_whenever_it_is_killed_everything_flushed_is_recovered(disk, writer, tmp_path):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    lost = []
    for number in range(ROUNDS):
        out = tmp_path / f"run{number}"
        recorder = Recorder(
            out, "--device", disk.name, "--flush-interval", f"{FLUSH_INTERVAL_S * 1000:.0f}ms", "--rotate-interval", "700ms"
        )
        began_ns = time.time_ns()
        time.sleep(chance.uniform(0, 3))
        killed_ns = time.time_ns()
        recorder.process.kill()
        recorder.process.communicate()

        # The analyzer alone reads the rows present, and reports the state of the capture.
        before = analyze("summary", out, "--out", tmp_path / "before")
        nothing = "nothing to analyze" in before.stderr
        assert nothing or (before.returncode == 3 and "was interrupted" in before.stderr), before.stderr
        recovered = analyze("recover", out)
        assert recovered.returncode == 0, recovered.stderr
        after = analyze("summary", out, "--out", tmp_path / "after")
        assert nothing == ("nothing to analyze" in after.stderr), after.stderr
        if not nothing:
            assert after.returncode == 3 and "was interrupted and recovered" in after.stderr, after.stderr
            for name in ("summary.csv", "amplification.csv", "latency.csv", "loss.csv"):
                assert (tmp_path / "before" / name).read_bytes() == (tmp_path / "after" / name).read_bytes(), name

        capture = Capture(out)
        check_parts(capture)
        last_ns = max(began_ns, check_no_gaps(capture, BLOCKS, f"pid = {writer.pid}"))
        lost.append((killed_ns - last_ns) / 1e9)
        assert "nothing to recover" in analyze("recover", out).stdout
    # A due flush may be late on a busy machine, but not in general.
    assert statistics.median(lost) < FLUSH_INTERVAL_S + SLACK_S, lost
    print(f"killed {ROUNDS} times: lost {min(lost):.3f} to {max(lost):.3f} s, on average {sum(lost) / len(lost):.3f} s")


def test_a_second_recorder_and_recover_keep_away_from_a_running_one(disk, record, tmp_path):
    recorder = record("--device", disk.name)
    second = run(BIN / "iostrata", "record", "--out", recorder.out, "--duration", "1s")
    assert (second.returncode, second.stderr) == (1, f"iostrata: --out {recorder.out}: another recorder writes to it\n")
    refused = analyze("recover", recorder.out)
    assert refused.returncode == 1
    assert refused.stderr == f"iostrata-analyze: {recorder.out}: is still being recorded; stop the recorder first\n"
    recorder.stop()
    assert "nothing to recover" in analyze("recover", recorder.out).stdout


@pytest.mark.moments
def test_a_running_capture_can_be_looked_at(disk, writer, record, tmp_path):
    """A running capture can be analyzed: flushed rows are in a summary while the recorder continues, undisturbed."""
    recorder = record("--device", disk.name, "--flush-interval", "300ms")
    deadline = time.monotonic() + 180
    looked = None
    while not looked or not (tmp_path / "looked/summary.csv").exists() or "python" not in (tmp_path / "looked/summary.csv").read_text():
        assert time.monotonic() < deadline, looked
        looked = analyze("summary", recorder.out, "--out", tmp_path / "looked")
    assert looked.returncode == 3 and "unfinished part" in looked.stderr, looked.stderr
    capture = recorder.stop(expected=None)
    capture.check_books()
    # A busy machine may lose some, which is reported.
    assert recorder.process.returncode == (3 if capture.lost() else 0), recorder.text


def has_dirtied(directory, path, pid):
    """Returns the bytes that the process has dirtied in the file by the rows of `fs`; None if there are none."""
    capture = Capture(directory)
    if not list(capture.directory.glob("fs/*.parquet")):
        return None
    return capture.one(f"select sum(bytes)::bigint from {{fs}} where op = 'dirty' and pid = {pid} and ino = {path.stat().st_ino}")[0]


@pytest.mark.moments
@pytest.mark.parametrize("interval", ["100ms", "2s"])
def test_what_the_kernel_side_gathers_is_flushed_though_nothing_follows_it(disk, record, actors, tmp_path, interval):
    """Aggregated rows are flushed though no event follows: a record of `fs` stays in the kernel until its slot is needed for something
    else, which never happens here."""
    writer, path = actors(), disk.mount / "file"
    recorder = record("--device", disk.name, "--layers", "fs", "--flush-interval", interval)
    writer.do(f"f = open({str(path)!r}, 'wb'); f.write(b'x' * 65536); f.flush()")

    # As after a kill: a copy of the disk's state at that time.
    copies = 0
    deadline = time.monotonic() + 180
    while True:
        copy = tmp_path / f"copy{copies}"
        try:
            shutil.copytree(recorder.out, copy)
        except shutil.Error:
            # A part was renamed in the meantime.
            shutil.rmtree(copy)
            continue
        recovered = analyze("recover", copy)
        assert recovered.returncode == 0, recovered.stderr
        if has_dirtied(copy, path, writer.pid) == 65536:
            break
        assert time.monotonic() < deadline, "the row is still in the kernel"
        copies += 1
        time.sleep(0.2)
    recorder.process.kill()
    recorder.process.communicate()
    recovered = analyze("recover", recorder.out)
    assert recovered.returncode == 0, recovered.stderr
    assert has_dirtied(recorder.out, path, writer.pid) == 65536
