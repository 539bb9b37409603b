"""In containers IDs, clocks and cgroups differ from those that the kernel programs see; filters use the user's."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import BIN, Capture, run, wait_for

WRITER = "import os,sys\nsys.stdin.readline()\nf=os.open({path!r},os.O_WRONLY|os.O_CREAT)\nfor i in range({count}): os.write(f,bytes(4096))\n"
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]


def writes(capture, name="ns-"):
    return capture.one(f"""
        select count(*) from {{syscall}} where op = 'write' and ret = 4096
        and (dev, ino) in (select (dev, ino) from {{file}} where path like '%{name}%')""")[0]


def code(path, count):
    return WRITER.format(path=str(path), count=count)


def test_a_command_in_a_pid_namespace(disk, tmp_path, recordable):
    out = tmp_path / "run"
    command = [sys.executable, "-c", code(disk.mount / "ns-file", 100)]
    done = run(*NAMESPACE, BIN / "iostrata", "record", "--out", out, "--", *command, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    capture = Capture(out)
    assert writes(capture) == 100
    assert capture.sql("select count(*) from {process} where comm = 'iostrata'") == [(0,)]


def test_the_recorder_in_a_pid_namespace_leaves_itself_out(disk, recordable):
    """A recorder in a PID namespace excludes itself: its capture is on the recorded disk, and rows and its own requests equal the kernel's
    counters."""
    out = disk.mount / "run"
    command = [*NAMESPACE, BIN / "iostrata", "record", "--out", out, "--device", disk.name, "--duration", "3s", "--flush-interval", "200ms"]
    recorder = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (out / "manifest.json").exists() or recorder.poll() is not None)
    (disk.mount / "ns-file").write_bytes(bytes(1 << 20))
    subprocess.run(["sync", "-f", disk.mount], check=True)
    assert recorder.wait() == 0, recorder.stderr.read()
    capture = Capture(out)
    assert capture.sql("select count(*) from {process} where comm = 'iostrata'") == [(0,)]
    assert capture.check_device(disk.name, busy=True)["own"]["write_ops"] > 0


def test_a_process_in_a_pid_namespace(disk, tmp_path, recordable):
    """--pid is the process ID in the recorder's namespace."""
    out = tmp_path / "run"
    (tmp_path / "gate").mkdir()
    gate = tmp_path / "gate/fifo"
    os.mkfifo(gate)
    (tmp_path / "writer.py").write_text(code(disk.mount / "ns-file", 50))
    script = f"""
        {sys.executable} {tmp_path}/writer.py <{gate} & writer=$!
        exec 9>{gate}
        {BIN}/iostrata record --out {out} --pid $writer 2>{tmp_path}/err & recorder=$!
        while ! [ -e {out}/manifest.json ]; do kill -0 $recorder || exit 9; sleep 0.05; done
        echo go >&9; exec 9>&-
        wait $writer
        kill -TERM $recorder; wait $recorder"""
    done = run(*NAMESPACE, "sh", "-c", script)
    assert done.returncode == 0, (done.stderr, Path(tmp_path / "err").read_text())
    assert writes(Capture(out)) == 50


@pytest.mark.moments
def test_a_cgroup_in_a_cgroup_namespace(disk, tmp_path, recordable):
    mount = run("findmnt", "-nt", "cgroup2", "-o", "TARGET").stdout.split()
    if not mount:
        pytest.skip("cgroup v2 is not mounted here")
    outer = Path(mount[0]) / f"iostrata-ns-{os.getpid()}"
    inner = outer / "inner"
    inner.mkdir(parents=True)
    out = tmp_path / "run"
    (tmp_path / "writer.py").write_text(code(disk.mount / "ns-file", 25))
    # The namespace's root is the outer one; cgroups are mounted again in it, as a container runtime does.
    script = f"""
        mount -t cgroup2 none {tmp_path}/cgroups || exit 8
        {BIN}/iostrata record --out {out} --cgroup /inner 2>{tmp_path}/err & recorder=$!
        while ! [ -e {out}/manifest.json ]; do kill -0 $recorder || exit 9; sleep 0.05; done
        sh -c 'echo $$ >{tmp_path}/cgroups/inner/cgroup.procs; exec {sys.executable} {tmp_path}/writer.py </dev/null'
        kill -TERM $recorder; wait $recorder"""
    (tmp_path / "cgroups").mkdir()
    try:
        enter = f"echo $$ >{outer}/cgroup.procs; umount -l {mount[0]} 2>/dev/null; exec unshare -C sh -c \"$SCRIPT\""
        done = run("unshare", "-m", "sh", "-c", enter, env={**os.environ, "SCRIPT": script})
        assert done.returncode == 0, (done.stderr, (tmp_path / "err").read_text())
        assert writes(Capture(out)) == 25
    finally:
        deadline = time.monotonic() + 10
        for group in (inner, outer):
            while group.exists() and time.monotonic() < deadline:
                try:
                    group.rmdir()
                except OSError:
                    time.sleep(0.05)


