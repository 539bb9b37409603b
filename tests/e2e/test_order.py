"""Results that depend on the order of operations, against DuckDB's window functions, and for fio workloads with a known order."""

import csv
import random

import duckdb
import pytest
from conftest import BIN, ROOT, analyze, run
from fio import fio as jobs

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"
READS = ("read", "pread64", "readv", "preadv", "preadv2", "aio_read", "io_uring_read")
WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "aio_write", "io_uring_write", "flush")
# Enough rows for a table to be cut into periods that threads process one by one.
EVENTS = 3_000_000


@pytest.fixture(scope="module")
def capture(generate):
    return generate("--events", EVENTS, "--files", 500)


def table(name, capture, out, *arguments, code=0):
    """Returns the rows of one of the tables that the analysis of that name writes."""
    result = analyze(name.removesuffix("_depth"), capture, "--out", out, *arguments)
    assert result.returncode == code, result.stderr
    with open(out / f"{name}.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def ask(capture, layer, query):
    """Queries operations in order, each with its offset, its size and its owner."""
    parts = f"read_parquet('{capture}/{layer}/*.parquet', filename = true, file_row_number = true)"
    size, begin = ("bytes", "sector * 512") if layer == "block" else ("greatest(ret, 0)", "offset_bytes")
    file = "file_dev, ino, dev" if layer == "block" else "dev, ino"
    data = "not flags & 512" if layer == "block" else "fd_kind in ('regular', 'block')"
    flags = "flags" if layer == "block" else "null as flags"
    operations = f"""(select ts_ns, dur_ns, pid, op, {file}, {flags}, {size} as size, {begin} as place, filename, file_row_number as row,
        case when op in {READS} and {data} then 'read' when op in {WRITES} and {data} then 'write' end as way
        from {parts})""".replace("not flags & 512", "flags & 512 = 0")
    return duckdb.connect().execute(query.format(operations=operations)).fetchall()


SPACES = {
    ("block", "device"): ("dev", "dev"), ("block", "file"): ("file_dev || ':' || ino", "file_dev, ino, dev"), ("block", "process"): ("pid", "pid, dev"),
    ("syscall", "file"): ("dev || ':' || ino", "dev, ino"), ("syscall", "process"): ("pid", "pid, dev, ino"), ("vfs", "file"): ("dev || ':' || ino", "dev, ino"),
}


def number(dev):
    return f"{dev >> 20}:{dev & 0xFFFFF}"


@pytest.mark.parametrize("layer, scope", SPACES)
def test_steps_are_duckdbs(layer, scope, capture, tmp_path_factory):
    rows = table("pattern", capture, tmp_path_factory.mktemp("pattern"), "--layer", layer)
    who, space = SPACES[layer, scope]
    found = ask(capture, layer, f"""
        with moved as (select *, {who} as who from {{operations}} where way is not null and size > 0 and place is not null and ({who}) is not null),
        steps as (select *, lag(place + size) over space as before, place - lag(place) over space as stride from moved
            window space as (partition by {space}, way order by ts_ns, filename, row)),
        pairs as (select *, before = place as sequential, stride = lag(stride) over (partition by {space}, way order by ts_ns, filename, row) as again
            from steps)
        select who, way, count(*), sum(size), count(before), count(*) filter (sequential), count(*) filter (abs(place - before) > 1000000),
            avg(abs(place - before)), count(*) filter (again and not sequential) from pairs group by all""")
    name = {"process": str, "device": number, "file": lambda file: number(int(file.split(":")[0])) + ":" + file.split(":")[1]}[scope]
    expected = {(name(of), way): values for of, way, *values in found}
    mine = {(row["id"].split("@")[0], row["direction"]): row for row in rows if row["scope"] == scope}
    assert mine.keys() == expected.keys() and len(mine) > 1
    sequential = 0
    for of, (ops, size, steps, following, jumps, seek, strided) in expected.items():
        row = mine[of]
        assert [int(row[name]) for name in ("ops", "bytes", "steps", "sequential", "jumps", "strided")] == [ops, size, steps, following, jumps, strided]
        assert not steps or float(row["seek_avg_bytes"]) == pytest.approx(seek) and float(row["sequential_share"]) == pytest.approx(following / steps)
        sequential += following
    assert sequential > 1000


@pytest.mark.parametrize("layer", ["syscall", "vfs", "block"])
def test_times_between_operations_are_duckdbs(layer, capture, tmp_path):
    rows = {(row["scope"], row["direction"]): row for row in table("arrivals", capture, tmp_path, "--layer", layer) if row["scope"] == "all"}
    for way in ("all", "read", "write"):
        row, chosen = rows["all", way], "true" if way == "all" else f"way = '{way}'"
        ((ops, gap, least, median, far, longest, variation),) = ask(capture, layer, f"""
            with gaps as (select ts_ns - lag(ts_ns) over (order by ts_ns) as gap from {{operations}} where {chosen})
            select count(*), avg(gap), min(gap), quantile_disc(gap, 0.5), quantile_disc(gap, 0.99), max(gap), var_pop(gap) / avg(gap) ** 2 from gaps""")
        assert (int(row["ops"]), int(row["interarrival_min_ns"]), int(row["interarrival_max_ns"])) == (ops, least, longest)
        assert abs(int(row["interarrival_avg_ns"]) - gap) <= 0.5 and float(row["interarrival_scv"]) == pytest.approx(variation)
        assert median <= int(row["interarrival_p50_ns"]) <= median * 1.001 and far <= int(row["interarrival_p99_ns"]) <= far * 1.001
        told = 0
        for length, scale in (("1ms", 10**6), ("10ms", 10**7), ("100ms", 10**8), ("1s", 10**9), ("10s", 10**10)):
            ((intervals, index),) = ask(capture, layer, f"""
                with ends as (select min(ts_ns) // {scale} as first, max(ts_ns) // {scale} as last from {{operations}}),
                slots as (select unnest(range(first + 1, last)) as slot from ends),
                counts as (select ts_ns // {scale} as slot, count(*) as ops from {{operations}} where {chosen} group by all)
                select count(*), var_pop(coalesce(ops, 0)) / avg(coalesce(ops, 0)) from slots left join counts using (slot)""")
            assert (row[f"dispersion_{length}"] != "") == (intervals >= 10)
            assert intervals < 10 or float(row[f"dispersion_{length}"]) == pytest.approx(index)
            told += intervals >= 10
        assert told >= 3


@pytest.mark.parametrize("layer", ["syscall", "block"])
def test_how_many_are_under_way_is_duckdbs(layer, capture, tmp_path):
    rows = {(row["scope"], row["layer"]): row for row in table("queue", capture, tmp_path, "--layer", layer)}
    with open(tmp_path / "queue_depth.csv", newline="") as lines:
        found = {int(row["in_flight"]): int(row["time_ns"]) for row in csv.DictReader(lines) if row["scope"] == "all"}
    expected = dict(ask(capture, layer, """
        with changes as (select ts_ns as ns, 1 as change from {operations} where dur_ns is not null
            union all select ts_ns + dur_ns, -1 from {operations} where dur_ns is not null),
        moments as (select ns, sum(change)::bigint as change from changes group by ns),
        depths as (select sum(change) over (order by ns)::bigint as depth, lead(ns) over (order by ns) - ns as lasts from moments)
        select depth, sum(lasts)::bigint from depths where lasts is not null group by all"""))
    assert found == expected and len(found) > 3
    row = rows["all", layer]
    ((ops, untimed, average),) = ask(capture, layer, "select count(*), count(*) - count(dur_ns), avg(dur_ns) from {operations}")
    span = sum(expected.values())
    assert [int(row[name]) for name in ("ops", "untimed", "span_ns", "busy_ns", "max_in_flight")] == [
        ops, untimed, span, span - expected.get(0, 0), max(expected)]
    # Little's law, computed in both forms.
    assert float(row["avg_in_flight"]) == pytest.approx(sum(depth * ns for depth, ns in expected.items()) / span)
    assert float(row["littles_law_in_flight"]) == pytest.approx(float(row["avg_in_flight"])) and abs(int(row["avg_ns"]) - average) <= 0.5


@pytest.mark.parametrize("name", ["pattern", "arrivals", "queue"])
def test_the_same_bytes_by_any_number_of_threads(name, capture, tmp_path):
    written = []
    for threads in (1, 2, 5):
        out = tmp_path / str(threads)
        table(name, capture, out, "--threads", threads)
        written.append((out / f"{name}.csv").read_bytes())
    assert len(set(written)) == 1 and len(written[0].splitlines()) > 10


def fio(disk, *arguments):
    """Runs fio on a file of its own and returns its report."""
    return jobs("--name=known", f"--filename={disk.mount / 'file'}", "--size=16M", *arguments)[0]


def test_the_pattern_of_a_workload_is_the_one_that_it_was_told_to_have(disk, record, tmp_path):
    (disk.mount / "file").write_bytes(bytes(16 << 20))
    for rw, (sequential, strided, stride) in {
        "read": ((1, 1), (0, 0), ""), "randread": ((0, 0.01), (0, 0.02), None), "read:12k": ((0, 0), (0.99, 1), "16384"),
        "write": ((1, 1), (0, 0), ""), "randwrite": ((0, 0.01), (0, 0.02), None),
    }.items():
        recorder = record("--comm", "fio", "--device", disk.name, out=tmp_path / rw.replace(":", "-"))
        job = fio(disk, f"--rw={rw}", "--bs=4k", "--ioengine=psync", "--fallocate=none", "--overwrite=1", "--invalidate=0")
        capture = recorder.stop().directory
        way = rw.removeprefix("rand").split(":")[0]
        rows = table("pattern", capture, tmp_path / "out", "--layer", "syscall", "--file", "*/file")
        for scope in ("process", "file"):
            (row,) = [row for row in rows if (row["scope"], row["direction"]) == (scope, way)]
            assert int(row["ops"]) == job[way]["total_ios"] == int(row["steps"]) + 1
            assert sequential[0] <= float(row["sequential_share"]) <= sequential[1], (rw, row)
            assert strided[0] <= float(row["strided_share"]) <= strided[1], (rw, row)
            assert stride is None or row["stride_bytes"] == stride, (rw, row)


def test_under_way_are_as_many_as_the_workload_keeps_so(disk, record, tmp_path):
    recorder = record("--comm", "fio", "--device", disk.name)
    job = fio(disk, "--rw=randread", "--bs=4k", "--ioengine=libaio", "--iodepth=8", "--direct=1", "--time_based", "--runtime=3")
    rows = table("queue", recorder.stop().directory, tmp_path / "out", "--layer", "syscall")
    with open(tmp_path / "out" / "queue_depth.csv", newline="") as lines:
        depths = {int(row["in_flight"]): float(row["time_share"]) for row in csv.DictReader(lines) if row["scope"] == "all"}
    (row,) = [row for row in rows if row["scope"] == "all"]
    assert job["read"]["total_ios"] <= int(row["ops"])
    # fio reports the share of its submissions at this queue depth; one more call is in flight during a submission.
    assert job["iodepth_level"]["8"] > 90 and 7 <= float(row["p50_in_flight"]) <= 9
    assert int(row["max_in_flight"]) <= 10 and sum(depths.values()) == pytest.approx(1)
    assert float(row["avg_in_flight"]) == pytest.approx(float(row["littles_law_in_flight"]))


def test_a_timer_is_even_and_independent_operations_are_not(tmp_path):
    """A timer is regular and independent operations are not: in a synthetic trace, since a busy machine does not keep exact times."""
    found, chance = {}, random.Random(1)
    for process, step_us in (("linear", lambda: 3_000), ("poisson", lambda: chance.expovariate(1 / 3_000))):
        trace, capture, us = tmp_path / f"{process}.csv", tmp_path / process, 0.0
        with open(trace, "w") as lines:
            for number in range(20_000):
                us += step_us()
                lines.write(f"0,R,{number % 4096 * 4096},4096,{1577808000000000 + round(us)}\n")
        imported = run(BIN / "iostrata-analyze", "import", "--format", "alibaba", "--out", capture, trace)
        assert imported.returncode == 0, imported.stderr
        (found[process],) = [row for row in table("arrivals", capture, tmp_path / "out") if (row["scope"], row["direction"]) == ("all", "read")]
    assert all(int(row["ops"]) == 20_000 for row in found.values()), found
    # Both are 1 for independent arrivals; both are 0 for a timer with equal interarrival times, except for the truncation at the ends of
    # windows.
    for column in ("interarrival_scv", "dispersion_100ms"):
        assert float(found["poisson"][column]) == pytest.approx(1, abs=0.15), found["poisson"]
        assert float(found["linear"][column]) < 0.01, found["linear"]


def test_without_layers_or_with_losses_it_is_said(tmp_path):
    rows = table("pattern", FIXTURE, tmp_path)
    assert {row["layer"] for row in rows} == {"syscall", "vfs", "block"}
    assert all(row["lost_events"] == "0" for row in rows)
    (row,) = [row for row in rows if (row["scope"], row["layer"], row["name"], row["direction"]) == ("process", "syscall", "appender", "write")]
    assert float(row["sequential_share"]) == 1, "it appends"
