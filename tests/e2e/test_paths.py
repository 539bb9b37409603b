"""Every I/O path: requests by calls other than read and write, and by asynchronous calls."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import BIN, run

KIB = 1024
MIB = 1024 * KIB

# Copies between files of its own directory, by every call that copies in the kernel; prints the kernel's counters of it.
COPIER = """
import os, sys
os.chdir(sys.argv[1])
source, target = os.open("source", os.O_RDONLY), os.open("target", os.O_RDWR | os.O_CREAT)
pipe_out, pipe_in = os.pipe()
def account():
    lines = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
    return int(lines["rchar"]), int(lines["wchar"])
before = account()
read_by_account = account()[0] - before[0]
before = account()
assert os.sendfile(target, source, 4096, 65536) == 65536
assert os.copy_file_range(source, target, 32768, 8192, 131072) == 32768
copied = [after - then for after, then in zip(account(), before)]
copied[0] -= read_by_account
assert os.splice(source, pipe_in, 16384, offset_src=0) == 16384
assert os.splice(pipe_out, target, 16384, offset_dst=262144) == 16384
os.posix_fallocate(target, 1048576, 4096)
os.ftruncate(target, 12345)
print(*copied)
"""


def rows(capture, *ops):
    return capture.sql(f"""
        select op, offset_bytes, requested_bytes, ret, fd_kind from {{syscall}} where op in {ops!r} order by ts_ns, op""")


def test_copies_between_files_count_on_both_sides(disk, record):
    (disk.mount / "source").write_bytes(b"x" * 256 * KIB)
    disk.settle()
    recorder = record("--device", disk.name)
    copier = subprocess.run([sys.executable, "-c", COPIER, disk.mount], check=True, capture_output=True, text=True)
    capture = recorder.stop()
    copies = rows(
        capture, "sendfile_in", "sendfile_out", "copy_file_range_in", "copy_file_range_out", "splice_in", "splice_out")
    assert copies == [
        ("sendfile_in", 4096, 65536, 65536, "regular"),
        ("sendfile_out", 0, 65536, 65536, "regular"),
        ("copy_file_range_in", 8192, 32768, 32768, "regular"),
        ("copy_file_range_out", 131072, 32768, 32768, "regular"),
        ("splice_in", 0, 16384, 16384, "regular"),
        ("splice_out", 262144, 16384, 16384, "regular"),
    ]
    # The kernel's counters of the process include the first two pairs, but not splice.
    by_account = tuple(int(word) for word in copier.stdout.split())
    copied = "op like 'sendfile_%' or op like 'copy_%'"
    assert by_account == capture.one(
        f"select sum(ret) filter (op like '%_in'), sum(ret) filter (op like '%_out') from {{syscall}} where {copied}")
    assert rows(capture, "fallocate") == [("fallocate", 1048576, 4096, 0, "regular")]
    assert rows(capture, "ftruncate", "none") == [("ftruncate", 12345, None, 0, "regular")]
    capture.check_books()


def test_calls_that_name_no_descriptor_are_recorded_with_their_errors(disk, record):
    script = f"""
import mmap, os
os.chdir({str(disk.mount)!r})
f = open("one", "w+b"); f.write(bytes(8192)); f.flush()
m = mmap.mmap(f.fileno(), 8192); m[0] = 1; m.flush()
os.truncate("one", 100)
os.rename("one", "two")
os.unlink("two")
try:
    os.unlink("two")
except FileNotFoundError:
    pass
