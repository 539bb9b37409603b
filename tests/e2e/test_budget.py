"""What the analyzer may take of memory."""

import sys

import pytest
from conftest import BIN, run

MIB = 1 << 20


@pytest.fixture(scope="module")
def capture(generate):
    return generate("--events", 3_000_000, "--processes", 60, "--files", 20_000)


# A process that was forked has its parent's memory for a moment, and the kernel remembers: so this small one starts it, and no test runner.
WITNESS = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def peak(*arguments):
    """Exit code, standard error, and the greatest memory that was resident, as the kernel counts it."""
    told = run(sys.executable, "-c", WITNESS, BIN / "iostrata-analyze", *arguments)
    code, most = map(int, told.stdout.split())
    return code, told.stderr, most


def test_less_memory_is_the_same_result(capture, tmp_path):
    for analysis, size in (("summary", 128), ("queue", 256), ("path", 256), ("pattern", 320), ("footprint", 384), ("report", 512)):
        results = []
        # As much as is taken unless something else is asked for, by more threads than there are CPUs.
        for options, size in ((("--threads", 8), 512), (("--threads", 2, "--memory", f"{size}MiB"), size)):
            out = tmp_path / f"{analysis}{size}{len(options)}"
            code, said, most = peak(analysis, capture, *options, "--out", out)
            assert code == 0, said
            assert most <= size * MIB, f"{analysis}: {most / MIB:.0f} MiB of {size}"
            results.append({file.name: file.read_bytes() for file in out.iterdir()})
        assert results[0] == results[1] and len(results[0]) >= 3


def test_what_would_take_more_is_refused_in_time(capture, tmp_path):
    code, said, most = peak("latency", capture, "--exact", "--memory", "64MiB", "--threads", 2, "--out", tmp_path / "out")
    assert code == 1 and len(said.splitlines()) == 1 and "this takes more than 64.0 MiB of memory" in said and "--since" in said, said
    # A piece of a part is read before it is noticed.
    assert most < 160 * MIB and not any((tmp_path / "out").glob("*.csv"))
    code, said, _ = peak("summary", capture, "--memory", "1MiB")
    assert code == 2 and "no less than 32.0 MiB" in said
