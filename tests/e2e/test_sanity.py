"""Checks of `quality` without a second source: contradictory numbers, and the usage of BPF maps."""

import csv
import json
import signal
import subprocess
import sys
import time

import pytest
from conftest import analyze, process_io, require, summary_rows, wait_for
from proc import threads_in


def checks(capture, out):
    """Returns verdict and finding by check, and rows of maps by name."""
    told = analyze("quality", capture, "--out", out)
    assert told.returncode == 0, told.stderr
    with open(out / "quality.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    named = {row["found"].split(":")[0]: row for row in rows if row["check"] == "map"}
    return {row["check"]: (row["verdict"], row["found"]) for row in rows if row["check"] != "map"}, named


def test_a_sound_capture_is_sound_and_one_that_was_tampered_with_is_not(disk, record, tmp_path):
    disk.settle()
    recorder = record("--device", disk.name)
    subprocess.run(["dd", "if=/dev/zero", f"of={disk.mount}/x", "bs=64k", "count=64", "oflag=direct", "status=none"], check=True)
    capture = recorder.stop()
    found, maps = checks(capture.directory, tmp_path / "sound")
    assert found["classes"][0] == found["counters"][0] == found["ratios"][0] == "good", found
    calls = {of["kind"]: of for of in capture.manifest["books"]["followed"]}["calls"]
    assert calls["begun"] >= 64 and calls["begun"] == calls["ended"] + calls["under_way"] and found["begun"][0] == "good", found["begun"]
    # Each bounded map, with its declared size and no more entries than that.
    told = {used["map"]: used for used in capture.manifest["maps"]}
    assert told.keys() == maps.keys() >= {"calls", "named", "inode_owners", "servers"}
    assert all(0 <= used["peak"] <= used["entries"] and used["effect"] for used in told.values())
    assert told["calls"]["entries"] == 32768 and told["inode_owners"]["peak"] > 0

    path = capture.directory / "manifest.json"
    manifest = json.loads(path.read_text())
    for book in manifest["device_books"]:
        book["rows"]["write_bytes"] += 512
    manifest["books"]["incomplete"]["unfinished_async"] = 2**64 - 10
    calls, = (of for of in manifest["books"]["followed"] if of["kind"] == "calls")
    calls["begun"] += 1
    manifest["maps"][0] |= {"peak": manifest["maps"][0]["entries"], "evicted": 3}
    path.write_text(json.dumps(manifest))
    found, maps = checks(capture.directory, tmp_path / "tampered")
    assert found["classes"][0] == "bad" and f"{disk.name}: " in found["classes"][1] and "written by class" in found["classes"][1]
    assert found["counters"][0] == "bad" and str(2**64 - 10) in found["counters"][1]
    assert found["begun"][0] == "bad" and ": inconsistent" in found["begun"][1], found["begun"]
    full = maps[manifest["maps"][0]["map"]]
    assert full["verdict"] == "note" and "3 evicted or rejected: " + manifest["maps"][0]["effect"] in full["found"], full


# Announces itself, waits for a line, reads and writes by each kind of call that the kernel counts, and by one that it does not, then waits to be
# ended.
WORK = """
import os, socket, sys, threading
place = sys.argv[1]
print(flush=True)
sys.stdin.readline()
file = os.open(place, os.O_RDWR | os.O_CREAT)
other = os.open(place + ".copy", os.O_RDWR | os.O_CREAT)
os.write(file, bytes(10000)); os.pwrite(file, bytes(20000), 0); os.writev(file, [bytes(300), bytes(700)])
os.pread(file, 4000, 0); os.preadv(file, [bytearray(500)], 0)
os.copy_file_range(file, other, 6000, 0, 0)
near, far = socket.socketpair()
os.sendfile(near.fileno(), file, 0, 5000)
out, into = os.pipe()
os.splice(file, into, 3000, offset_src=0)
thread = threading.Thread(target=lambda: os.pwrite(file, bytes(5_000_000), 0))
thread.start(); thread.join()
print(flush=True)
sys.stdin.readline()
"""


@pytest.mark.moments
def test_calls_of_a_process_are_held_against_what_the_kernel_counted_of_it(disk, record, tmp_path):
    disk.settle()
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with subprocess.Popen([sys.executable, "-c", WORK, disk.mount / "file"], **pipes) as worker:
        # Its own start has ended.
        worker.stdout.readline()
        recorder = record("--device", disk.name)
        before = process_io(worker.pid)
        worker.stdin.write("\n")
        worker.stdin.flush()
        worker.stdout.readline()
        capture = recorder.stop()
        moved = {name: value - before[name] for name, value in process_io(worker.pid).items()}
        worker.stdin.close()
    book, = (book for book in capture.manifest["process_counters"]["processes"] if book["pid"] == worker.pid)
    # It read the line after the recorder's first reading of the counters; its last read follows the final reading.
    assert (book["read_bytes"], book["write_bytes"]) == (moved["rchar"], moved["wchar"])
    files = "fd_kind = 'regular' and ret > 0 and pid = " + str(worker.pid)
    read, = capture.one(f"select sum(ret) from {{syscall}} where {files} and op in ('pread64', 'preadv', 'preadv2', 'copy_file_range_in', 'sendfile_in', 'splice_in')")
    wrote, = capture.one(f"select sum(ret) from {{syscall}} where {files} and op in ('write', 'pwrite64', 'writev', 'copy_file_range_out')")
    # The kernel does not count splice for a process; pipes and sockets have no rows.
    assert (read, wrote) == (4000 + 500 + 6000 + 5000 + 3000, 10000 + 20000 + 1000 + 6000 + 5_000_000)
    assert read - 3000 <= book["read_bytes"] and wrote <= book["write_bytes"] < wrote + 5000 + 100
    found, _ = checks(capture.directory, tmp_path / "sound")
    assert found["processes"][0] == "good", found["processes"]

    path = capture.directory / "manifest.json"
    manifest = json.loads(path.read_text())
    for of in manifest["process_counters"]["processes"]:
        if of["pid"] == worker.pid:
            of["write_bytes"] = wrote - 1
    path.write_text(json.dumps(manifest))
    found, _ = checks(capture.directory, tmp_path / "tampered")
    assert found["processes"] == ("bad", f"process {worker.pid}: {wrote} bytes written by rows of calls, {wrote - 1} by the kernel")


@pytest.mark.moments
@pytest.mark.parametrize("engine", ["psync", "libaio", "io_uring"])
@pytest.mark.parametrize("way", ["randread", "randwrite"])
def test_the_bounds_of_a_recording_within_a_load_have_what_is_true(disk, record, tmp_path, engine, way):
    """The bounds of a recording during a load include the true value: each direct call is one request, and the layers begin and end at the same time,
    so operations in flight then lie within the bounds."""
    path = disk.mount / "file"
    path.write_bytes(bytes(32 << 20))
    disk.settle()
    command = [require("fio"), "--name=load", f"--filename={path}", "--size=32M", f"--rw={way}", "--bs=4k", "--direct=1", f"--ioengine={engine}",
               "--iodepth=4", "--numjobs=2", "--thread", "--norandommap", "--time_based", "--runtime=2h"]
    with open(tmp_path / "fio", "w") as output:
        load = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        before = disk.stat()
        while disk.stat()[f"{way[4:]}_ops"] - before[f"{way[4:]}_ops"] < 2000:
            assert load.poll() is None, (tmp_path / "fio").read_text()
            time.sleep(0.02)
        recorder = record("--device", disk.name, "--ring-size", "64MiB", "--memory", "512MiB")
        recorder.wait_until(lambda health: any(account["seen"] > 5000 for account in health["classes"] if account["class"] == "block"))
        capture = recorder.stop(expected=None)
    finally:
        load.send_signal(signal.SIGINT)
        load.wait()
    assert capture.lost() == 0 and recorder.process.returncode == 0, recorder.text
    found, _ = checks(capture.directory, tmp_path / "quality")
    assert found["begun"][0] == "good", found["begun"]
    done = analyze("summary", capture.directory, "--out", tmp_path / "summary")
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = [row for row in summary_rows(tmp_path / "summary/summary.csv") if row["system"] == "fio"]
    low, ratio, high = (float(row[f"{way[4:]}_amp_bytes{end}"]) for end in ("_low", "", "_high"))
    assert low <= 1 <= high and low <= ratio <= high, (low, ratio, high, capture.manifest["books"]["incomplete"])
    # No wider than what two jobs can have in flight at either end, and narrow enough to be useful.
    assert high - low < 0.05, (low, high)


def keeps_waiting(pid, threads):
    """Whether this number of threads of the process keeps waiting in a state that no signal interrupts."""
    seen = threads_in(pid, "D")
    for _ in range(30):
        time.sleep(0.01)
        seen &= threads_in(pid, "D")
    return len(seen) >= threads


@pytest.mark.moments
@pytest.mark.parametrize("engine", ["psync", "sendfile", "libaio", "io_uring"])
def test_calls_that_began_before_are_in_the_bounds(disk, record, tmp_path, engine):
    """Calls that began before the recording are in the bounds: writes that wait for a file system frozen at the start of the recording reach the disk
    in it, and have no row."""
    path = disk.mount / "file"
    path.write_bytes(bytes(32 << 20))
    disk.settle()
    # Opening a file for writing with an uncached name would wait, too.
    path.stat()
    copy = f"import os; source = os.memfd_create('x'); os.write(source, bytes(1 << 20)); os.sendfile(os.open({str(path)!r}, os.O_WRONLY), source, 0, 1 << 20)"
    fio = [require("fio"), "--name=load", f"--filename={path}", "--size=32M", "--rw=randwrite", "--bs=4k", "--direct=1", f"--ioengine={engine}",
           "--iodepth=4", "--numjobs=2", "--thread", "--norandommap", "--io_size=4M"]
    with open(tmp_path / "output", "w") as output:
        subprocess.run(["fsfreeze", "--freeze", disk.mount], check=True)
        try:
            load = subprocess.Popen([sys.executable, "-c", copy] if engine == "sendfile" else fio, stdout=output, stderr=output)
            wait_for(lambda: keeps_waiting(load.pid, 1 if engine == "sendfile" else 2))
            recorder = record("--device", disk.name)
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", disk.mount], check=True)
        assert load.wait() == 0, (tmp_path / "output").read_text()
    subprocess.run(["sync", "-f", disk.mount], check=True)
    capture = recorder.stop()
    incomplete = capture.manifest["books"]["incomplete"]
    written = capture.one("select coalesce(sum(ret), 0)::bigint from {syscall} where op in ('pwrite64', 'aio_write', 'io_uring_write', 'sendfile_out')")[0]
    expected = 1 << 20 if engine == "sendfile" else 2 * (4 << 20)
    assert incomplete["earlier_calls"] > 0 and written + incomplete["earlier_calls_io"]["write_bytes"] == expected, incomplete
    done = analyze("summary", capture.directory, "--out", tmp_path / "summary")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "calls in flight when the recording began" in done.stdout + done.stderr
    if engine != "sendfile":
        [row] = [row for row in summary_rows(tmp_path / "summary/summary.csv") if row["system"] == "fio"]
        assert float(row["write_amp_bytes_low"]) == 1 < float(row["write_amp_bytes"])


@pytest.mark.parametrize("call", ["os.pwrite(file, bytes(1 << 20), 0)", "os.sendfile(file, source, 0, 1 << 20)", "os.writev(file, [bytes(1 << 20)])"],
                         ids=["pwrite", "sendfile", "writev"])
def test_a_call_that_began_before_and_never_ended_is_in_the_bounds(disk, record, call):
    path = disk.mount / "file"
    path.write_bytes(bytes(32 << 20))
    code = f"import os; source = os.memfd_create('x'); os.write(source, bytes(1 << 20)); file = os.open({str(path)!r}, os.O_WRONLY); {call}"
    disk.settle()
    path.stat()
    subprocess.run(["fsfreeze", "--freeze", disk.mount], check=True)
    try:
        caller = subprocess.Popen([sys.executable, "-c", code])
        wait_for(lambda: keeps_waiting(caller.pid, 1))
        capture = record("--device", disk.name).stop()
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", disk.mount], check=True)
    assert caller.wait() == 0
    incomplete = capture.manifest["books"]["incomplete"]
    # The bytes requested by an array of buffers are not examined.
    most = 0x7FFF_F000 if "writev" in call else 1 << 20
    assert (incomplete["earlier_calls"], incomplete["earlier_calls_io"]["write_bytes"]) == (1, most), incomplete
