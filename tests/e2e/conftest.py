"""End-to-end tests: the real programs, real I/O, and independent checks from outside the project."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

BIN = Path(os.environ.get("IOSTRATA_BIN", "target/release"))
ROOT = Path(__file__).resolve().parents[2]


def run(*command, **options):
    """Runs a command to its end and returns it, with its output as text."""
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def process_io(pid):
    """Returns the kernel's I/O counters of a process."""
    return {name: int(value) for name, value in (line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())}


def analyze(*arguments):
    return run(BIN / "iostrata-analyze", *arguments)


def read_terminal(ours):
    """Returns everything that is printed on a terminal of which this is our side, until the other side is closed."""
    printed = b""
    while True:
        try:
            more = os.read(ours, 65536)
        # The other side is closed.
        except OSError:
            break
        if not more:
            break
        printed += more
    os.close(ours)
    return printed.decode()


def summary_rows(file):
    """Returns the rows of a summary.csv, one for each system, and checks that the total row is their sum."""
    with open(file, newline="") as lines:
        *rows, total = csv.DictReader(lines)
    assert total["system"] == "(total)"
    for column in (name for name in total if name.endswith(("_ops", "_bytes")) and "_amp_" not in name and not name.startswith("served_")):
        values = [int(row[column]) for row in rows if row[column]]
        served = int(total[column.replace("syscall_", "served_", 1)]) if column.startswith(("syscall_read_", "syscall_write_")) and total[column] else 0
        if values and column != "total_ops" and not column.startswith("vfs_"):
            assert int(total[column]) == sum(values) - served, column
    return rows


@pytest.fixture(scope="session")
def generate(tmp_path_factory):
    """Creates captures with `iostrata-generate`, the same for the same parameters."""
    def make(*parameters, out=None):
        out = out or tmp_path_factory.mktemp("generated") / "capture"
        made = run(BIN / "iostrata-generate", *parameters, "--out", out)
        assert made.returncode == 0, made.stderr
        return out
    return make


def why_not_recordable():
    """Returns the reason why this machine cannot record, or None."""
    if os.geteuid() != 0:
        return "recording needs root"
    checked = run(BIN / "iostrata", "check")
    if checked.returncode != 0:
        return "BPF cannot be loaded here: " + " ".join(checked.stdout.split())[:300]
    if run("losetup", "-f").returncode != 0:
        return "there are no loop devices here"
    return None


@pytest.fixture(scope="session")
def recordable():
    """For tests that load BPF on the machine itself: skipped, with the reason, where it cannot."""
    reason = why_not_recordable()
    if reason:
        pytest.skip(reason)


def pytest_itemcollected(item):
    """Marks tests that record on the machine itself, for `scripts/test-e2e.sh`."""
    if "recordable" in item.fixturenames:
        item.add_marker(pytest.mark.machine)


def pytest_runtest_setup(item):
    """Keeps the test for `require_machine`."""
    require_machine.test = item


def require_machine():
    """Fails in a test that is not marked as one on the machine itself: it would run beside another one and be in its numbers.

    The mark is known from fixtures in a test's parameters, not from those that it asks for while it runs.
    """
    test = require_machine.test
    assert test.get_closest_marker("machine"), f"{test.nodeid} records on the machine, and has no parameter that says so, such as `recordable`"


class Loop:
    """A loop device for one test."""

    def __init__(self, directory, mebibytes=256):
        require_machine()
        self.image = directory / "disk.img"
        self.scheduler = None
        with open(self.image, "wb") as image:
            image.truncate(mebibytes << 20)
        self.prepare()
        self.device = run("losetup", "-f", "--show", self.image, check=True).stdout.strip()
        self.name = self.device.removeprefix("/dev/")

    @property
    def number(self):
        """Returns its device number, as in rows."""
        major, minor = (int(word) for word in Path(f"/sys/block/{self.name}/dev").read_text().split(":"))
        return major << 20 | minor

    def prepare(self):
        """Prepares the image before the device exists."""

    def stat(self):
        """Returns the kernel's counters by the fields of Documentation/block/stat.rst; sectors as bytes."""
        fields = [int(word) for word in Path(f"/sys/block/{self.name}/stat").read_text().split()]
        return {
            "read_ops": fields[0],
            "read_merges": fields[1],
            "read_bytes": fields[2] * 512,
            "read_ms": fields[3],
            "write_ops": fields[4],
            "write_merges": fields[5],
            "write_bytes": fields[6] * 512,
            "write_ms": fields[7],
            "flush_ops": fields[15],
        }

    def choose_scheduler(self, name):
        """Sets the I/O scheduler; `close` restores it, because a loop device keeps it for its next user."""
        setting = Path(f"/sys/block/{self.name}/queue/scheduler")
        offered = setting.read_text()
        if name not in offered:
            pytest.skip(f"this kernel has no {name}, but {offered.strip()}")
        self.scheduler = self.scheduler or re.search(r"\[(.+)\]", offered)[1]
        setting.write_text(name)

    def close(self):
        if self.scheduler:
            self.choose_scheduler(self.scheduler)
        subprocess.run(["losetup", "-d", self.device], check=False)


