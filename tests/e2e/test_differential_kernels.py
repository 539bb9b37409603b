"""Some fio jobs on Debian's 5.10, 6.1 and 6.12 in virtual machines, checked against fio's report and the kernel's counters."""

import pytest
from conftest import Capture, require, run
from fio import Job, check_latencies, check_operations, jobs_of, latencies
from machine import VM, check_counters, fetch_kernel, make_payload

JOBS = {f"job-{number}": Job(*row) for number, row in enumerate((
    ("psync", "randrw", "4k", 4, "processes", 1, "direct", 100),
    ("psync", "randwrite", "512", 4, "threads", 1, "direct", 50, ("--fdatasync=8",)),
    ("sync", "write", "4k", 1, "processes", 1, "buffered", 200, ("--file_append=1", "--fsync=16")),
    ("pvsync2", "randwrite", "4k", 1, "processes", 1, "buffered", 120, ("--sync=dsync",)),
    ("libaio", "randrw", "4k", 4, "processes", 32, "direct", 200),
    ("libaio", "randread", "4k", 1, "processes", 1024, "direct", 2000),
    ("libaio", "write", "256k", 1, "threads", 4, "direct", 120),
    ("io_uring", "randrw", "4k", 4, "processes", 32, "direct", 200),
    ("io_uring", "randread", "4k", 1, "processes", 256, "direct", 1000, ("--fixedbufs=1", "--registerfiles=1")),
    ("io_uring", "randread", "4k", 1, "processes", 8, "direct", 200, ("--registerfiles=1", "--sqthread_poll=1")),
    ("io_uring", "write", "64k", 1, "processes", 8, "buffered", 120, ("--fdatasync=16",)),
))}


@pytest.fixture(scope="session")
def payload(tmp_path_factory):
    directory = make_payload(tmp_path_factory, "differential/run.sh", "mkfs.ext4", f"{require('fio')}=/payload/bin/fio")
    (directory / "jobs").write_text("".join(f"{name} {' '.join(job.arguments())}\n" for name, job in JOBS.items()))
    return directory


@pytest.fixture(scope="session", params=["5.10", "6.1", "6.12"])
def booted(request, payload, tmp_path_factory):
    """Output of a kernel's machine: the line and the directory."""
    fetch_kernel(request.param)
    out = tmp_path_factory.mktemp("vm") / request.param
    machine = run(VM / "boot.sh", "--kernel", request.param, "--payload", payload, "--out", out, "--modules", "ext4")
    assert machine.returncode == 0, machine.stdout[-4000:] + machine.stderr[-2000:]
    return request.param, out


def report(out, name, job):
    """Returns fio's report of a job; skips the test if the kernel lacks what fio needs."""
    code, said = [(out / f"{name}.{what}").read_text().strip() for what in ("code", "err")]
    if code != "0" and any(refusal in said for refusal in ("Function not implemented", "Operation not supported", "Invalid argument")):
        pytest.skip(f"this kernel refuses {job.name}: {said.splitlines()[-1]}")
    assert code == "0", said
    [fios] = jobs_of((out / f"{name}.json").read_text())
    return fios


@pytest.mark.parametrize("name, job", JOBS.items(), ids=[job.name for job in JOBS.values()])
def test_operations_and_latencies_are_fios(booted, name, job, tmp_path):
    line, out = booted
    fios, capture = report(out, name, job), Capture(out / "capture")
    without = capture.manifest["layers"]["syscall"].get("without", [])
    assert without == (["io_uring"] if line == "5.10" else [])
    if job.engine in without:
        pytest.skip(f"Linux {line}: io_uring is not recorded before 6.0, which the capture says (what the disk did for it is tested)")
    check_operations(capture, job, fios, name)
    check_latencies(capture, job, fios, latencies(capture, tmp_path / "out"), name, is_emulated=True)


@pytest.mark.parametrize("name, job", [(name, job) for name, job in JOBS.items() if job.direct],
                         ids=[job.name for job in JOBS.values() if job.direct])
def test_what_is_not_cached_the_disk_does(booted, name, job):
    """With every engine, direct reads and writes are attributed to their process, to the byte."""
    _, out = booted
    fios, capture = report(out, name, job), Capture(out / "capture")
    for direction in ("read", "write"):
        moved = capture.one(f"""
            select coalesce(sum(bytes), 0)::bigint from {{part}} where op = '{direction}' and class = 'data' and evidence = 'direct'
            and (pid, start_ns) in (select (pid, start_ns) from {{process}} where exe = '/payload/bin/{name}')""")[0]
        assert moved == fios[direction]["io_bytes"], direction


def test_rows_are_what_the_kernel_counted(booted):
    _, out = booted
    assert (out / "record.code").read_text().strip() == "0", (out / "record.txt").read_text()
    capture = Capture(out / "capture")
    capture.check_books()
    assert capture.lost() == 0
    check_counters(capture, out)
