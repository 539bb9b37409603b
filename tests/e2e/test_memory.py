"""What the recorder takes of the machine while the disk of the capture stands still."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from conftest import Disk, require

SECONDS = 60 if os.environ.get("IOSTRATA_SOAK") else 8
MIB = 1 << 20


class Load:
    """200,000 reads and writes a second, if no other rate is given, of a file in memory, which the disks have no part in."""

    # Of the copy of fio that makes it: there may be others.
    NAME = "fio-of-a-test"

    def __init__(self, seconds, rate=("--rate_iops=50k,50k",)):
        self.file = Path("/dev/shm") / f"iostrata-test-{os.getpid()}"
        self.file.write_bytes(bytes(16 * MIB))
        self.programs = tempfile.TemporaryDirectory()
        program = shutil.copy(require("fio"), Path(self.programs.name) / self.NAME)
        command = [program, "--name=load", f"--filename={self.file}", "--size=16M", "--rw=randrw", "--bs=4k", "--ioengine=psync",
                   "--numjobs=2", *rate, "--time_based", f"--runtime={seconds}", "--group_reporting", "--output-format=json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def ios(self):
        output = self.process.communicate(timeout=60)[0]
        job = json.loads(output[output.index("{"):])["jobs"][0]
        return job["read"]["total_ios"] + job["write"]["total_ios"]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.file.unlink(missing_ok=True)
        self.programs.cleanup()


@pytest.fixture
def stalling(recordable, tmp_path):
    """A disk that stands still where the one below it is frozen, and that one."""
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


def test_a_disk_that_stands_still_costs_counted_events_and_no_memory(stalling, record):
    above, below = stalling
    recorder = record("--comm", Load.NAME, out=above.mount / "run")
    load = Load(SECONDS + 8)
    rss, over = [], threading.Event()
    watcher = threading.Thread(target=watch_rss, args=(recorder, rss, over))
    watcher.start()
    try:
        time.sleep(3)
        subprocess.run(["fsfreeze", "--freeze", below.mount], check=True)
        stalled_ns = time.time_ns()
        time.sleep(SECONDS)
        subprocess.run(["fsfreeze", "--unfreeze", below.mount], check=True)
        resumed_ns = time.time_ns()
        ios = load.ios()
    finally:
        over.set()
        watcher.join()
        load.close()
    peak = recorder.peak_rss_bytes()
    capture = recorder.stop(expected=3)
    accounts = [account for account in capture.manifest["books"]["accounts"] if account["class"] == "syscall"]
    seen = sum(account["seen"] for account in accounts)
    lost = capture.lost_events()
    print(f"{SECONDS} s without a disk: {seen} calls seen, {ios} by fio's own count, lost {lost}; peak RSS {peak / MIB:.1f} MiB")
    # The kernel counts by CPU and adds up now and then, so that the peak it tells may be a little below what it told before.
    assert 0 < max(*rss, peak) <= 64 * MIB, f"{max(rss) / MIB:.1f} MiB, {peak / MIB:.1f} MiB"
    # What is seen is fio's own count and what it does beside: files, its configuration.
    assert 0 <= seen - ios < 1000
    capture.check_books()
    # The drain went on: what it had no room for it threw away, and the rings did not fill up behind it.
    assert lost["syscall", "channel_full"] > 0.5 * ios * SECONDS / (SECONDS + 8)
    assert lost.get(("syscall", "ring_full"), 0) < 0.01 * seen, lost
    # Rows and losses by time: both ends are whole, the middle is told.
    assert capture.one(f"select count(*) > 100000 from {{syscall}} where ts_ns < {stalled_ns}") == (True,)
    assert capture.one(f"select count(*) > 100000 from {{syscall}} where ts_ns > {resumed_ns} + 1000000000") == (True,)
    assert capture.one(f"select min(ts_ns) > {stalled_ns} and max(since_ns) < {resumed_ns} + 2000000000 from {{loss}}") == (True,)
