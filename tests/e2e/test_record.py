"""Recordings on this machine are correct: against the kernel's counters and known workloads."""

import os
import re
import signal
import subprocess
import sys
import time

import pyarrow.parquet
import pytest

KIB = 1024
MIB = 1024 * KIB


def dd(*arguments):
    subprocess.run(["dd", "status=none", *arguments], check=True)


def demo_workload(disk):
    """10 MiB with one fdatasync, ten synchronous 4 KiB writes, 5 MiB left to writeback, a cold read of 10 MiB."""
    dd("if=/dev/zero", f"of={disk.mount}/large", "bs=1M", "count=10", "conv=fdatasync")
    for number in range(10):
        dd("if=/dev/zero", f"of={disk.mount}/small-{number}", "bs=4k", "count=1", "oflag=sync")
    dd("if=/dev/zero", f"of={disk.mount}/later", "bs=1M", "count=5")
    disk.settle()
    dd(f"if={disk.mount}/large", "of=/dev/null", "bs=1M")


def test_the_demo_workload_is_recorded_to_the_byte(disk, record):
    disk.settle()
    recorder = record("--device", disk.name)
    before = disk.stat()
    demo_workload(disk)
    after = disk.stat()
    capture = recorder.stop()

    assert capture.manifest["state"] == "complete"
    assert capture.lost() == 0
    capture.check_books()
    capture.check_device(disk.name)
    delta = {key: after[key] - before[key] for key in after}
    reads = capture.one("select count(*), sum(bytes), sum(bios) from {block} where op = 'read'")
    writes = capture.one("select count(*), sum(bytes), sum(bios) from {block} where op in ('write', 'flush', 'write_zeroes')")
    flushes = capture.one("select count(*) from {block} where op = 'device_flush'")[0]
    assert reads[:2] == (delta["read_ops"], delta["read_bytes"])
    assert writes[:2] == (delta["write_ops"], delta["write_bytes"])
    assert flushes == delta["flush_ops"]
    # Merges are the bios beyond the first of each request.
    assert reads[2] - reads[0] == delta["read_merges"]
    assert writes[2] - writes[0] == delta["write_merges"]

    # The workload of dd, to the byte.
    assert capture.one("select count(*), sum(ret) from {syscall} where op = 'write' and comm = 'dd'") == (25, 15 * MIB + 40 * KIB)
    assert capture.one("select sum(ret) from {syscall} where op = 'read' and comm = 'dd' and offset_bytes is not null") == (10 * MIB,)
    assert capture.one("select count(*) from {syscall} where op = 'fdatasync'") == (1,)
    # The cold read reached the device once: its data and a few blocks of metadata.
    assert 10 * MIB <= reads[1] < 11 * MIB


def test_layers_that_cannot_be_captured_are_said_so_and_never_zero(disk, record, tmp_path):
    capture = record("--device", disk.name, "--duration", "200ms").finish()
    vfs = capture.manifest["layers"]["vfs"]
    assert vfs["captured"] or vfs["how"] and capture.one("select count(*) from {vfs}") == (0,)
    assert capture.manifest["layers"]["syscall"]["captured"]
    assert capture.manifest["layers"]["block"]["captured"]


def test_phases_add_up_to_the_whole_and_lie_in_the_recording(disk, record):
    disk.settle()
    recorder = record("--device", disk.name)
    demo_workload(disk)
    capture = recorder.stop()
    wrong = capture.one(
        "select count(*) from {block} where dur_ns < 0 or queue_ns < 0 or insert_ns < 0 "
        "or dur_ns < queue_ns + coalesce(insert_ns, 0)"
    )
    assert wrong == (0,)
    first, last = (pair["wall_ns"] for pair in (capture.manifest["clock"]["pairs"][0], capture.manifest["clock"]["pairs"][-1]))
    low, high = capture.one("select min(ts_ns), max(ts_ns + dur_ns) from {block}")
    assert first - 10**9 <= low and high <= last + 10**9


