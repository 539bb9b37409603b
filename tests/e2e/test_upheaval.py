"""A machine that changes during a recording: its wall clock is stepped, a processor and the disk are removed and added again."""

import json

import pytest
from conftest import Capture, analyze, require, run
from machine import VM, fetch_kernel, make_payload

LINE = "6.12"
PHASES = [0, 100, 200, 300, 400, 500, 600]
HOUR_NS = 3600 * 10**9


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """Output of the machine."""
    fetch_kernel(LINE)
    payload = make_payload(tmp_path_factory, "upheaval/run.sh", f"{require('dd')}=/usr/local/bin/dd")
    out = tmp_path_factory.mktemp("vm") / "out"
    machine = run(VM / "boot.sh", "--kernel", LINE, "--payload", payload, "--out", out)
    assert machine.returncode == 0, machine.stdout + machine.stderr
    return out


def test_nothing_is_lost_and_nothing_has_a_wrong_name(left):
    capture = Capture(left / "capture")
    capture.check_books()
    assert capture.lost() == 0
    for table, block in (("block", "sector // 8"), ("syscall", "offset_bytes // 4096")):
        rows = capture.sql(f"""
            select {block} // 100 * 100 as phase, count(*), count(distinct {block}), max(comm), min(comm) from {{{table}}}
            where op = 'write' and {block} % 100 < 20 and comm = 'dd' group by phase order by phase""")
        assert rows == [(phase, 20, 20, "dd", "dd") for phase in PHASES], table
    health = json.loads((left / "status.json").read_text())
    assert {of["class"] for of in health["classes"]} >= {"block", "syscall"}


def test_steps_of_the_wall_clock_bend_no_duration_and_no_order(left):
    capture = Capture(left / "capture")
    for table, block in (("block", "sector // 8"), ("syscall", "offset_bytes // 4096")):
        where = f"op = 'write' and {block} % 100 < 20 and comm = 'dd'"
        longest, order = capture.one(f"select max(dur_ns), list({block} order by ts_ns) from {{{table}}} where {where}")
        assert 0 < longest < 60 * 10**9
        assert order == [phase + number for phase in PHASES for number in range(20)], table
        span = capture.one(f"select max(ts_ns) - min(ts_ns) from {{{table}}} where {where}")[0]
        assert 5 * 10**9 < span < HOUR_NS / 4
    # The table `clock` records the offset of the wall clock, and its start.
    steps = [round((wall - ts) / HOUR_NS, 2) for ts, wall in capture.sql("select ts_ns, wall_ns from {clock} order by ts_ns")]
    # The first row is the clock of the manifest itself, however late the first reading of the clocks was.
    assert steps[0] == 0 and 1 in steps and steps[-1] == 0, steps
    assert len(steps) >= 4 and set(steps) == {0, 1}, steps
    # The wall-clock time of each write is therefore known.
    hours = capture.sql("""
        select sector // 8 // 100, round(avg(clock.wall_ns - clock.ts_ns) / 3.6e12, 2)
        from {block} as block asof join {clock} as clock on block.ts_ns >= clock.ts_ns
        where op = 'write' and comm = 'dd' and sector // 8 % 100 < 20 group by 1 order by 1""")
    assert hours == [(0, 0), (1, 1), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0)]


def test_a_machine_that_sleeps_bends_nothing_and_the_clocks_tell(left):
    """A suspended machine distorts no durations, and the clocks show it: capture time stands still in the meantime, wall time and boot time
    continue."""
    capture = Capture(left / "capture")
    clocks = capture.sql("select ts_ns, boot_ns - ts_ns, wall_ns - ts_ns from {clock} order by ts_ns")
    slept = [(now[1] - before[1]) / 1e9 for before, now in zip(clocks, clocks[1:])]
    assert 3 < max(slept) < 15 and sum(abs(one) for one in slept) - max(slept) < 0.001, slept
    # Recorded at once: it is known which writes were before and which after.
    woke = clocks[slept.index(max(slept)) + 1][0]
    last, first = capture.one("""
        select max(ts_ns + dur_ns) filter (sector // 800 = 5), min(ts_ns) filter (sector // 800 = 6) from {block}
        where op = 'write' and comm = 'dd' and sector // 8 % 100 < 20""")
    assert last < woke < first + 10**9, (last, woke, first)
    assert abs((clocks[-1][2] - clocks[0][2]) / 1e9 - max(slept)) < 2


def test_a_disk_that_went_and_came_back_is_not_held_against_counters_that_began_anew(left):
    capture = Capture(left / "capture")
    book = next((book for book in capture.manifest["device_books"] if book["device"] == "nvme0n1"), None)
    assert book is None or book["balanced"], book
    code = (left / "record.code").read_text().strip()
    assert code == "0", (left / "record.txt").read_text()
    summary = analyze("summary", capture.directory)
    assert summary.returncode == 0, summary.stdout + summary.stderr
