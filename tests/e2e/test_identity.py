"""Identity of processes: their arguments and nothing else, their name, their cgroup; and threads that do not end by an exit."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import proc
import pytest
from conftest import analyze, require, run, wait_for

TABLES = ("syscall", "vfs", "fs", "block", "share", "process", "file", "clock", "loss")
SECRET = "TOKEN=rosebud-7f3a"


def compiled(name, directory):
    program = directory / name
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([require("clang"), "-O2", "-Wall", "-Werror", "-pthread", "-o", program, source], check=True)
    return program


@pytest.fixture
def cold(disk):
    """Runs programs from the disk with an empty page cache, so that exec has to read them; with a secret in the environment."""
    busybox = Path(shutil.copy(require("busybox"), disk.mount / "busybox"))
    disk.settle()

    def start(*arguments):
        with open(busybox, "rb") as program:
            os.fsync(program.fileno())
            os.posix_fadvise(program.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        # Longer than the part of a command line that is read: a read beyond the end of the stack would fail and return nothing.
        secrets = {"FIRST": SECRET, "PADDING": "p" * 2000, "LAST": SECRET}
        done = subprocess.run([busybox, *arguments], env=secrets, check=True, capture_output=True, text=True)
        return done.stdout

    return start


def texts(capture):
    """Returns all texts of a capture, including the manifest."""
    found = [(capture.directory / "manifest.json").read_text()]
    for table in TABLES:
        for part in capture.directory.glob(f"{table}/*.parquet"):
            found += [value for row in capture.sql(f"select * from '{part}'") for value in row if isinstance(value, str)]
    return found


def test_a_program_that_is_read_from_the_disk_has_its_arguments_and_nothing_behind_them(cold, disk, record):
    recorder = record("--device", disk.name)
    for number in range(8):
        cold("echo", "-n", f"argument {number}")
    capture = recorder.stop()
    capture.check_books()
    assert not [text for text in texts(capture) if "rosebud" in text or "p" * 20 in text]
    rows = capture.sql("select pid, ts_ns, cmdline from {process} where exe like '%/busybox' order by ts_ns")
    told_within = [row for row in rows if row[2] is None]
    assert told_within, "no program did I/O while it was loaded: this test tells nothing"
    # The last row of each applies, and no event lies between the two.
    lines = {pid: cmdline for pid, _, cmdline in rows}
    assert sorted(lines.values()) == [f"{disk.mount}/busybox echo -n argument {number}" for number in range(8)]
    later = {pid: ts_ns for pid, ts_ns, cmdline in rows if cmdline is not None}
    assert all(later[pid] == ts_ns + 1 for pid, ts_ns, _ in told_within)
    for table in ("fs", "block", "syscall"):
        assert capture.one(f"""select count(*) from {{{table}}} rows asof join {{process}} p on rows.pid = p.pid and rows.ts_ns >= p.ts_ns
            where p.exe like '%/busybox' and p.cmdline is null""") == (0,), table


# Writes a title over its arguments and on over its environment, as setproctitle(3) does, and opens a file.
TITLE = """
import ctypes, sys
words = open('/proc/self/stat').read().rsplit(')', 1)[1].split()
start, end = int(words[45]), int(words[46])
title = b'ingest: ' + b'0123456789' * 40
ctypes.memmove(start, title, len(title))
print(title[:end - start].decode(), flush=True)
sys.stdin.readline()
open(sys.argv[1]).close()
"""


def test_a_title_that_goes_on_over_the_environment_ends_with_the_arguments(disk, record):
    (disk.mount / "file").write_text("")
    script = disk.mount / "title.py"
    script.write_text(TITLE)
    command = [sys.executable, script, disk.mount / "file"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PADDING": "p" * 500, "SECRET": SECRET})
    ended = process.stdout.readline().rstrip("\n")
    assert 0 < len(ended) < 400
    recorder = record("--pid", process.pid, "--layers", "syscall")
    process.communicate("go\n", timeout=60)
    capture = recorder.stop()
    assert [row[0] for row in capture.sql("select cmdline from {process}")] == [ended]


@pytest.mark.parametrize("length", [512, 513, 767, 768, 769, 5000])
def test_of_a_long_command_line_there_is_the_begin_and_the_end(disk, record, length):
    name = shutil.copy(require("true"), disk.mount / "true")
    last = "the.Main last"
    padding = "p" * (length - len(f"{name}  {last} "))
    capture = record("--layers", "syscall", "--", name, padding, *last.split()).finish()
    cmdline = capture.one("select arg_max(cmdline, ts_ns) from {process} where exe like '%/true'")[0]
    whole = f"{name} {padding} {last}\0"
    assert len(whole) == length
    if length <= 768:
        assert cmdline == whole.rstrip("\0")
    else:
        assert cmdline == f"{whole[:512]} … {whole[-256:-1]}"


# Threads with their own names do all the I/O, each a little, in no order.
THREADS = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
go = threading.Barrier(8)
def work(number):
    libc.prctl(15, b'worker-%d' % number, 0, 0, 0)
    go.wait()
    for _ in range(20):
        os.pread(file, 512, 0)
file = os.open(sys.argv[1], os.O_RDONLY)
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
print(open('/proc/self/comm').read(), end='', flush=True)
sys.stdin.readline()
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_a_process_is_called_after_its_program_whichever_thread_works_first(disk, record, tmp_path):
    (disk.mount / "file").write_bytes(b"x" * 512)
    script = disk.mount / "ingest.py"
    script.write_text(THREADS)
    for number in range(3):
        process = subprocess.Popen([sys.executable, script, disk.mount / "file"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        comm = process.stdout.readline().rstrip("\n")
        exe = os.readlink(f"/proc/{process.pid}/exe")
        recorder = record("--pid", process.pid, "--layers", "syscall")
        process.communicate("go\n", timeout=60)
        capture = recorder.stop()
        assert capture.one("select count(*), count(distinct comm) from {syscall} where op = 'pread64'") == (160, 8)
        assert set(capture.sql("select comm, exe from {process}")) == {(comm, exe)}
        results = analyze("top", capture.directory, "--out", tmp_path / f"results{number}", "--format", "json")
        assert results.returncode == 0, results.stderr
        summary = analyze("summary", capture.directory, "--out", tmp_path / f"summary{number}", "--format", "json")
        systems = {row["system"] for row in json.loads((tmp_path / f"summary{number}" / "summary.json").read_text())}
        assert systems == {"ingest.py", "(total)"}, summary.stdout
        listed = [row for row in json.loads((tmp_path / f"results{number}" / "top.json").read_text()) if row["scope"] == "process"]
        assert {(row["name"], row["exe"], row["cmdline"]) for row in listed} == {(comm, exe, f"{sys.executable} {script} {disk.mount / 'file'}")}


def test_a_process_that_calls_itself_like_the_journal_is_not_the_journal(disk, record, tmp_path):
    program = shutil.copy(require("dd"), disk.mount / "(journal)")
    recorder = record("--device", disk.name)
    subprocess.run([program, "if=/dev/zero", f"of={disk.mount}/file", "bs=4k", "count=3", "oflag=direct", "status=none"], check=True)
    subprocess.run(["sync", "-f", disk.mount], check=True)
    capture = recorder.stop()
    journal, = capture.one("select count(*) from {block} where class = 'journal'")
    assert journal > 0
    analyze("summary", capture.directory, "--out", tmp_path / "results", "--format", "json")
    rows = {row["system"]: row for row in json.loads((tmp_path / "results" / "summary.json").read_text())}
    assert rows["(journal)"]["syscall_write_ops"] == 0 and rows["(journal)"]["block_write_ops"] == journal
    assert rows["process (journal)"]["syscall_write_ops"] == 3


@pytest.fixture
def cgroups():
    mount = run("findmnt", "-nt", "cgroup2", "-o", "TARGET").stdout.split()
    if not mount:
        pytest.skip("cgroup v2 is not mounted here")
    cgroup = Path(mount[0]) / f"iostrata-test-{os.getpid()}"
    cgroup.mkdir()
    yield cgroup
    for group in sorted(cgroup.glob("**/"), reverse=True):
        group.rmdir()


def test_a_cgroup_of_a_moment_has_its_name(disk, record, cgroups):
    recorder = record("--device", disk.name, "--layers", "syscall")
    paths = []
    for number in range(30):
        job = cgroups / f"job-{number}"
        job.mkdir()
        done = subprocess.run(["sh", "-c", f"echo $$ > {job}/cgroup.procs; echo x > {disk.mount}/file-{number}"], check=True)
        assert done.returncode == 0
        paths.append((job.stat().st_ino, f"/{cgroups.name}/{job.name}"))
        job.rmdir()
    capture = recorder.stop()
    ids = capture.sql("select distinct cgroup_id from {syscall} where op = 'write'")
    assert sorted(ids) == sorted((number,) for number, _ in paths)
    assert set(capture.sql("select distinct cgroup_id, cgroup from {process}")) >= set(paths)
    assert capture.one("select count(*) from {process} where cgroup is null") == (0,)


def test_a_process_that_moves_is_told_in_each_cgroup_once(disk, record, cgroups, actors):
    actor = actors()
    actor.do(f"file = os.open('{disk.mount}/file', os.O_RDWR | os.O_CREAT)")
    recorder = record("--device", disk.name, "--layers", "syscall")
    actor.do("os.pwrite(file, b'x', 0)")
    for _ in range(5):
        for name in ("one", "other"):
            (cgroups / name).mkdir(exist_ok=True)
            (cgroups / name / "cgroup.procs").write_text(str(actor.pid))
            actor.do("os.pwrite(file, b'x', 0)")
    actor.end()
    capture = recorder.stop()
    told = capture.sql("select cgroup, count(*) from {process} group by cgroup order by cgroup")
    assert told[1:] == [(f"/{cgroups.name}/one", 1), (f"/{cgroups.name}/other", 1)] and told[0][1] == 1
    unnamed = capture.one("select count(*) from {syscall} s anti join {process} p on s.pid = p.pid and s.cgroup_id = p.cgroup_id")
    assert unnamed == (0,)


def test_a_process_for_which_there_is_no_room_is_lost_once_and_told_when_there_is(disk, record, actors):
    (disk.mount / "file").write_bytes(b"x" * 4096)
    filler, late = actors(), actors()
    for actor in (filler, late):
        actor.do("os.sched_setaffinity(0, {0})")
        actor.do(f"file = os.open('{disk.mount}/file', os.O_RDONLY)")
    recorder = record("--device", disk.name, "--layers", "syscall", "--ring-size", "64KiB")
    recorder.process.send_signal(signal.SIGSTOP)
    try:
        # Calls have their own rings, so only processes can fill that of processes.
        filler.do("for _ in range(5000): os.pread(file, 1, 0)")
        filler.do("for _ in range(1000): os.fork() and os.wait() or (os.pread(file, 1, 0), os._exit(0))")
        late.do("for _ in range(500): os.pread(file, 1, 0)")
    finally:
        recorder.process.send_signal(signal.SIGCONT)
    # The ring is emptied at least every tenth of a second.
    wait_for(lambda: late.do("os.pread(file, 2, 0)") or is_told(recorder, late.pid))
    capture = recorder.stop(expected=3)
    capture.check_books()
    lost = capture.lost_events()
    assert lost["syscall", "ring_full"] >= 500, lost
    told = capture.one(f"select count(*) from {{process}} where ppid = {filler.pid}")[0]
    assert 0 < told < 1000 and lost["process", "ring_full"] == 1000 - told + 1, (told, lost)
    assert capture.one(f"select count(*) from {{process}} where pid = {late.pid}") == (1,)


def is_told(recorder, pid):
    """Whether the kernel side has announced a process: its map has the announced state, its time, and whether it is complete."""
    for key, value in map_entries("told", recorder):
        if int.from_bytes(key[:4], "little") == pid:
            return int.from_bytes(value[32:40], "little") == 1
    return False


def threads_alive():
    return {int(path.parent.name) for path, _ in proc.texts("/proc/[0-9]*/task/*/comm")}


def maps(recorder):
    """Returns bpftool's data on the maps of the recorder's programs."""
    ids = [open_file["map_id"] for open_file in proc.descriptors(recorder.process.pid) if "map_id" in open_file]
    return [json.loads(run("bpftool", "-j", "map", "show", "id", id, check=True).stdout) for id in ids]


def map_entries(name, recorder):
    """Returns the keys and values of a map of the recorder's programs."""
    for known in maps(recorder):
        if known["name"] == name:
            found = json.loads(run("bpftool", "-j", "map", "dump", "id", str(known["id"]), check=True).stdout)
            whole = lambda words: bytes(int(word, 16) for word in words)
            return [(whole(entry["key"]), whole(entry["value"])) for entry in found]
    raise AssertionError(f"the recorder has no map {name}")


