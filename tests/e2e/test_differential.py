"""A fixed set of fio jobs, each checked against fio's own report and against the kernel's counters of the disk."""

import os
import shutil
import time
from typing import NamedTuple

import pytest
from conftest import Disk, Loop, Recorder, require
from fio import CALLS, Job, check_latencies, check_operations, fio, latencies

# engine, rw, size, jobs, processes or threads, depth, buffered or direct, operations of each job, other options
JOBS = [Job(*row) for row in (
    ("sync", "randread", "4k", 1, "processes", 1, "buffered", 4000),
    ("sync", "write", "512", 4, "processes", 1, "buffered", 2000),
    ("sync", "randwrite", "4k", 1, "processes", 1, "direct", 1000, ("--sync=dsync",)),
    ("sync", "write", "4k", 1, "processes", 1, "buffered", 500, ("--file_append=1", "--fdatasync=8")),
    ("psync", "randrw", "4k", 8, "threads", 1, "direct", 500),
    ("psync", "randread", "512", 8, "processes", 1, "direct", 500),
    ("psync", "write", "4m", 1, "processes", 1, "direct", 100, ("--size=64M",)),
    ("psync", "randwrite", "4k", 1, "processes", 1, "direct", 500, ("--fdatasync=1",)),
    ("psync", "write", "64k", 4, "threads", 1, "buffered", 200, ("--fsync=16",)),
    ("psync", "read", "1m", 1, "processes", 1, "buffered", 200, ("--size=64M",)),
    ("pvsync", "randrw", "16k", 4, "processes", 1, "direct", 300),
    ("pvsync2", "randwrite", "4k", 4, "threads", 1, "buffered", 1000, ("--sync=dsync",)),
    ("libaio", "randread", "4k", 1, "processes", 1, "direct", 2000),
    ("libaio", "randwrite", "4k", 4, "processes", 32, "direct", 1000),
    ("libaio", "randwrite", "4k", 4, "threads", 32, "direct", 1000),
    ("libaio", "randrw", "4k", 8, "processes", 1, "direct", 500),
    ("libaio", "randrw", "4k", 1, "processes", 1024, "direct", 8000),
    ("libaio", "randread", "512", 1, "processes", 64, "direct", 4000, ("--iodepth_batch=64",)),
    ("libaio", "write", "4m", 1, "processes", 4, "direct", 100, ("--size=64M",)),
    ("libaio", "randwrite", "4k", 1, "processes", 8, "buffered", 3000),
    ("libaio", "randwrite", "4k", 1, "processes", 8, "direct", 1000, ("--fdatasync=32",)),
    ("io_uring", "randread", "4k", 1, "processes", 1, "direct", 2000),
    ("io_uring", "randrw", "4k", 4, "processes", 64, "direct", 1000),
    ("io_uring", "randrw", "4k", 8, "threads", 16, "direct", 500),
    ("io_uring", "randrw", "4k", 1, "processes", 1024, "direct", 8000),
    ("io_uring", "randread", "4k", 1, "processes", 32, "direct", 3000, ("--fixedbufs=1",)),
    ("io_uring", "randwrite", "4k", 1, "processes", 32, "direct", 3000, ("--registerfiles=1",)),
    ("io_uring", "randread", "4k", 1, "processes", 16, "direct", 2000, ("--sqthread_poll=1",)),
    ("io_uring", "randrw", "4k", 4, "threads", 16, "direct", 500, ("--fixedbufs=1", "--registerfiles=1", "--sqthread_poll=1")),
    ("io_uring", "randread", "4k", 1, "processes", 16, "direct", 1000, ("--sqthread_poll=1", "--force_async=1")),
    ("io_uring", "randread", "4k", 1, "processes", 16, "direct", 2000, ("--force_async=1",)),
    ("io_uring", "randrw", "8k", 1, "processes", 16, "direct", 2000, ("--nonvectored=0",)),
    ("io_uring", "randread", "512", 8, "processes", 16, "direct", 500),
    ("io_uring", "write", "4m", 1, "processes", 4, "direct", 100, ("--size=64M",)),
    ("io_uring", "write", "64k", 4, "processes", 8, "buffered", 200),
    ("io_uring", "randread", "4k", 1, "processes", 32, "buffered", 4000),
    ("io_uring", "write", "4k", 1, "processes", 4, "buffered", 500, ("--file_append=1", "--fdatasync=16")),
    ("io_uring", "randwrite", "4k", 1, "processes", 16, "direct", 1000, ("--fsync=16",)),
)]


class Files(Disk):
    """Files on ext4, separate for each job, laid out by fio."""

    def arguments_for(self, name, job):
        (self.mount / name).mkdir()
        arguments = [*job.arguments(), f"--directory={self.mount / name}"]
        fio(*arguments, "--create_only=1", "--overwrite=1")
        return arguments


class Bare(Loop):
    """A disk without a file system, shared by all jobs. The last close writes it back."""

    def arguments_for(self, _, job):
        return [*job.arguments(), f"--filename={self.device}"]

    def settle(self):
        pass


class Done(NamedTuple):
    """fio's report of a job, the increase of the disk's kernel counters, and begin and end in the time of the capture."""

    fios: dict
    kernel: dict
    began_ns: int
    ended_ns: int