@pytest.mark.moments
def test_a_time_namespace_does_not_move_the_rows(disk, tmp_path, recordable):
    out = tmp_path / "run"
    command = [sys.executable, "-c", code(disk.mount / "ns-file", 10)]
    moved = ["unshare", "--time", "--monotonic", "100000", "--boottime", "100000", "--fork"]
    before = time.time_ns()
    done = run(*moved, BIN / "iostrata", "record", "--out", out, "--", *command, stdin=subprocess.DEVNULL)
    after = time.time_ns()
    if "unshare failed" in done.stderr:
        pytest.skip(f"there are no time namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    first, last = Capture(out).one("select min(ts_ns), max(ts_ns) from {syscall}")
    assert before <= first <= last <= after


def test_a_name_that_is_cut_within_a_character(disk, record):
    """A name may be truncated within a character: the kernel stores fifteen bytes, whatever the characters."""
    name = "é".encode() * 8
    named = f"open('/proc/self/comm', 'wb').write({name!r})\n" + code(disk.mount / "ns-file", 30)
    writer = subprocess.Popen([sys.executable, "-c", named], stdin=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: Path(f"/proc/{writer.pid}/comm").read_bytes() == name[:15] + b"\n")
        recorder = record("--pid", writer.pid)
        writer.communicate("go\n")
        assert writes(recorder.stop()) == 30
    finally:
        writer.kill()


def test_a_thread_is_no_process(tmp_path, recordable):
    ready, end, known = threading.Event(), threading.Event(), []

    def body():
        known.append(threading.get_native_id())
        ready.set()
        end.wait()

    thread = threading.Thread(target=body)
    thread.start()
    ready.wait()
    try:
        done = run(BIN / "iostrata", "record", "--out", tmp_path / "run", "--pid", known[0])
    finally:
        end.set()
        thread.join()
    assert done.returncode == 1
    assert done.stderr == f"iostrata: --pid {known[0]}: is a thread of process {os.getpid()}; expected the process, --pid {os.getpid()}\n"


@pytest.mark.parametrize(("path", "why"), [("", "expected the path of a cgroup, got an empty one"), ("/", "is the root, which contains every process")])
def test_a_cgroup_that_leaves_nothing_out(path, why, tmp_path, recordable):
    if not run("findmnt", "-nt", "cgroup2").stdout:
        pytest.skip("cgroup v2 is not mounted here")
    done = run(BIN / "iostrata", "record", "--out", tmp_path / "run", "--cgroup", path)
    assert done.returncode == 1 and why in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.moments
def test_a_limit_of_file_sizes_is_a_write_that_fails(disk, tmp_path, recordable):
    out = tmp_path / "run"
    load = f"for i in range(3000): open({str(disk.mount)!r} + f'/{{i}}', 'wb').write(os.urandom(5000))"
    limited = ["prlimit", "--fsize=40000", BIN / "iostrata", "record", "--out", out, "--flush-interval", "100ms"]
    done = run(*limited, "--", sys.executable, "-c", f"import os, time\n{load}\ntime.sleep(1)\n")
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert Capture(out).lost_events(), "nothing reached the limit"
    assert {cause for _, cause in Capture(out).lost_events()} == {"write_failed"}


def test_a_soft_limit_of_open_files_is_raised_and_the_command_keeps_its_own(disk, tmp_path, recordable):
    out = tmp_path / "run"
    command = f"ulimit -n >{tmp_path}/limit; cat /etc/hostname >/dev/null"
    done = run("prlimit", "--nofile=64:4096", BIN / "iostrata", "record", "--out", out, "--", "sh", "-c", command)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "limit").read_text() == "64\n"


@pytest.mark.parametrize("limit", [64, 110])
def test_a_hard_limit_of_open_files_is_told_before_the_command_runs(limit, tmp_path, recordable):
    done = run("prlimit", f"--nofile={limit}:{limit}", BIN / "iostrata", "record", "--out", tmp_path / "run", "--", "touch", tmp_path / "ran")
    assert done.returncode == 1 and "ulimit -Hn" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "ran").exists() and not (tmp_path / "run").exists()
