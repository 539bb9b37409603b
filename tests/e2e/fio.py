"""fio as an independent check: counts, bytes and percentiles from its JSON, compared with rows of the same operations."""

import csv
import json
import subprocess
from typing import NamedTuple

from conftest import analyze, require

# Operations in rows of fio's engines: reads, writes.
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
# Operations that move no bytes and are no sync: fio opens its files, and allocates their space.
ASIDE = ("open", "openat", "close", "fallocate", "ftruncate", "unlink", "unlinkat")
# A bucket of fio's histogram is a 64th of its values wide, and a percentile is the middle of one. Ours have three digits.
BUCKET = 1 + 1 / 64
# The greatest percentile that fio reports: slower operations are in the last bucket (findings/fio-percentiles-end-at-17-seconds.sh).
LAST_BUCKET_NS = 17_112_760_320
DIGITS = 1 + 1 / 1000


def fio(*arguments, program=None):
    """Runs fio, or a copy of it under another name, and returns the jobs of its report."""
    command = [program or require("fio"), "--output-format=json", *map(str, arguments)]
    return jobs_of(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def jobs_of(report):
    """Returns the jobs of a JSON report, which messages may precede."""
    return json.loads(report[report.index("{"):])["jobs"]


class Job(NamedTuple):
    """A job of fio, with its size in operations."""

    engine: str
    rw: str
    bs: str
    jobs: int
    how: str
    depth: int
    cache: str
    # Operations of each of the jobs.
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
        """Returns fio's arguments: with the clock of the kernel side, and with latencies of whole operations in addition to their parts."""
        size = [] if any(option.startswith("--size") for option in self.options) else ["--size=8M"]
        return [
            "--name=job", f"--ioengine={self.engine}", f"--rw={self.rw}", f"--bs={self.bs}", f"--numjobs={self.jobs}",
            f"--iodepth={self.depth}", f"--direct={int(self.direct)}", *size, "--io_size=100G", f"--number_ios={self.operations}",
            *(["--thread"] if self.how == "threads" else []), *self.options, "--group_reporting", "--clocksource=clock_gettime",
            "--clat_percentiles=1", "--lat_percentiles=1", "--percentile_list=50:99",
        ]


def latencies(capture, out):
    """Returns p50 and p99 of system calls by system, which is named after the program, and by operation."""
    result = analyze("latency", capture.directory, "--layer", "syscall", "--out", out)
    assert result.returncode in (0, 3), result.stderr
    with open(out / "latency.csv", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["phase"] == "total"]
    return {(row["system"], row["op"]): {name: int(row[name]) for name in ("count", "p50_ns", "p99_ns") if row[name]} for row in rows}


def lost_operations(capture):
    """Returns the numbers of reads and writes that the event accounting counts instead of a row."""
    books = capture.manifest["books"]
    amounts = [account["lost_io"] for account in books["accounts"] if account["class"] == "syscall"]
    amounts.append(books["incomplete"]["unfinished_io"])
    return tuple(sum(amount[f"{way}_ops"] for amount in amounts) for way in ("read", "write"))


def check_operations(capture, job, fios, comm):
    """Checks that every operation and byte of fio has a row and that fio has no other rows; the rest is counted as lost or in flight."""
    reads, writes = CALLS[job.engine]
    rows = {op: (count, moved) for op, count, moved in capture.sql(f"""
        select op, count(*), sum(ret)::bigint from {{syscall}} where comm = '{comm}' and op not in {ASIDE} group by all""")}
    syncs = sum(rows.pop(op, (0, 0))[0] for op in SYNCS)
    for direction, op, lost in zip(("read", "write"), (reads, writes), lost_operations(capture)):
        count, moved = rows.pop(op, (0, 0))
        told = fios[direction]
        # The owner of the lost operations is unknown.
        assert told["total_ios"] - lost <= count <= told["total_ios"], (op, count, lost, told["total_ios"])
        assert moved == told["io_bytes"] or lost, (op, moved, told["io_bytes"])
    # fio 3.33 counts syncs other than fsync (fdatasync, sync_file_range) beyond the end of an array; each has a latency all the same.
    told = fios["sync"]["lat_ns"]["N"]
    assert syncs == told or capture.lost(), (syncs, told)
    assert fios["sync"]["total_ios"] in (0, told)
    assert rows == {}, "fio did nothing else"


def check_latencies(capture, job, fios, ours, comm, is_emulated=False):
    """Checks latencies against fio's.

    Each row lies within fio's latency of the operation, by the same clock: fio reads the clock before the call and after its completion, so
    every operation takes no longer by our rows than by fio, and the same holds for each rank, whatever the load of the machine. For
    asynchronous engines the bound is fio's total latency; for synchronous ones the completion latency is sufficient.

    In the other direction the difference is fio's own time, a microsecond or a few. Preemption falls nearly always within the call, so rows
    are wrong if the median by fio is more than four times ours where operations wait for the device. fio reaps deep rings late, so this is
    not checked for them, nor on an emulated CPU, which may stall anywhere.
    """
    for direction, op in zip(("read", "write"), CALLS[job.engine]):
        told = fios[direction]["lat_ns" if job.engine in ASYNCHRONOUS else "clat_ns"]
        if not fios[direction]["total_ios"]:
            continue
        fio_p50, fio_p99 = (told["percentile"][rank] for rank in ("50.000000", "99.000000"))
        if fio_p99 >= LAST_BUCKET_NS:
            fio_p99 = told["max"]
        row = ours[comm, op]
        assert told["N"] == fios[direction]["total_ios"] and row["count"] <= told["N"]
        if row["count"] < told["N"]:
            continue
        assert 0 < row["p99_ns"] <= fio_p99 * BUCKET * DIGITS, (op, row, told)
        if job.direct and not is_emulated and (job.engine != "io_uring" or job.depth == 1):
            assert row["p50_ns"] * 4 >= fio_p50, (op, row, told)
    # fio has no total latency of syncs, and the completion latency begins at the end of the submission. There are few syncs: the longest is
    # compared.
    told = fios["sync"]["lat_ns"]
    if told["N"] and job.engine not in ASYNCHRONOUS:
        syncs = f"select count(*), max(dur_ns) from {{syscall}} where comm = '{comm}' and op in {SYNCS}"
        count, longest = capture.one(syncs)
        assert count < told["N"] or 0 < longest <= told["max"], (longest, told)
