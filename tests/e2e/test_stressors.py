"""File system stress tests by third-party programs: checked against the kernel's own counters of the processes (`/proc/PID/io`) and of the
disk.

The long form (`make soak`) has every stressor of stress-ng's classes `io` and `filesystem`, db_bench, postmark and sqlite3; the short one
two stressors.
"""

import os
import subprocess
import time
from typing import NamedTuple

import pytest
from conftest import Disk, Recorder, require
from test_totals import at_device
from witnessed import Witnessed, padding, recorded, unidentified_bytes

SOAK = bool(os.environ.get("IOSTRATA_SOAK"))
SECONDS = 4 if SOAK else 2
# Exit codes of stress-ng: it refused to start, one of the stressor's own checks failed, the machine or the kernel lacks a requirement.
REFUSED, CHECK_FAILED, NO_ROOM, LACKS = 1, 2, 3, 4


def stress(name):
    """Returns the command of one stressor, within the size of the disk."""
    def command(place):
        return [require("stress-ng"), f"--{name}", "1", "--timeout", f"{SECONDS}s", "--temp-path", place, "--hdd-bytes", "64M",
                "--fallocate-bytes", "64M", "--iomix-bytes", "32M", "--copy-file-bytes", "128M", "--readahead-bytes", "64M",
                "--seek-size", "64M", "--sync-file-bytes", "32M"]
    return command


def stressors():
    """Returns the stressors of the classes in the installed stress-ng."""
    if not SOAK:
        return ["hdd", "aiol"]
    names = set()
    for of in ("io", "filesystem"):
        listed = subprocess.run([require("stress-ng"), "--class", f"{of}?"], capture_output=True, text=True).stdout
        names |= set(listed.partition("stressors:")[2].split())
    assert len(names) > 50, names
    return sorted(names)


def db_bench(name, *options):
    def command(place):
        return [require("db_bench"), f"--db={place}/{name}", "--num=20000", "--value_size=1000", "--write_buffer_size=4194304", *options,
                "--benchmarks=fillseq,fillsync,overwrite,readrandom,readwhilewriting,compact,readseq"]
    return command


def postmark(place):
    (place / "script").write_text(f"set location {place}\nset number 500\nset transactions 5000\nrun\nquit\n")
    return [require("postmark"), place / "script"]


def sqlite3(journal):
    """Runs each row as a transaction, then reads everything that is not in the program's own cache, and rewrites the file."""
    def command(place):
        rows = "".join(f"insert into t values ({number}, randomblob({100 + number % 5000}));\n" for number in range(500))
        queries = "select sum(length(b)) from t; update t set b = randomblob(3000) where a % 3 = 0; delete from t where a % 7 = 0; vacuum;"
        pragmas = f"pragma journal_mode={journal}; pragma cache_size=8; create table t (a integer primary key, b);"
        (place / f"script-{journal}").write_text(f"{pragmas}\n{rows}{queries}\n")
        return [require("sqlite3"), "-init", place / f"script-{journal}", "-batch", place / f"database-{journal}", ""]
    return command


COMMANDS = {name: stress(name) for name in stressors()}
if SOAK:
    COMMANDS |= {
        "db_bench": db_bench("cached"),
        "db_bench-direct": db_bench("direct", "--use_direct_reads", "--use_direct_io_for_flush_and_compaction"),
        "db_bench-mmap": db_bench("mapped", "--mmap_read", "--mmap_write"),
        "postmark": postmark,
        **{f"sqlite3-{journal}": sqlite3(journal) for journal in ("delete", "wal", "truncate", "persist")},
    }


class Done(NamedTuple):
    """The kernel's counters of a command, its exit code and output, and begin and end including writeback."""

    account: dict
    code: int
    said: str
    began_ns: int
    ended_ns: int


