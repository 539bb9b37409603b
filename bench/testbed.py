# SPDX-License-Identifier: GPL-3.0-or-later
"""Test bed of every variant: ext4 on a loop device with its backing file on a separate tmpfs.

The device is in memory because a real disk would hide the cost of a tracer. The `ExitStack` removes everything in reverse order,
however the benchmark ends.
"""
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

GIB = 1 << 30
FILE_SIZE = "256M"
TRACEFS = Path("/sys/kernel/tracing")


class Load(NamedTuple):
    """I/O count and IOPS of one fio run."""

    ios: int
    iops: float


class Ground(NamedTuple):
    """Mount point and device under test, and a scratch directory for tracers that is not on that device."""

    mounted: Path
    device: str
    dev: int
    scratch: Path


def run(*command, check=True):
    """Runs a command. Returns its standard output; on failure its output is the error message."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def exit_on_signals():
    """Makes SIGTERM and SIGHUP end the process like SIGINT, with all clean-up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def mount_tracefs():
    """Mounts tracefs, which bpftrace and perf need. It stays mounted, as on any other machine."""
    if not (TRACEFS / "events").is_dir():
        run("mount", "-t", "tracefs", "tracefs", TRACEFS)


@contextlib.contextmanager
def sysctl(name, value):
    """Sets a sysctl and restores it."""
    path = Path("/proc/sys", *name.split("."))
    before = path.read_text()
    path.write_text(f"{value}\n")
    try:
        yield
    finally:
        path.write_text(before)


def make(stack, image_bytes=GIB):
    """Creates the file system on a device of `image_bytes` bytes."""
    top = Path(tempfile.mkdtemp(prefix="iostrata-bench."))
    stack.callback(top.rmdir)
    run("mount", "-t", "tmpfs", "-o", "size=75%,mode=700", "iostrata-bench", top)
    stack.callback(run, "umount", top)
    image, mounted, scratch = top / "image", top / "mounted", top / "scratch"
    mounted.mkdir()
    scratch.mkdir()
    with open(image, "wb") as file:
        file.truncate(image_bytes)
    loop = run("losetup", "--find", "--show", image).strip()
    stack.callback(run, "losetup", "-d", loop)
    # Lazy initialization would cause background I/O in the first rounds.
    run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", loop)
    run("mount", "-o", "noatime", loop, mounted)
    stack.callback(run, "umount", mounted)
    number = os.stat(loop).st_rdev
    return Ground(mounted, Path(loop).name, os.major(number) << 20 | os.minor(number), scratch)


def lay_file(ground):
    """Writes the fio file completely, so that no run allocates blocks or converts extents."""
    run("fio", "--name=lay", f"--filename={ground.mounted / 'file'}", f"--size={FILE_SIZE}", "--rw=write", "--bs=1M",
        "--fallocate=none", "--end_fsync=1")


def fio(ground, seconds):
    """Runs random reads and writes once."""
    text = run("fio", "--name=bench", f"--filename={ground.mounted / 'file'}", f"--size={FILE_SIZE}", "--rw=randrw", "--bs=4k",
               "--iodepth=8", "--ioengine=libaio", "--direct=1", "--numjobs=1", "--cpus_allowed=0", "--time_based",
               f"--runtime={seconds}", "--output-format=json")
    job = json.loads(text[text.index("{"):])["jobs"][0]
    return Load(sum(job[way]["total_ios"] for way in ("read", "write")),
                sum(job[way]["iops"] for way in ("read", "write")))