class Differential:
    """All jobs in one recording, each by a program with its own name."""

    def __init__(self, place, jobs, directory):
        programs = directory / "bin"
        programs.mkdir()
        shutil.copy(require("fio"), programs / "fio")
        arguments = {name: place.arguments_for(name, job) for name, job in jobs.items()}
        place.settle()
        recorder = Recorder(directory / "run", "--device", place.name, "--ring-size", "64MiB", "--memory", "512MiB")
        try:
            for name in jobs:
                os.link(programs / "fio", programs / name)
            done = {name: self.do(place, programs / name, arguments[name]) for name in jobs}
        except BaseException:
            recorder.process.kill()
            raise
        self.capture = recorder.stop()
        self.name = place.name
        offset_ns = self.capture.manifest["clock"]["offset_ns"]
        self.done = {name: what._replace(began_ns=what.began_ns + offset_ns, ended_ns=what.ended_ns + offset_ns) for name, what in done.items()}
        self.latencies = latencies(self.capture, directory / "results")

    @staticmethod
    def do(place, program, arguments):
        began_ns, before = time.monotonic_ns(), place.stat()
        [fios] = fio(*arguments, program=program)
        place.settle()
        after = place.stat()
        return Done(fios, {name: after[name] - before[name] for name in after}, began_ns, time.monotonic_ns())


def named(jobs):
    return {f"job-{number}": job for number, job in enumerate(jobs)}


FILES = named(JOBS)
BARE = named(job for job in JOBS if job.direct and not any(option.startswith(("--sync=", "--fsync=", "--fdatasync=")) for option in job.options))


def at(make, jobs):
    """Returns a fixture with all jobs done on one target."""
    @pytest.fixture(scope="module")
    def done(recordable, tmp_path_factory):
        directory = tmp_path_factory.mktemp("differential")
        place = make(directory)
        try:
            yield Differential(place, jobs, directory)
        finally:
            place.close()
    return done


files, bare = at(lambda directory: Files(directory, mebibytes=1536), FILES), at(Bare, BARE)


def parameters(jobs):
    """Returns each job as a parameter with its name."""
    return [pytest.param(name, job, id=job.name) for name, job in jobs.items()]


@pytest.mark.parametrize("name, job", parameters(FILES))
def test_files(files, name, job):
    check(files, name, job)


@pytest.mark.parametrize("name, job", parameters(BARE))
def test_a_disk_without_a_file_system(bare, name, job):
    check(bare, name, job)


def test_everything_that_the_disk_did_is_in_rows(files):
    check_whole(files)


def test_everything_that_a_disk_without_a_file_system_did_is_in_rows(bare):
    check_whole(bare)


def check_whole(differential):
    differential.capture.check_books()
    assert differential.capture.lost() == 0
    differential.capture.check_device(differential.name)


def check(differential, name, job):
    capture, done = differential.capture, differential.done[name]
    check_operations(capture, job, done.fios, name)
    check_latencies(capture, job, done.fios, differential.latencies, name)
    check_device(capture, done)
    if job.direct:
        check_direct(capture, name, job, done.fios)


def check_device(capture, done):
    """Checks that everything the kernel counted during a job and its writeback is in rows of that time, to the byte."""
    then = f"ts_ns between {done.began_ns} and {done.ended_ns}"
    # A flush without data and without a captured end has no row; the whole recording has their number.
    unseen = sum(book.get("unseen_flushes") or 0 for book in capture.manifest["device_books"])
    for direction, ops in (("read", "('read')"), ("write", "('write', 'flush', 'write_zeroes')")):
        count, moved = capture.one(f"select count(*), coalesce(sum(bytes), 0)::bigint from {{block}} where {then} and op in {ops}")
        counted = done.kernel[f"{direction}_ops"]
        assert moved == done.kernel[f"{direction}_bytes"] and counted - unseen <= count <= counted, (direction, count, moved, done.kernel)
        # The kernel's time of a request begins at its allocation, which precedes insertion and issue, and ends after the program at its end
        # ran. It sums nanoseconds and shows whole milliseconds.
        parts = "coalesce(sum(dur_ns - coalesce(queue_ns, dur_ns)), 0)::bigint"
        spent = capture.one(f"select {parts} from {{block}} where {then} and op = '{direction}'")[0]
        assert spent <= (done.kernel[f"{direction}_ms"] + 1) * 1_000_000, (direction, spent, done.kernel)


def check_direct(capture, name, job, fios):
    """Checks that the disk does all direct I/O and no more, while the caller waits or the operation is in flight."""
    for direction, call in zip(("read", "write"), CALLS[job.engine]):
        data = f"from {{block}} where op = '{direction}' and class = 'data' and comm = '{name}' and evidence = 'direct'"
        bios, requests, timed, moved = capture.one(f"select coalesce(sum(bios), 0)::bigint, count(*), count(dur_ns), coalesce(sum(bytes), 0)::bigint {data}")
        assert moved == fios[direction]["io_bytes"], direction
        # One request for each operation: so the longest, the second longest and so on are no longer than their calls.
        if bios == requests == timed == fios[direction]["total_ios"] > 0:
            ranks = "quantile_disc(dur_ns, [0.5, 0.9, 0.99, 1.0])"
            [device] = capture.one(f"select {ranks} {data}")
            [called] = capture.one(f"select {ranks} from {{syscall}} where op = '{call}' and comm = '{name}'")
            assert all(0 < within <= around for within, around in zip(device, called)), (device, called)