@pytest.fixture
def loop(recordable, tmp_path):
    """A loop device without a file system."""
    loop = Loop(tmp_path)
    yield loop
    loop.close()


class Disk(Loop):
    """An ext4 file system on a loop device of its own."""

    def __init__(self, directory, backing=None, mebibytes=256):
        super().__init__(backing or directory, mebibytes)
        self.mount = directory / "mnt"
        self.mount.mkdir()
        # ext4 would read its bitmaps ahead in the background, during any recording.
        subprocess.run(["mount", "-o", "no_prefetch_block_bitmaps", self.device, self.mount], check=True)

    def prepare(self):
        # No lazy initialization: its writes belong to no workload and occur at any time.
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image], check=True)

    def settle(self):
        """Writes everything back and drops the cache, so that no earlier I/O is completed later."""
        subprocess.run(["sync", "-f", self.mount], check=True)
        Path("/proc/sys/vm/drop_caches").write_text("3")

    def close(self):
        # A process that has just ended may still use it.
        wait_for(lambda: not os.path.ismount(self.mount) or run("umount", self.mount).returncode == 0, f"{self.mount} is in use", 30)
        super().close()


@pytest.fixture
def disk(recordable, tmp_path):
    disk = Disk(tmp_path)
    yield disk
    disk.close()


class Overlay(NamedTuple):
    """The directories of an overlay on a disk."""

    lower: Path
    upper: Path
    work: Path
    merged: Path


@pytest.fixture
def overlay(disk):
    directories = Overlay(*(disk.mount / name for name in Overlay._fields))
    for directory in directories:
        directory.mkdir()
    options = f"lowerdir={directories.lower},upperdir={directories.upper},workdir={directories.work}"
    mounted = run("mount", "-t", "overlay", "overlay", "-o", options, directories.merged)
    if mounted.returncode != 0:
        pytest.skip(f"this kernel mounts no overlay: {mounted.stderr.strip()}")
    yield directories
    subprocess.run(["umount", directories.merged], check=True)