def entries(name, recorder):
    """Returns the keys of a map, as threads."""
    return {int.from_bytes(key[:4], "little") for key, _ in map_entries(name, recorder)}


# Maps with entries that a program removes, not the kernel by LRU eviction: by thread, by process, and by keys that no task has.
BY_THREAD = ("calls", "targets", "interrupted", "cpu_waits", "vfs_ops")
BY_PROCESS = ("tree",)
BY_OTHERS = ("bios", "crowded_async", "devices", "left_out", "own_io", "places", "servers", "stands_on", "used_devices")


def test_a_thread_that_calls_exec_leaves_nothing_under_its_own_id_and_the_process_goes_on(disk, record, tmp_path):
    program = compiled("thread_exec", tmp_path)
    (disk.mount / "file").write_bytes(b"x" * 64)
    execs, done, go = 50, tmp_path / "done", tmp_path / "go"
    script = f"{program} {execs} {disk.mount}/file; echo $? > {done}; while [ ! -e {go} ]; do sleep 0.05; done"
    recorder = record("--run-queue", "--", "sh", "-c", script)
    try:
        tables = {known["name"] for known in maps(recorder) if known["type"] in ("hash", "percpu_hash")}
        assert tables == {*BY_THREAD, *BY_PROCESS, *BY_OTHERS}, "a table that this test does not know"
        wait_for(lambda: done.exists() and done.read_text())
        # The shell starts and ends processes all the time, and the kernel frees a task only after a grace period of RCU, which takes long on a busy
        # machine. So the entries that are left over now must go, whatever comes meanwhile; a leaked entry stays.
        for name in BY_THREAD + BY_PROCESS:
            left_over = entries(name, recorder) - threads_alive()
            wait_for(lambda: not left_over & entries(name, recorder), f"no entries of threads that are gone in {name}: {left_over}")
        assert entries("calls", recorder) and entries("cpu_waits", recorder), "the shell makes calls"
        assert recorder.process.pid not in entries("tree", recorder) and entries("tree", recorder)
    finally:
        go.touch()
    capture = recorder.finish()
    assert done.read_text() == "0\n"
    # Each thread is in the recorded tree.
    inode = (disk.mount / "file").stat().st_ino
    found = capture.one(f"select count(*), count(distinct tid), count(distinct pid) from {{syscall}} where op = 'read' and ino = {inode}")
    assert found == (execs, execs, 1)
    assert capture.one("select count(*) from {process} where exe like '%/thread_exec'")[0] > execs


