"""Filters record what they name, and nothing else."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Disk

WRITE = "dd if=/dev/zero of={path} bs=4k count={count} oflag=direct status=none"


def write(path, count):
    subprocess.run(WRITE.format(path=path, count=count).split(), check=True)


def writes(capture, table="syscall"):
    return capture.one(f"select count(*), count(distinct pid) from {{{table}}} where op = 'write' and comm = 'dd'")


def test_a_command_and_its_children_and_nobody_else(disk, record):
    """A command's grandchildren are recorded, a process beside it that writes to the same disk is not."""
    beside = subprocess.Popen(["sh", "-c", f"while :; do {WRITE.format(path=disk.mount / 'beside', count=1)}; done"])
    try:
        script = f"{WRITE.format(path=disk.mount / 'a', count=3)}; sh -c '{WRITE.format(path=disk.mount / 'b', count=4)}; :'"
        capture = record("--", "sh", "-c", script).finish()
    finally:
        beside.kill()
        beside.wait()
        subprocess.run(["pkill", "-P", str(beside.pid)], check=False)
    assert writes(capture) == (7, 2)
    assert writes(capture, "block") == (7, 2)
    assert capture.manifest["stop_reason"] == "the command ended"
    assert capture.manifest["device_books"] == []
    capture.check_books()


def test_the_commands_exit_code_is_passed_on(record):
    record("--", "sh", "-c", "exit 7").finish(expected=7)
    record("--", "/no/such/program").finish(expected=127)


def test_a_process_and_its_later_children(disk, record):
    shell = subprocess.Popen(["sh"], stdin=subprocess.PIPE, text=True)
    recorder = record("--pid", shell.pid)
    shell.communicate(f"{WRITE.format(path=disk.mount / 'a', count=5)}\n{WRITE.format(path=disk.mount / 'b', count=6)}\n")
    write(disk.mount / "other", 9)
    assert writes(recorder.stop()) == (11, 2)


def test_a_command_name(disk, record):
    recorder = record("--comm", "dd", "--device", disk.name)
    write(disk.mount / "a", 5)
    Path(disk.mount / "b").write_text("not by dd")
    subprocess.run(["sync", "-f", disk.mount], check=True)
    capture = recorder.stop()
    owned = "select distinct comm from {block} where pid is not null"
    assert capture.sql(f"select distinct comm from {{syscall}} union {owned}") == [("dd",)]
    # Unowned requests are part of the total.
    assert capture.one("select count(*) from {block} where class = 'journal'")[0] > 0
    assert writes(capture, "block")[0] == 5


@pytest.mark.moments
def test_a_cgroup_and_those_made_below_it_later(disk, record):
    mount = subprocess.run(["findmnt", "-nt", "cgroup2", "-o", "TARGET"], capture_output=True, text=True).stdout.split()
    if not mount:
        pytest.skip("cgroup v2 is not mounted here")
    cgroup = Path(mount[0]) / f"iostrata-test-{os.getpid()}"
    cgroup.mkdir()
    try:
        recorder = record("--cgroup", f"/{cgroup.name}")
        (cgroup / "later").mkdir()

        def write_in(group, path, count):
            join = f"echo $$ > {group}/cgroup.procs; exec {WRITE.format(path=path, count=count)}"
            subprocess.run(["sh", "-c", join], check=True)

        write_in(cgroup, disk.mount / "a", 2)
        write_in(cgroup / "later", disk.mount / "b", 3)
        write(disk.mount / "outside", 9)
        capture = recorder.stop()
    finally:
        time.sleep(0.1)
        for group in (cgroup / "later", cgroup):
            if group.exists():
                group.rmdir()
    assert writes(capture) == (5, 2)
    assert writes(capture, "block") == (5, 2)
    paths = capture.sql("select distinct cgroup from {process} where comm = 'dd' order by 1")
    assert paths == [(f"/{cgroup.name}",), (f"/{cgroup.name}/later",)]


def test_a_device_only(disk, record, tmp_path):
    recorder = record("--device", disk.name)
    write(disk.mount / "a", 5)
    (tmp_path / "elsewhere").write_bytes(b"x" * 4096)
    capture = recorder.stop()
    numbers = capture.sql("select distinct dev from {syscall} where dev is not null union select distinct dev from {block}")
    assert numbers == [(disk.number,)]


def test_what_a_worker_writes_back_for_a_command_is_the_commands(disk, record):
    """Pages of the command are attributed to it though a kernel worker, which is not its child, writes them back; another file that was dirty before
    is unattributed."""
    (disk.mount / "other").write_bytes(bytes(1 << 20))
    script = f"dd if=/dev/zero of={disk.mount}/file bs=64k count=16 status=none; sync -f {disk.mount}"
    capture = record("--", "sh", "-c", script).finish()
    rows = capture.sql("""
        select comm, submitter_comm like 'kworker%', sum(owned_bytes) from {block}
        where op = 'write' and class = 'data' and pid is not null group by all""")
    assert rows == [("dd", True, 1 << 20)]
    # The shell has read from the system's disk, so unowned requests are recorded there too, and others write there.
    nobodys = capture.one(f"select sum(bytes) from {{block}} where op = 'write' and class = 'data' and pid is null and dev = {disk.number}")
    assert nobodys == (1 << 20,)


@pytest.fixture
def other_disk(recordable, tmp_path):
    (tmp_path / "other-disk").mkdir()
    other = Disk(tmp_path / "other-disk")
    yield other
    other.close()


# Dirties pages in each way that makes a process their owner: the first of a clean file, beside another process, again when all are clean, by a
# mapping.
DIRTY = """if True:
    f = os.open({path!r}, os.O_RDWR | os.O_CREAT)
    os.write(f, b'x' * 16384)
    os.fsync(f)
    os.write(f, b'x' * 16384)
    m = mmap.mmap(f, 16384)
    m[0:8192] = b'y' * 8192
"""


def test_who_changes_files_of_other_disks_has_no_row(disk, other_disk, record, actors):
    """Only processes that change files of the recorded disk have a row, even without a recorded call."""
    there, beside, elsewhere, shares = (actors() for _ in range(4))
    both = actors()
    recorder = record("--device", disk.name, "--layers", "block")
    paths = [where.mount / name for where in (disk, other_disk) for name in ("file", "both")]
    dirty = {path: f"exec({DIRTY.format(path=str(path))!r})" for path in paths}
    there.do(dirty[disk.mount / "file"])
    beside.do(dirty[disk.mount / "file"])
    elsewhere.do(dirty[other_disk.mount / "file"])
    shares.do(dirty[other_disk.mount / "file"])
    both.do(dirty[other_disk.mount / "both"])
    both.do(dirty[disk.mount / "both"])
    for mount in (disk.mount, other_disk.mount):
        subprocess.run(["sync", "-f", mount], check=True)
    capture = recorder.stop()
    told = {pid for pid, in capture.sql("select distinct pid from {process}")}
    assert {there.pid, beside.pid, both.pid} <= told
    assert not told & {elsewhere.pid, shares.pid}
    # The same for all processes: each one with a row owns something.
    owners = {pid for pid, in capture.sql("select distinct pid from {part} where pid is not null")}
    assert {there.pid, beside.pid, both.pid} <= owners <= told
