"""fio as the witness: its own counts, bytes and percentiles, from its JSON, against rows of the same operations."""

import csv
import json
import subprocess
from typing import NamedTuple

from conftest import analyze, require

# What fio's engines have rows as: reads, writes.
CALLS = {
    "sync": ("read", "write"),
    "psync": ("pread64", "pwrite64"),
    "pvsync": ("preadv", "pwritev"),
    "pvsync2": ("preadv2", "pwritev2"),
    "libaio": ("aio_read", "aio_write"),
    "io_uring": ("io_uring_read", "io_uring_write"),
}
ASYNCHRONOUS = ("libaio", "io_uring")
SYNCS = ("fsync", "fdatasync", "aio_fsync", "io_uring_fsync", "sync_file_range", "io_uring_sync_file_range")
# What moves no bytes and is no sync: fio opens its files, and asks for their room.
ASIDE = ("open", "openat", "close", "fallocate", "ftruncate", "unlink", "unlinkat")
# A bucket of fio's histogram is a 64th of its values wide, and a percentile is the middle of one. Ours have three digits.
BUCKET = 1 + 1 / 64
DIGITS = 1 + 1 / 1000


def fio(*arguments, program=None):
    """Runs fio, or a copy of it under another name; the jobs of its report."""
    command = [program or require("fio"), "--output-format=json", *map(str, arguments)]
    return jobs_of(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def jobs_of(report):
    """The jobs of a report in JSON, before which there may be messages."""
    return json.loads(report[report.index("{"):])["jobs"]


class Job(NamedTuple):
    """What fio does, counted in operations."""

    engine: str
    rw: str
    bs: str
    jobs: int
    how: str
    depth: int
    cache: str
    # By each of the jobs.
    operations: int
    options: tuple = ()

    @property
    def name(self):
        special = "-".join(option.lstrip("-").replace("=", "") for option in self.options if not option.startswith("--size"))
        words = (self.engine, self.rw, self.bs, f"{self.jobs}{self.how}", f"depth{self.depth}", self.cache, special)
        return "-".join(word for word in words if word)

    @property
    def direct(self):
        return self.cache == "direct"

    def arguments(self):
        """The clock is the one that the kernel side reads, and latencies are of whole operations too, not of parts alone."""
        size = [] if any(option.startswith("--size") for option in self.options) else ["--size=8M"]
        return [
            "--name=job", f"--ioengine={self.engine}", f"--rw={self.rw}", f"--bs={self.bs}", f"--numjobs={self.jobs}",
            f"--iodepth={self.depth}", f"--direct={int(self.direct)}", *size, "--io_size=100G", f"--number_ios={self.operations}",
            *(["--thread"] if self.how == "threads" else []), *self.options, "--group_reporting", "--clocksource=clock_gettime",
            "--clat_percentiles=1", "--lat_percentiles=1", "--percentile_list=50:99",
        ]


def latencies(capture, out):
    """p50 and p99 of system calls by system, which is called like the program, and by operation."""
    result = analyze("latency", capture.directory, "--layer", "syscall", "--out", out)
    assert result.returncode in (0, 3), result.stderr
    with open(out / "latency.csv", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["phase"] == "total"]
    return {(row["system"], row["op"]): {name: int(row[name]) for name in ("count", "p50_ns", "p99_ns") if row[name]} for row in rows}


def lost_operations(capture):
    """Reads and writes that the books count instead of a row, and whether there are any."""
    books = capture.manifest["books"]
    amounts = [account["lost_io"] for account in books["accounts"] if account["class"] == "syscall"]
    amounts.append(books["incomplete"]["unfinished_io"])
    return tuple(sum(amount[f"{way}_ops"] for amount in amounts) for way in ("read", "write"))


def check_operations(capture, job, fios, comm):
    """Every operation and byte of fio's has a row, and nothing else of fio's has one; what has none is counted as lost or under way."""
    reads, writes = CALLS[job.engine]
    rows = {op: (count, moved) for op, count, moved in capture.sql(f"""
        select op, count(*), sum(ret)::bigint from {{syscall}} where comm = '{comm}' and op not in {ASIDE} group by all""")}
    syncs = sum(rows.pop(op, (0, 0))[0] for op in SYNCS)
    for direction, op, lost in zip(("read", "write"), (reads, writes), lost_operations(capture)):
        count, moved = rows.pop(op, (0, 0))
        told = fios[direction]
        # Whose the lost ones were is not known.
        assert told["total_ios"] - lost <= count <= told["total_ios"], (op, count, lost, told["total_ios"])
        assert moved == told["io_bytes"] or lost, (op, moved, told["io_bytes"])
    # fio 3.33 counts what is no fsync (fdatasync, sync_file_range) beyond the end of an array; each has a latency all the same.
    told = fios["sync"]["lat_ns"]["N"]
    assert syncs == told or capture.lost(), (syncs, told)
    assert fios["sync"]["total_ios"] in (0, told)
    assert rows == {}, "fio did nothing else"


def check_latencies(capture, job, fios, ours, comm, is_emulated=False):
    """
    Each row is within what fio calls the operation's latency, by the same clock: fio looks before it calls and after it has been told,
    so every operation takes no longer by ours than by fio's, and of any rank the same holds. It does so whatever else the machine does.
    What calls do not wait for is within fio's total latency; of those that wait the completion latency is enough.

    The other way round it is fio's own time that lies between, a microsecond or a few. Whoever is preempted is so within the call
    nearly always, so for one in two operations to have taken four times as long by fio as by ours, where the device is waited for, ours
    must be wrong. Deep rings are told of when fio gets round to it, so it does not hold there, nor where a CPU is emulated, which is held
    up anywhere.
    """
    for direction, op in zip(("read", "write"), CALLS[job.engine]):
        told = fios[direction]["lat_ns" if job.engine in ASYNCHRONOUS else "clat_ns"]
        if not fios[direction]["total_ios"]:
            continue
        fio_p50, fio_p99 = (told["percentile"][rank] for rank in ("50.000000", "99.000000"))
        row = ours[comm, op]
        assert told["N"] == fios[direction]["total_ios"] and row["count"] <= told["N"]
        if row["count"] < told["N"]:
            continue
        assert 0 < row["p99_ns"] <= fio_p99 * BUCKET * DIGITS, (op, row, told)
        if job.direct and not is_emulated and (job.engine != "io_uring" or job.depth == 1):
            assert row["p50_ns"] * 4 >= fio_p50, (op, row, told)
    # Of syncs fio has no total latency, and the other one begins where the submission ends. There are few: the longest is compared.
    told = fios["sync"]["lat_ns"]
    if told["N"] and job.engine not in ASYNCHRONOUS:
        syncs = f"select count(*), max(dur_ns) from {{syscall}} where comm = '{comm}' and op in {SYNCS}"
        count, longest = capture.one(syncs)
        assert count < told["N"] or 0 < longest <= told["max"], (longest, told)