def interrupted(disk, record, directory, *arguments):
    """Returns the output of the program, and the recorded results and durations of its splices and writes."""
    program = compiled("interrupted", directory)
    recorder = record("--layers", "syscall", "--", program, disk.mount / "file", *arguments)
    printed = [int(word) for word in recorder.process.stdout.read().split()]
    capture = recorder.finish()
    capture.check_books()
    rows = capture.sql("select op, ret, dur_ns, ts_ns from {syscall} where comm = 'interrupted' and op in ('splice_out', 'pwrite64') order by ts_ns")
    assert capture.one("select count(*) from {syscall} where ret < -133") == (0,), "codes that no program sees"
    return printed, [row for row in rows if row[0] == "splice_out"], [row for row in rows if row[0] == "pwrite64"]


def test_a_call_that_the_kernel_begins_anew_is_one_that_took_long(disk, record, tmp_path):
    (done, calls, took), splices, _ = interrupted(disk, record, tmp_path, "restart", "5")
    assert (done, calls) == (5, 1)
    assert [ret for _, ret, _, _ in splices] == [5]
    # The program reads the clock before and after the call. The time since the last signal is less than half of that.
    assert took / 2 <= splices[0][2] / 1e6 <= took + 1


def test_a_call_that_ends_by_a_signal_has_the_result_that_the_program_sees(disk, record, tmp_path):
    (done, calls, took), splices, _ = interrupted(disk, record, tmp_path, "end", "5")
    assert done == 5 and 2 <= calls <= 6
    assert [ret for _, ret, _, _ in splices] == [-errno.EINTR] * (calls - 1) + [5]
    assert took / 2 <= sum(dur_ns for _, _, dur_ns, _ in splices) / 1e6 <= took + 1


