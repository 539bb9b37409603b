"""Operations over time, against DuckDB."""

import csv

import duckdb
import pytest
from conftest import analyze

WINDOW_NS = 20_000_000
OPS = {"read": ("read", "pread64", "readv", "preadv"), "write": ("write", "pwrite64", "writev", "pwritev", "flush")}


@pytest.fixture(scope="module")
def capture(generate):
    return generate("--events", 200_000, "--files", 500, "--part-size", "128KiB")


@pytest.fixture(scope="module")
def timeline(capture, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    result = analyze("timeline", capture, "--window", f"{WINDOW_NS}ns", "--out", out, "--threads", 3)
    assert result.returncode == 0, result.stderr
    with open(out / "timeline.csv", newline="") as lines:
        return list(csv.DictReader(lines)), (out / "timeline.csv").read_bytes()


@pytest.fixture(scope="module")
def ask(capture):
    connection = duckdb.connect()
    return lambda query: connection.execute(query.format(capture=capture)).fetchall()


def test_windows_follow_each_other(timeline):
    since = [int(row["since_ns"]) for row in timeline[0]]
    assert len(since) > 20 and since == list(range(since[0], since[-1] + 1, WINDOW_NS)) and since[0] % WINDOW_NS == 0


@pytest.mark.parametrize("layer", ["syscall", "vfs", "block"])
@pytest.mark.parametrize("way", ["read", "write"])
def test_operations_bytes_and_durations_of_every_window_are_duckdbs(layer, way, timeline, ask):
    size = "bytes" if layer == "block" else "greatest(ret, 0)"
    quantiles = "quantile_disc(dur_ns, [0.5, 0.9, 0.99])"
    expected = {window: values for window, *values in ask(f"""select ts_ns // {WINDOW_NS} * {WINDOW_NS}, count(*), sum({size}), avg(dur_ns),
        max(dur_ns), count(dur_ns), {quantiles} from read_parquet('{{capture}}/{layer}/*.parquet') where op in {OPS[way]} group by all""")}
    percentiles = 0
    for row in timeline[0]:
        count, total, average, most, timed, exact = expected.get(int(row["since_ns"]), (0, 0, None, None, 0, [None] * 3))
        cell = f"{layer}_{way}"
        assert (int(row[f"{cell}_ops"]), int(row[f"{cell}_bytes"])) == (count, total)
        assert (row[f"{cell}_max_ns"] or None) == (str(most) if timed else None)
        assert not timed or abs(int(row[f"{cell}_avg_ns"]) - average) <= 0.5
        for name, needs, value in zip(("p50", "p90", "p99"), (2, 10, 100), exact):
            found = row[f"{cell}_{name}_ns"]
            assert (found != "") == (timed >= needs), (name, timed)
            assert found == "" or value <= int(found) <= value * 1.01
            percentiles += found != ""
    assert sum(int(row[f"{layer}_{way}_ops"]) for row in timeline[0]) == sum(values[0] for values in expected.values()) > 10_000
    assert percentiles > 40


@pytest.mark.parametrize("layer", ["syscall", "vfs", "block"])
def test_how_many_are_under_way_is_the_time_that_they_take_in_the_window(layer, timeline, ask):
    first = int(timeline[0][0]["since_ns"])
    spent = dict(ask(f"""with slot as (select unnest(range({len(timeline[0])})) * {WINDOW_NS} + {first} as since)
        select since, sum(least(ts_ns + dur_ns, since + {WINDOW_NS}) - greatest(ts_ns, since)) from slot
        join read_parquet('{{capture}}/{layer}/*.parquet') on ts_ns < since + {WINDOW_NS} and ts_ns + dur_ns > since group by all"""))
    for row in timeline[0]:
        assert float(row[f"{layer}_in_flight"]) == pytest.approx(int(spent.get(int(row["since_ns"]), 0)) / WINDOW_NS, abs=1e-9)
    assert max(spent.values()) > 0
    # Every operation is in some window: Little's law over the whole.
    ((total,),) = ask(f"select sum(dur_ns) from read_parquet('{{capture}}/{layer}/*.parquet')")
    assert sum(float(row[f"{layer}_in_flight"]) for row in timeline[0]) == pytest.approx(int(total) / WINDOW_NS)


def test_the_same_bytes_by_any_number_of_threads_and_a_window_is_a_selection(capture, timeline, tmp_path):
    for threads in (1, 2):
        out = tmp_path / str(threads)
        assert analyze("timeline", capture, "--window", f"{WINDOW_NS}ns", "--out", out, "--threads", threads).returncode == 0
        assert (out / "timeline.csv").read_bytes() == timeline[1]
    wide = tmp_path / "wide"
    assert analyze("timeline", capture, "--window", f"{2 * WINDOW_NS}ns", "--out", wide).returncode == 0
    with open(wide / "timeline.csv", newline="") as lines:
        rows = {int(row["since_ns"]): row for row in csv.DictReader(lines)}
    for row in timeline[0]:
        assert int(row["since_ns"]) // (2 * WINDOW_NS) * 2 * WINDOW_NS in rows
    assert sum(int(row["block_write_bytes"]) for row in rows.values()) == sum(int(row["block_write_bytes"]) for row in timeline[0])


def test_windows_that_are_too_many_are_refused_and_by_itself_they_become_wider(capture, tmp_path):
    refused = analyze("timeline", capture, "--window", "1us")
    assert refused.returncode == 1 and refused.stdout == "" and refused.stderr.count("\n") == 1
    assert "--window 1us: more than 10000 windows, expected a window of at least " in refused.stderr
    assert analyze("timeline", capture, "--window", "0s").returncode == 2
    shown = analyze("timeline", capture)
    assert shown.returncode == 0 and "IN_FLIGHT" in shown.stdout
