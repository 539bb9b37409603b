"""Processes that come and go faster than they could be looked up."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import require

SECONDS = 60 if os.environ.get("IOSTRATA_SOAK") else 8
MIB = 1 << 20


@pytest.fixture
def shortlived(tmp_path):
    program = tmp_path / "shortlived"
    source = Path(__file__).with_name("shortlived.c")
    subprocess.run([require("clang"), "-O2", "-Wall", "-Werror", "-o", program, source], check=True)
    return program


def test_processes_that_live_for_a_moment_have_their_own_names_and_leave_nothing(shortlived, record):
    file = Path("/dev/shm") / f"iostrata-test-{os.getpid()}"
    makers = 2
    commands = " & ".join(f"{shortlived} {file} {SECONDS}" for _ in range(makers))
    try:
        recorder = record("--layers", "syscall", "--", "sh", "-c", f"{commands} & wait")
        made = [int(line) for line in recorder.process.stdout.read().split()]
        capture = recorder.finish(expected=None)
    finally:
        file.unlink(missing_ok=True)
    assert len(made) == makers
    lost = capture.lost_events()
    print(f"{sum(made)} processes, {sum(made) / SECONDS:.0f} a second; lost {lost}")
    assert sum(made) / SECONDS > 2000, "too slow to tell anything"
    capture.check_books()
    # The recorded tree has room for 65,536 processes at a time: leaked entries would have overflowed it.
    assert sum(made) > 65_536 / 8 and ("process", "inflight_full") not in lost and ("syscall", "inflight_full") not in lost

    written = capture.one("select count(*) from {syscall} where op = 'pwrite64'")[0]
    assert sum(made) - lost.get(("syscall", "ring_full"), 0) <= written <= sum(made)
    # Each call has the name of the process that made it, and so does the process.
    assert capture.one("select count(*) from {syscall} where op = 'pwrite64' and comm != 'p' || offset_bytes") == (0,)
    wrong = capture.one("""
        select count(*), count(*) filter (where p.comm != s.comm) from {syscall} s
        asof join {process} p on s.pid = p.pid and s.ts_ns >= p.ts_ns where s.op = 'pwrite64'""")
    assert wrong[0] >= written - sum(count for (table, _), count in lost.items() if table == "process") and wrong[1] == 0, wrong