OFFSETS = """
import os, sys
path = sys.argv[1]
f = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
os.write(f, b'a' * 1000)                                # 0
os.write(f, b'b' * 500)                                 # 1000
os.pwrite(f, b'c' * 300, 4096)                          # 4096
os.writev(f, [b'd' * 10, b'e' * 20, b'f' * 30])         # 1500
os.pwritev(f, [b'g' * 7, b'h' * 8], 9000)               # 9000
os.lseek(f, 100, os.SEEK_SET)
os.read(f, 50)                                          # 100
os.readv(f, [bytearray(5), bytearray(6)])               # 150
os.pread(f, 4096, 9000)                                 # 9000, 15 bytes there are
os.preadv(f, [bytearray(1), bytearray(2)], 10)          # 10
os.fsync(f); os.fdatasync(f)
os.close(f)
a = os.open(path, os.O_WRONLY | os.O_APPEND)
os.write(a, b'z' * 9)                                   # 9015, the end
os.close(a)
try: os.write(os.open(path, os.O_RDONLY), b'x')         # EBADF
except OSError: pass
"""


def test_offsets_bytes_and_results_are_those_of_the_program(disk, record):
    path = disk.mount / "offsets"
    recorder = record("--layers", "syscall", "--", sys.executable, "-c", OFFSETS, path)
    capture = recorder.finish()
    ino = os.stat(path).st_ino
    rows = capture.sql(
        f"select op, offset_bytes, requested_bytes, ret from {{syscall}} where ino = {ino} "
        "and op not in ('openat', 'open', 'close') order by ts_ns"
    )
    assert rows == [
        ("write", 0, 1000, 1000),
        ("write", 1000, 500, 500),
        ("pwrite64", 4096, 300, 300),
        ("writev", 1500, 60, 60),
        ("pwritev2", 9000, 15, 15),
        ("read", 100, 50, 50),
        ("readv", 150, 11, 11),
        ("pread64", 9000, 4096, 15),
        ("preadv2", 10, 3, 3),
        ("fsync", None, None, 0),
        ("fdatasync", None, None, 0),
        ("write", 9015, 9, 9),
        ("write", 0, 1, -9),
    ]
    assert capture.one(f"select count(*) from {{syscall}} where ino = {ino} and op = 'openat'") == (3,)
    assert capture.one(f"select distinct fd_kind from {{syscall}} where ino = {ino}") == ("regular",)


def test_pipes_and_proc_files_are_left_out_and_block_devices_are_not(disk, record):
    script = f"cat /proc/self/stat | cat > /dev/null; head -c 4096 {disk.device} > /dev/null"
    capture = record("--layers", "syscall", "--", "sh", "-c", script).finish()
    kinds = capture.sql("select distinct fd_kind from {syscall} where op = 'read'")
    assert set(kinds) <= {("regular",), ("block",)}
    assert capture.one("select count(*) > 0 from {syscall} where fd_kind = 'block' and op = 'read'") == (True,)
    assert capture.one("select count(*) from {syscall} where op = 'write'") == (0,)


THREADS = """
import os, sys, threading
def work(n):
    f = os.open(f'{sys.argv[1]}/t{n}', os.O_WRONLY | os.O_CREAT)
    os.write(f, b'x' * 4096); os.write(1, f'{n} {os.getpid()} {threading.get_native_id()}\\n'.encode())
ts = [threading.Thread(target=work, args=(n,)) for n in range(2)]
[t.start() for t in ts]; [t.join() for t in ts]
"""


def test_pid_is_the_process_and_tid_the_thread(disk, record):
    recorder = record("--layers", "syscall", "--", sys.executable, "-c", THREADS, disk.mount)
    out = recorder.process.stdout
    said = sorted(tuple(int(word) for word in out.readline().split())[1:] for _ in range(2))
    capture = recorder.finish()
    inodes = ",".join(str(os.stat(disk.mount / f"t{n}").st_ino) for n in range(2))
    rows = capture.sql(f"select pid, tid from {{syscall}} where op = 'write' and ino in ({inodes}) order by tid")
    assert rows == said
    assert rows[0][0] == rows[1][0] and rows[0][1] != rows[1][1]


def test_the_recorders_own_io_is_counted_apart(disk, record):
    """The recorder's own I/O is counted separately: the capture is on the recorded device, and rows and own I/O together equal the kernel's
    counters."""
    disk.settle()
    recorder = record("--device", disk.name, "--rotate-interval", "300ms", out=disk.mount / "capture")
    demo_workload(disk)
    capture = recorder.stop()
    book = capture.check_device(disk.name, busy=True)
    assert book["own"]["write_bytes"] > 0
    capture.check_books()
    pid = recorder.process.pid
    assert capture.one(f"select count(*) from {{block}} where pid = {pid}") == (0,)
    assert capture.one(f"select count(*) from {{syscall}} where pid = {pid}") == (0,)


