"""With an owner filter totals are those of the disk: unowned I/O is recorded, I/O of other owners is excluded and counted."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from conftest import BIN, analyze, run, wait_for

# Appends and syncs: ext4 writes a journal for each, and metadata in the end. Waits for a line first.
APPEND = """
import os, sys
open("/proc/self/comm", "w").write({name!r})
sys.stdin.readline()
with open({file!r}, "ab", buffering=0) as file:
    for _ in range({count}):
        file.write(bytes(5000))
        os.fsync(file.fileno())
"""


class Load:
    """A process that does nothing until it is started."""

    def __init__(self, disk, name, count=40):
        self.bytes = 5000 * count
        code = APPEND.format(name=name, file=str(disk.mount / name), count=count)
        self.process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
        comm = Path(f"/proc/{self.process.pid}/comm")
        wait_for(lambda: comm.read_text() == name + "\n")

    def run(self):
        self.process.communicate("go\n")
        assert self.process.returncode == 0


def at_device(capture, disk, way="write"):
    """Returns the bytes in rows of writes to a disk, or reads of it, and the bytes counted as excluded there."""
    rows = capture.one(f"select coalesce(sum(bytes), 0)::bigint from {{block}} where dev = {disk.number} and op in ('{way}', '{way}_zeroes')")[0]
    [filtered] = [of for of in capture.manifest["filtered"]["disks"] if of["dev"] == disk.number]
    return rows, filtered["others"][f"{way}_bytes"], filtered["before_use"][f"{way}_bytes"]


def cgroup_of_test():
    mount = run("findmnt", "-nt", "cgroup2", "-o", "TARGET").stdout.split()
    if not mount:
        pytest.skip("cgroup v2 is not mounted here")
    cgroup = Path(mount[0]) / f"iostrata-totals-{os.getpid()}"
    cgroup.mkdir()
    return cgroup


@pytest.mark.parametrize("with_device", [True, False], ids=["device", "alone"])
@pytest.mark.parametrize("by", ["command", "pid", "comm", "cgroup"])
def test_the_total_is_what_the_device_counted(by, with_device, disk, record, tmp_path):
    """The total equals the device's counter to the byte, including journal and metadata. Appending 5,000 bytes at a time with syncs writes
    several times as much."""
    name, load, cgroup = f"total-{by}"[:15], None, None
    device = ["--device", disk.name] if with_device else []
    if by == "command":
        code = APPEND.format(name=name, file=str(disk.mount / "file"), count=40).replace("sys.stdin.readline()", "pass")
        application = 5000 * 40
    else:
        load = Load(disk, name)
        application = load.bytes
    disk.settle()
    before = disk.stat()
    if by == "command":
        capture = record(*device, "--", sys.executable, "-c", code).finish()
    else:
        if by == "cgroup":
            cgroup = cgroup_of_test()
            (cgroup / "cgroup.procs").write_text(str(load.process.pid))
        chosen = {"pid": load.process.pid, "comm": name, "cgroup": cgroup and f"/{cgroup.name}"}[by]
        recorder = record(*device, f"--{by}", chosen)
        load.run()
        disk.settle()
        capture = recorder.stop()
    after = disk.stat()
    if cgroup:
        cgroup.rmdir()
    rows, others, before_use = at_device(capture, disk)
    kernel = after["write_bytes"] - before["write_bytes"]
    assert kernel > 2 * application
    assert rows + others + before_use == kernel
    # There was no other writer, except for the `sync` that ended the test.
    assert rows == kernel
    capture.check_books()

    results = tmp_path / "results"
    analyzed = analyze("amplification", capture.directory, "--out", results)
    assert analyzed.returncode == 0, analyzed.stderr
    assert "unattributed I/O is that of " in analyzed.stdout and "filter: " in analyzed.stdout
    [(asked, ratio)] = duckdb.sql(f"""
        select application_bytes, amplification from '{results}/amplification.csv'
        where scope = 'device' and name = '{disk.name}' and direction = 'write'""").fetchall()
    assert asked == application
    assert ratio == pytest.approx(kernel / application)


def test_what_others_write_is_left_out_and_counted(disk, record):
    """Writes of other processes are excluded and counted: a process that is not selected writes its own data, which is in no row; every
    byte of the device is accounted for."""
    selected, other = Load(disk, "selected"), Load(disk, "other", count=200)
    disk.settle()
    before = disk.stat()
    recorder = record("--pid", selected.process.pid)
    selected.process.stdin.write("go\n")
    selected.process.stdin.flush()
    other.run()
    assert selected.process.wait() == 0
    disk.settle()
    capture = recorder.stop()
    after = disk.stat()
    rows, others, before_use = at_device(capture, disk)
    assert rows + others + before_use == after["write_bytes"] - before["write_bytes"]
    assert others >= other.bytes
    [(owners,)] = capture.sql("select list(distinct pid) from {block} where pid is not null")
    assert owners == [selected.process.pid]
    quality = analyze("quality", capture.directory).stdout
    assert f"{others} written by other processes" in quality


def test_a_filter_that_names_nothing_is_told(record, tmp_path):
    recorder = record("--comm", "no-such-name", "--duration", "500ms")
    capture = recorder.finish(expected=3)
    assert "warning: no rows match the filter" in recorder.text
    quality = analyze("quality", capture.directory)
    assert quality.returncode == 1 and quality.stderr.endswith("expected I/O during the recording with --comm no-such-name\n")


def test_a_device_that_stood_still_is_told(disk, record):
    disk.settle()
    recorder = record("--device", disk.name, "--duration", "500ms")
    recorder.finish()
    assert "filter    no rows: the devices were idle, and the kernel counted no I/O on them" in recorder.text


def test_the_launcher_is_not_in_the_commands_capture(record):
    """The launcher is not in the command's capture: the recorder starts a process that becomes the command, and reads during its startup
    are not attributed to the command."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    capture = record("--", "cat", "/etc/hostname").finish()
    assert capture.sql("select distinct comm from {process} where not kernel_thread") == [("cat",)]
    assert capture.sql("select count(*) from {process} where exe like '%/iostrata' or cmdline like '%launch-when-told%'") == [(0,)]
    first = capture.one("select comm from {syscall} order by ts_ns limit 1")
    assert first == ("cat",)
    assert (BIN / "iostrata").exists()