"""
    capture = record("--layers", "syscall", "--", sys.executable, "-c", script).finish()
    found = rows(capture, "msync", "truncate", "rename", "unlink")
    assert [(op, ret) for op, _, _, ret, _ in found] == [
        ("msync", 0), ("truncate", 0), ("rename", 0), ("unlink", 0), ("unlink", -2)]


def fio(disk, engine, *options, direct=1):
    """Runs a workload with an engine; returns fio's own count of reads and writes, in operations and bytes."""
    subprocess.run(["fio", "--name=job", f"--filename={disk.mount}/file", "--size=16M", "--rw=write", "--bs=1M"],
                   check=True, capture_output=True)
    command = ["fio", "--name=job", f"--filename={disk.mount}/file", "--size=16M", "--rw=randrw", "--bs=4k-64k",
               "--bs_unaligned=0", "--iodepth=16", f"--ioengine={engine}", f"--direct={direct}", "--norandommap",
               "--number_ios=3000", "--io_size=64M", "--fsync=500", "--output-format=json", *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    job = json.loads(done[done.index("{"):])["jobs"][0]
    return {way: (job[way]["total_ios"], job[way]["io_bytes"]) for way in ("read", "write")}, job["sync"]["total_ios"]


ENGINES = {
    "aio": ("libaio", ()),
    "aio buffered": ("libaio", ("buffered",)),
    "aio in batches": ("libaio", ("--iodepth_batch_submit=16", "--iodepth_batch_complete_min=8")),
    "io_uring": ("io_uring", ()),
    "io_uring buffered": ("io_uring", ("buffered",)),
    "io_uring fixed files and buffers": ("io_uring", ("--fixedbufs=1", "--registerfiles=1")),
    "io_uring vectored": ("io_uring", ("--nonvectored=0",)),
    "io_uring with a polling thread": ("io_uring", ("--sqthread_poll=1", "--registerfiles=1")),
}


@pytest.mark.parametrize("way", ENGINES)
def test_calls_that_do_not_wait_are_recorded_from_submission_to_completion(disk, record, way):
    engine, options = ENGINES[way]
    direct = int("buffered" not in options)
    prefix = "aio" if engine == "libaio" else "io_uring"
    disk.settle()
    recorder = record("--device", disk.name)
    counted, syncs = fio(disk, engine, *(option for option in options if option != "buffered"), direct=direct)
    capture = recorder.stop()
    for direction, (operations, total_bytes) in counted.items():
        found = capture.one(f"""
            select count(*), sum(ret), sum(requested_bytes), count(*) filter (offset_bytes % 4096 = 0), min(dur_ns) > 0,
            count(distinct pid) from {{syscall}} where op = '{prefix}_{direction}'""")
        assert found == (operations, total_bytes, total_bytes, operations, True, 1), direction
    if way == "io_uring":
        # With registered buffers fio counts more syncs than it submits, and for aio it calls fsync().
        assert capture.one("select count(*) from {syscall} where op = 'io_uring_fsync'") == (syncs,) and syncs > 0
    assert capture.manifest["books"]["incomplete"]["unfinished_async"] == 0
    if direct:
        # Bytes requested by the program equal those of the device, and the program is the owner.
        owned = capture.sql("""
            select op, sum(b.owned_bytes) from {block} b where class = 'data' and evidence = 'direct' and submitter_pid is null
            and pid in (select pid from {syscall} where op like '%_write') group by op order by op""")
        assert dict(owned)["read"] == counted["read"][1]
    capture.check_books()
    capture.check_device(disk.name, busy=True)


# Linux aio by hand: a write and an fsync with completions fetched, a rejected write, and a write without a fetched completion.
SUBMITTER = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
context = ctypes.c_ulong(0)
assert libc.syscall(206, 8, ctypes.byref(context)) == 0
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
data = ctypes.create_string_buffer(b"y" * 4096)
def iocb(opcode, fd, size, offset):
    words = (0, 0, 0, opcode, 0, fd, ctypes.addressof(data) if size else 0, size, offset)
    return ctypes.create_string_buffer(struct.pack("<QIIHhIQQq16x", *words), 64)
def submit(*iocbs):
    pointers = (ctypes.c_void_p * len(iocbs))(*map(ctypes.addressof, iocbs))
    return libc.syscall(209, context, ctypes.c_long(len(iocbs)), pointers)
write, sync, refused, unasked = iocb(1, fd, 4096, 8192), iocb(2, fd, 0, 0), iocb(1, fd + 100, 4096, 0), iocb(1, fd, 4096, 0)
events = ctypes.create_string_buffer(64)
for one in (write, sync):
    assert submit(one) == 1
    assert libc.syscall(208, context, ctypes.c_long(1), ctypes.c_long(1), events, None) == 1
assert submit(unasked, refused) == 1
"""


def test_operations_whose_end_is_never_learned_of_are_counted(disk, record):
    path = disk.mount / "file"
    capture = record("--layers", "syscall", "--", sys.executable, "-c", SUBMITTER, path).finish()
    assert rows(capture, "aio_write", "aio_fsync") == [
        ("aio_write", 8192, 4096, 4096, "regular"), ("aio_fsync", None, None, 0, "regular")]
    assert capture.manifest["books"]["incomplete"]["unfinished_async"] == 1
    capture.check_books()


def test_calls_of_32_bit_programs_are_counted_with_what_they_moved(disk, record, tmp_path):
    program, path = tmp_path / "compat", disk.mount / "file"
    subprocess.run(["gcc", "-O2", "-o", program, Path(__file__).with_name("compat.c")], check=True)
    path.write_bytes(b"x" * 4096)
    disk.settle()
    recorder = record("--device", disk.name)
    done = subprocess.run([program, path], capture_output=True, text=True)
    if done.returncode == 2:
        pytest.skip("this kernel has no 32-bit system calls")
    calls, read, written = (int(word) for word in done.stdout.split())
    capture = recorder.stop(expected=3)
    [without] = capture.manifest["books"]["without_row"]
    assert without["kind"] == "compat" and without["calls"] == calls
    assert (without["io"]["read_bytes"], without["io"]["write_bytes"]) == (read, written)
    capture.check_books()
    summary = run(BIN / "iostrata-analyze", "summary", capture.directory, "--out", tmp_path / "results")
    assert summary.returncode == 3 and f"system calls by the 32-bit entry: {calls}" in summary.stdout + summary.stderr