def test_a_process_of_a_millisecond_is_known_by_its_executable(disk, record):
    recorder = record("--device", disk.name)
    dd("if=/dev/zero", f"of={disk.mount}/x", "bs=4k", "count=1", "oflag=sync")
    capture = recorder.stop()
    exe, cmdline = capture.one("select exe, cmdline from {process} where comm = 'dd' order by ts_ns desc")
    assert os.path.basename(exe) == os.path.basename(os.path.realpath("/bin/dd"))
    assert "oflag=sync" in cmdline


def test_requests_larger_than_the_device_takes_are_split_and_keep_their_owner(disk, record):
    disk.settle()
    recorder = record("--device", disk.name)
    dd("if=/dev/zero", f"of={disk.mount}/direct", "bs=16M", "count=2", "oflag=direct")
    capture = recorder.stop()
    capture.check_device(disk.name)
    written, requests, unowned = capture.one(
        "select sum(bytes), count(*), count(*) filter (pid is null) from {block} where op = 'write' and comm = 'dd'"
    )
    assert written == 32 * MIB and requests > 2 and unowned == 0
    assert capture.one("select count(*) from {block} where dur_ns is null")[0] <= capture.unseen_ends()


def test_an_interrupted_recorder_still_says_what_it_has(disk, record):
    import signal

    recorder = record("--device", disk.name)
    dd("if=/dev/zero", f"of={disk.mount}/x", "bs=4k", "count=8", "oflag=direct")
    capture = recorder.stop(signal.SIGINT)
    assert capture.manifest["stop_reason"] == "SIGINT"
    assert capture.one("select count(*) from {block} where comm = 'dd' and op = 'write'")[0] >= 8
    assert ": consistent" in recorder.text and "INCONSISTENT" not in recorder.text


@pytest.mark.moments
def test_the_clocks_are_read_at_both_ends_and_between(disk, record):
    recorder = record("--device", disk.name, "--layers", "block")
    before_ns = time.time_ns()
    time.sleep(11)
    after_ns = time.time_ns()
    capture = recorder.stop()
    rows = capture.sql("select ts_ns, wall_ns, boot_ns from {clock} order by ts_ns")
    assert len(rows) >= 3
    assert rows[0][:2] == (capture.manifest["clock"]["pairs"][0]["wall_ns"],) * 2
    # The clock was not stepped: wall time equals capture time, within the NTP adjustment of these seconds.
    assert all(abs(wall - ts) < 1_000_000 for ts, wall, _ in rows)
    assert rows[0][1] <= before_ns + 1_000_000_000 and rows[-1][1] >= after_ns
    # The machine was not suspended either.
    assert max(boot - ts for ts, _, boot in rows) - min(boot - ts for ts, _, boot in rows) < 1_000_000


def told(recorder, signal_number, reached, seconds=180):
    """Sends a signal and waits for its effect."""
    recorder.process.send_signal(signal_number)
    deadline = time.monotonic() + seconds
    while not reached():
        assert recorder.process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.moments
def test_sighup_closes_the_parts_and_the_recording_goes_on(disk, record):
    recorder = record("--device", disk.name)
    demo_workload(disk)
    recorder.wait_until(lambda health: health["drained_events"] > 0)
    assert not list(recorder.out.glob("*/part-*.parquet"))
    told(recorder, signal.SIGHUP, lambda: list(recorder.out.glob("block/part-*.parquet")))
    before = pyarrow.parquet.read_metadata(recorder.out / "block/part-000001.parquet").num_rows
    assert before > 0
    demo_workload(disk)
    capture = recorder.stop()
    assert capture.one("select count(*) > " + str(before) + " from {block}") == (True,)
    capture.check_books()


@pytest.mark.moments
def test_sigusr1_tells_how_it_is_and_sigterm_stops(disk, record, tmp_path):
    errors = tmp_path / "errors"
    with open(errors, "w") as stderr:
        recorder = record("--device", disk.name, stderr=stderr)
    demo_workload(disk)
    recorder.wait_until(lambda health: health["elapsed_ms"] > 1000 and any(account["seen"] for account in health["classes"] if account["class"] == "block"))
    told(recorder, signal.SIGUSR1, lambda: "status    block" in errors.read_text())
    said = errors.read_text()
    assert re.search(r"^status    recording for [1-9].*: \d+ events drained, \d+ finished parts", said, re.M), said
    assert re.search(r"^status    block +seen [1-9]\d*, lost 0$", said, re.M), said
    recorder.process.send_signal(signal.SIGTERM)
    assert recorder.process.wait(timeout=60) == 0