def wait_for(holds, what="what is waited for", patience_s=180):
    """Polls until `holds` returns a true value, and returns that value."""
    deadline = time.monotonic() + patience_s
    while not (found := holds()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


def whole_until_ns(directory):
    """Returns the last completeness time written by the recorder of a running capture (docs/explanation/reliability.md)."""
    text = (directory / ".whole").read_bytes()
    return max(int(text[place : place + 20]) for place in (0, 4096))


def health_of(directory):
    """Returns the status of the recorder of a capture."""
    told = run(BIN / "iostrata", "status", "--format", "json", directory)
    assert told.returncode in (0, 3), told
    return json.loads(told.stdout)


def lost_so_far(health, table):
    """Returns the lost events of a table by cause, from the status of a recorder."""
    return next((account["lost"] for account in health["classes"] if account["class"] == table), {})


# Requests by owner, class and file: each byte of `block` once. Unattributed bytes have no pid.
PARTS = """(
    select ts_ns, op, pid, start_ns, comm, cgroup_id, evidence, class, ino, owned_bytes as bytes from {block} where pid is not null
    union all
    select ts_ns, op, null, null, null, case when pid is null then cgroup_id end, case when pid is null then evidence else 'none' end, class, null,
        bytes - owned_bytes - shared_bytes
    from {block} where bytes > owned_bytes + shared_bytes
    union all
    select ts_ns, op, pid, start_ns, comm, cgroup_id, evidence, class, ino, bytes from {share})"""


TABLES = ("syscall", "vfs", "fs", "block", "share", "process", "file", "clock", "loss")


def parts_of(directory):
    """Returns the finished parts in the list of a capture, and the removed ones by table. A last line without a newline is ignored."""
    parts, removed = {}, {}

    def remove(table, **what):
        known = removed.setdefault(table, {"table": table, "parts": 0, "rows": 0, "bytes": 0, "last_ts_ns": None})
        known["last_ts_ns"] = max((ns for ns in (known["last_ts_ns"], what.pop("last_ts_ns")) if ns is not None), default=None)
        known.update({name: known[name] + count for name, count in what.items()})

    for line in (directory / "parts.jsonl").read_bytes().split(b"\n")[:-1]:
        [(event, what)] = json.loads(line).items()
        if event == "finished":
            assert what["file"] not in parts, line
            parts[what["file"]] = what
        elif event == "removed":
            part = parts.pop(what)
            remove(part["table"], parts=1, **{name: part[name] for name in ("rows", "bytes", "last_ts_ns")})
        else:
            assert event == "removed_sum", line
            remove(**what)
    return list(parts.values()), list(removed.values())


def relist(directory):
    """Updates the list of a capture after its parts were rewritten, and returns the parts."""
    listed, _ = parts_of(directory)
    for part in listed:
        path = directory / part["file"]
        part["bytes"] = path.stat().st_size
        part["rows"], part["first_ts_ns"], part["last_ts_ns"] = duckdb.sql(f"select count(*), min(ts_ns), max(ts_ns) from '{path}'").fetchall()[0]
    (directory / "parts.jsonl").write_text("".join(json.dumps({"finished": part}) + "\n" for part in listed))
    return listed


class Capture:
    """A finished capture, read by DuckDB."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.manifest = json.loads((self.directory / "manifest.json").read_text())
        assert not self.manifest.keys() & {"parts", "removed"}, "one place for each fact"
        self.manifest["parts"], self.manifest["removed"] = parts_of(self.directory)

    def sql(self, query):
        """Returns the rows of a query in which {block}, {syscall}, … represent tables, and {part} represents PARTS."""
        folders = {path.name for path in self.directory.iterdir() if path.is_dir()}
        tables = {name: f"'{self.directory}/{name}/*.parquet'" for name in folders.union(TABLES)}
        tables["part"] = PARTS.format(**tables)
        return duckdb.sql(query.format(**tables)).fetchall()

    def one(self, query):
        return self.sql(query)[0]

    def lost_events(self):
        """Returns the non-zero numbers of lost events by class and cause."""
        lost = {}
        for account in self.manifest["books"]["accounts"]:
            for cause, count in account["lost"].items():
                if count:
                    lost[account["class"], cause] = lost.get((account["class"], cause), 0) + count
        return lost

    def lost(self):
        return sum(self.lost_events().values())

    def unseen_ends(self):
        """Returns the number of requests that ended without a captured end: rows without a duration."""
        return self.manifest["books"]["incomplete"]["unseen_ends"]

    def check_books(self):
        """Checks that every event seen is a row of a finished part or counted as lost; rows are counted by DuckDB."""
        accounts = self.manifest["books"]["accounts"]
        assert accounts, "no accounts at all"
        for account in accounts:
            assert account["seen"] == account["written"] + sum(account["lost"].values()), account
        for table in {account["class"] for account in accounts}:
            written = sum(account["written"] for account in accounts if account["class"] == table)
            removed = sum(removed["rows"] for removed in self.manifest["removed"] if removed["table"] == table)
            assert self.one(f"select count(*) + {removed} from {{{table}}}") == (written,), table
        # The rows of `loss` add up to the total losses.
        told = dict(((table, cause), events) for table, cause, events in self.sql("select class, cause, sum(events)::bigint from {loss} group by all"))
        lost = self.lost_events()
        unseen = {key: told.pop(key) for key in list(told) if key[1] == "unseen_end"}
        assert all(events <= lost[key] for key, events in unseen.items()), unseen
        assert told == {(table, cause): events for (table, cause), events in lost.items() if cause != "unseen_end"}

    def check_device(self, name, busy=False):
        """Checks that rows and the recorder's own I/O equal the kernel's counters: to the byte, unless the device may have been busy when
        the recording began or ended."""
        book = next(book for book in self.manifest["device_books"] if book["device"] == name)
        assert book["balanced"], book
        assert busy or not any(book["edges"].values()), book
        return book


class Recorder:
    """A running `iostrata record`."""

    def __init__(self, out, *arguments, prefix=(), wait=True, segment="", stdout=subprocess.PIPE, stderr=subprocess.PIPE):
        require_machine()
        self.root, self.out = Path(out), Path(out) / segment
        command = [*prefix, BIN / "iostrata", "record", "--out", out, *arguments]
        self.process = subprocess.Popen([str(word) for word in command], stdout=stdout, stderr=stderr, text=True)
        deadline = time.monotonic() + 60
        while wait and not (self.out / "manifest.json").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError(f"the recorder did not start: {self.process.communicate()[1]}")
            time.sleep(0.02)

    def stop(self, signal_number=signal.SIGTERM, expected=0):
        self.process.send_signal(signal_number)
        return self.finish(expected)

    def finish(self, expected=0):
        self.text = self.process.communicate(timeout=60)[1]
        assert expected is None or self.process.returncode == expected, f"exit code {self.process.returncode}: {self.text}"
        return Capture(self.out)

    def status(self):
        """Returns its status."""
        return health_of(self.root)

    def wait_until(self, holds, patience_s=180):
        """Polls its status until `holds` accepts it, and returns the status."""
        deadline = time.monotonic() + patience_s
        while not holds(health := self.status()):
            assert time.monotonic() < deadline, health
            time.sleep(0.1)
        return health

    def peak_rss_bytes(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


@pytest.fixture
def record(recordable, tmp_path):
    """Starts recorders; kills those that a failed test left running."""
    started = []

    def start(*arguments, out=None, **options):
        started.append(Recorder(out or tmp_path / f"run{len(started)}", *arguments, **options))
        return started[-1]

    yield start
    for recorder in started:
        if recorder.process.poll() is None:
            recorder.process.kill()
            # Not to the end of its output: a command that it ran may continue, and hold the pipe open.
            recorder.process.wait()


def require(program):
    """Returns the path of a program that `make setup` installs."""
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    assert path, f"{program} is missing: run `make setup`"
    return path


# Runs a command as a user without any privilege.
AS_NOBODY = [shutil.which("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []


@pytest.fixture
def public_dir():
    """A directory that every user may enter; pytest's own directories are restricted to its user."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


NOBODY = 65534


def make_nobodys(directory):
    """Creates a directory of a user without any privilege."""
    directory.mkdir(mode=0o755)
    os.chown(directory, NOBODY, NOBODY)
    return directory


@pytest.fixture
def theirs(public_dir):
    return make_nobodys(public_dir / "theirs")


def install(program, directory):
    """Copies one of the programs to a directory where every user may run it."""
    copy = directory / program
    shutil.copy(BIN / program, copy)
    copy.chmod(0o755)
    return copy


# Executes its input line by line, so that a test controls which process does what and when.
OBEY = "import mmap, os, sys\nfor line in sys.stdin:\n    exec(line)\n    print('done', flush=True)"


class Actor:
    """A process that executes lines of Python on request."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", OBEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def do(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n", line

    def io(self):
        """Returns the kernel's I/O counters of this process, /proc/PID/io."""
        with open(f"/proc/{self.pid}/io") as lines:
            return {key: int(value) for key, value in (line.split(":") for line in lines)}

    def end(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


@pytest.fixture
def spawn(recordable):
    """Starts processes; all have ended at the end of the test."""
    running = []

    def start(*command, **options):
        running.append(subprocess.Popen([*map(str, command)], **options))
        return running[-1]
    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def actors():
    """Starts actors; all have ended at the end of the test."""
    with contextlib.ExitStack() as stack:

        def start():
            actor = Actor()
            # Waits for the end of the process: its open files keep a file system mounted.
            stack.callback(actor.process.wait)
            stack.callback(actor.process.kill)
            return actor

        yield start