class Stressed:
    """All commands in one recording, one after the other, on a file system that may be filled."""

    def __init__(self, disk, directory):
        self.disk = disk
        load = Witnessed(directory / "log")
        disk.settle()
        before = disk.stat()
        recorder = Recorder(directory / "run", "--pid", load.pid, "--ring-size", "128MiB", "--memory", "1GiB")
        try:
            done = {name: self.do(load, command) for name, command in COMMANDS.items()}
            load.end()
        except BaseException:
            recorder.process.kill()
            load.process.kill()
            raise
        self.capture = recorder.stop(expected=None)
        self.code = recorder.process.returncode
        self.kernel = {name: value - before[name] for name, value in disk.stat().items()}
        offset_ns = self.capture.manifest["clock"]["offset_ns"]
        self.done = {name: what._replace(began_ns=what.began_ns + offset_ns, ended_ns=what.ended_ns + offset_ns) for name, what in done.items()}

    def do(self, load, command):
        words = command(self.disk.mount)
        self.disk.settle()
        began_ns = time.monotonic_ns()
        account, code, said = load.run(*words)
        # Deleted files are not written back, and leftovers of other commands would interfere.
        self.disk.settle()
        return Done(account, code, said, began_ns, time.monotonic_ns())


@pytest.fixture(scope="module")
def stressed(recordable, tmp_path_factory):
    directory = tmp_path_factory.mktemp("stressed")
    disk = Disk(directory, mebibytes=512)
    try:
        yield Stressed(disk, directory)
    finally:
        disk.close()


def reads_by_owner(capture, during):
    """Returns what a failure is to show: which reads there are, by class and evidence, and what the filter excluded on each disk."""
    rows = capture.sql(f"""select class, evidence, pid is null, count(*), sum(bytes)::bigint from {{part}} where {during} and op = 'read'
        group by all order by all""")
    return rows, capture.manifest["filtered"]["disks"], capture.manifest["books"]["incomplete"]


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_moved_is_what_the_kernel_says(name, stressed):
    """Bytes of a command agree with the kernel's counters.

    Calls have no more bytes than the kernel counted, which also includes pipes, sockets and other transfers; disk I/O equals the kernel's
    charges exactly, except that reads which the capture counts as unidentified have no owner.
    """
    capture, done = stressed.capture, stressed.done[name]
    assert done.code in (0, REFUSED, CHECK_FAILED, NO_ROOM, LACKS), done.said
    during = f"ts_ns between {done.began_ns} and {done.ended_ns}"
    rows = recorded(capture, during)
    padded = padding(capture, during, os.statvfs(stressed.disk.mount).f_bsize)
    told = {what: (rows[what], done.account[what]) for what in rows}
    lost = dict(capture.sql(
        f"select class, sum(events)::bigint from {{loss}} where ts_ns >= {done.began_ns} and since_ns <= {done.ended_ns} group by all"))
    print(f"\n{name}: {told}, lost {lost}, of which zeroes at most {padded}, exit code {done.code}")
    for what, more in (("rchar", 0), ("wchar", 0), ("read_bytes", 0), ("write_bytes", padded)):
        assert told[what][0] <= told[what][1] + more, (what, told, padded)
    unowned = {"read_bytes": unidentified_bytes(capture, during), "write_bytes": 0}
    for what, classes in (("read_bytes", {"block"}), ("write_bytes", {"fs", "block"})):
        assert told[what][0] + unowned[what] >= told[what][1] or classes & lost.keys(), (what, told, unowned, reads_by_owner(capture, during))
    if done.code in (REFUSED, NO_ROOM, LACKS):
        pytest.skip(f"{name} is not done here: {' '.join(line for line in done.said.splitlines() if name in line)[:300]}")


def test_everything_that_the_disk_did_is_in_rows_or_counted(stressed):
    """All I/O of the disk is in rows or counted, as that of another process, or as that before the first use of the disk."""
    stressed.capture.check_books()
    for way in ("read", "write"):
        rows, others, before_use = at_device(stressed.capture, stressed.disk, way)
        assert rows + others + before_use == stressed.kernel[f"{way}_bytes"], (way, rows, others, before_use, stressed.kernel)
    lost = stressed.capture.lost_events()
    assert stressed.code == (3 if lost or stressed.capture.manifest["books"]["without_row"] else 0), (stressed.code, lost)