def test_a_call_goes_on_after_a_handler_that_has_made_calls_too(disk, record, tmp_path):
    (done, calls, took), splices, writes = interrupted(disk, record, tmp_path, "work", "3")
    assert (done, calls) == (5, 1) and [ret for _, ret, _, _ in splices] == [5]
    assert [ret for _, ret, _, _ in writes] == [7] * 3
    assert took / 2 <= splices[0][2] / 1e6 <= took + 1 and all(splices[0][3] < ts_ns for *_, ts_ns in writes)


def test_a_call_whose_thread_is_killed_in_it_was_interrupted(disk, record, actors, tmp_path):
    actor = actors()
    actor.do(f"import threading; ends = os.pipe(); file = os.open('{disk.mount}/file', os.O_WRONLY | os.O_CREAT)")
    recorder = record("--pid", actor.pid, "--layers", "syscall")
    actor.process.stdin.write("os.splice(ends[0], file, 5)\n")
    actor.process.stdin.flush()
    wait_for(lambda: "pipe" in Path(f"/proc/{actor.pid}/wchan").read_text() or Path(f"/proc/{actor.pid}/syscall").read_text().startswith("275 "))
    os.kill(actor.pid, signal.SIGKILL)
    actor.process.wait()
    capture = recorder.stop()
    assert capture.sql("select ret from {syscall} where op = 'splice_out'") == [(-errno.EINTR,)]


