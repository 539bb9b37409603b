"""Memory limit of the analyzer."""

import csv
import os
import sys

import pytest
from conftest import BIN, run, summary_rows

MIB = 1 << 20

# Number of processes that each read a file once, and the limit that is sufficient for them.
PROCESSES, FITS, LITTLE = (1_000_000, 512, 64) if os.environ.get("IOSTRATA_SOAK") else (200_000, 160, 40)

# An excess is detected with a delay.
BEYOND = 64


@pytest.fixture(scope="module")
def capture(generate):
    return generate("--events", 3_000_000, "--processes", 60, "--files", 20_000)


# A forked process has its parent's memory for a moment, which the kernel includes in the peak: so this small process starts it, not the test runner.
WITNESS = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def peak(*arguments):
    """Returns exit code, standard error, and the peak resident memory, as counted by the kernel."""
    told = run(sys.executable, "-c", WITNESS, BIN / "iostrata-analyze", *arguments)
    code, most = map(int, told.stdout.split())
    return code, told.stderr, most


def test_less_memory_is_the_same_result(capture, tmp_path):
    for analysis, size in (("summary", 128), ("queue", 256), ("path", 256), ("pattern", 320), ("footprint", 384), ("report", 512)):
        results = []
        # The default limit, with more threads than CPUs.
        for options, size in ((("--threads", 8), 512), (("--threads", 2, "--memory", f"{size}MiB"), size)):
            out = tmp_path / f"{analysis}{size}{len(options)}"
            code, said, most = peak(analysis, capture, *options, "--out", out)
            assert code == 0, said
            assert most <= size * MIB, f"{analysis}: {most / MIB:.0f} MiB of {size}"
            results.append({file.name: file.read_bytes() for file in out.iterdir()})
        assert results[0] == results[1] and len(results[0]) >= 3


def test_what_would_take_more_is_refused_in_time(capture, tmp_path):
    code, said, most = peak("latency", capture, "--exact", "--memory", "64MiB", "--threads", 2, "--out", tmp_path / "out")
    assert code == 1 and len(said.splitlines()) == 1 and "memory limit of 64.0 MiB exceeded" in said and "--since" in said, said
    # A piece of a part is read before the excess is detected.
    assert most < 160 * MIB and not any((tmp_path / "out").glob("*.csv"))
    code, said, _ = peak("summary", capture, "--memory", "1MiB")
    assert code == 2 and "at least 32.0 MiB" in said


@pytest.fixture(scope="module", params=["sh", "own"])
def short_lived(generate, request):
    """A capture of very many processes: with one name, in one system, or each with its own name, executable, cgroup and system."""
    name = ("--short-lived-name", "sh") if request.param == "sh" else ()
    return request.param, generate("--events", 20_000, "--short-lived", PROCESSES, *name)


def table(file):
    with open(file, newline="") as lines:
        yield from csv.DictReader(lines)


def test_very_many_short_lived_processes_fit(short_lived, tmp_path):
    kind, capture = short_lived
    for analysis in ("quality", "latency", "summary"):
        code, said, most = peak(analysis, capture, "--memory", f"{FITS}MiB", "--threads", 2, "--out", tmp_path / analysis)
        print(f"{PROCESSES} processes, {kind}: {analysis} {most / MIB:.0f} MiB")
        assert code == 0, said
        assert most <= FITS * MIB, f"{analysis}: {most / MIB:.0f} MiB of {FITS}"
    # Each of them is present, with its reads and its name.
    rows = summary_rows(tmp_path / "summary/summary.csv")
    assert len(rows) >= (PROCESSES if kind == "own" else 1)
    mine = [row for row in rows if row["system"] == "sh" or row["system"].startswith("job")]
    assert len(mine) == (PROCESSES if kind == "own" else 1)
    assert sum(int(row["syscall_read_ops"]) for row in mine) == PROCESSES
    processes = {}
    for row in table(tmp_path / "summary/amplification.csv"):
        if row["scope"] == "process" and " --job " in row["cmdline"]:
            number = int(row["cmdline"].split(" --job ")[1].split()[0])
            assert row["name"] == ("sh" if kind == "sh" else f"job{number}"[:15])
            processes[number] = processes.get(number, 0) + int(row["call_bytes"])
    assert len(processes) == PROCESSES and set(processes.values()) == {4096}
    calls = sum(int(row["count"]) for row in table(tmp_path / "summary/latency.csv")
                if row["layer"] == "syscall" and (row["system"] == "sh" or row["system"].startswith("job")))
    assert calls == PROCESSES
    # A terminal shows those with the most operations.
    shown = run(BIN / "iostrata-analyze", "summary", capture).stdout
    assert ("systems with fewer operations are not shown" in shown) == (kind == "own") and len(shown.splitlines()) < 1_200


def test_no_command_takes_much_more_than_it_may(short_lived, tmp_path):
    kind, capture = short_lived
    refused = set()
    commands = [(analysis, capture) for analysis in (
        "quality", "summary", "amplification", "latency", "timeline", "sizes", "heatmap", "footprint", "pattern", "arrivals", "queue", "path", "sync",
        "cache", "trace", "top", "report")]
    commands += [("compare", capture, capture), ("partial", "--to", tmp_path / "share", "summary", capture)]
    for command in commands:
        analysis, out = command[0], tmp_path / command[0]
        results = () if analysis == "partial" else ("--out", out)
        code, said, most = peak(*command, "--memory", f"{LITTLE}MiB", "--threads", 2, *results)
        print(f"{PROCESSES} processes, {kind}: {analysis} {code} {most / MIB:.0f} MiB")
        assert most <= (LITTLE + BEYOND) * MIB, f"{analysis}: {most / MIB:.0f} MiB of {LITTLE}"
        if code == 1:
            refused.add(analysis)
            assert len(said.splitlines()) == 1 and f"memory limit of {LITTLE}.0 MiB exceeded" in said and "--memory" in said, said
            assert not out.exists() or not any(out.iterdir())
        else:
            assert code in (0, 3), said
    # These fit nowhere, so the test did exercise refusals.
    assert {"summary", "trace", "report"} <= refused, refused