def test_every_call_that_opens_a_file_has_a_row(disk, record, tmp_path):
    program = compiled("opens", tmp_path)
    capture = record("--layers", "syscall", "--", program, disk.mount / "file").finish()
    inode = (disk.mount / "file").stat().st_ino
    opened = capture.sql(f"select op, count(*) from {{syscall}} where ino = {inode} and op != 'close' group by op order by op")
    assert opened == [("creat", 1), ("open", 1), ("open_by_handle_at", 1), ("openat", 1), ("openat2", 1)]
    assert capture.one("select count(*) from {syscall} where op = 'close'")[0] >= 5


def test_files_that_are_doors_into_the_kernel_or_memory_are_no_regular_ones(record, tmp_path):
    program = compiled("doors", tmp_path)
    recorder = record("--layers", "syscall,fs", "--", program)
    made = dict(line.split() for line in recorder.process.stdout.read().splitlines())
    capture = recorder.finish()
    assert "pidfd" in made, made
    for name, number in made.items():
        kinds = capture.sql(f"select distinct fd_kind from {{syscall}} where ino = {number} and comm = 'doors'")
        assert kinds == ([("memory",)] if name in ("secretmem", "memfd") else []), name
        assert capture.sql(f"select distinct fd_kind from {{fs}} where ino = {number} and comm = 'doors'") == [], name
