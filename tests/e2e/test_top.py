"""Top users of I/O, against DuckDB."""

import csv

import duckdb
import pytest
from conftest import analyze

LAYERS = ("syscall", "vfs", "block")
SUMS = ("ops", "read_ops", "write_ops", "read_bytes", "write_bytes", "time_ns")
DIRECTION = """case when op in ('read', 'pread64', 'readv', 'preadv') then 'read'
    when op in ('write', 'pwrite64', 'writev', 'pwritev', 'flush') then 'write' end"""


@pytest.fixture(scope="module")
def capture(generate):
    return generate("--events", 100_000, "--files", 500, "--part-size", "128KiB")


def top(capture, out, *options):
    result = analyze("top", capture, "--out", out, *options)
    assert result.returncode == 0, result.stderr
    with open(out / "top.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return rows, {(row["scope"], row["layer"], row["id"] or row["name"]): tuple(int(row[name]) for name in SUMS) for row in rows}


def expected(capture):
    """Returns the sums by scope, layer and ID."""
    found = {}
    number = "printf('%d:%d', {0} >> 20, {0} & 1048575)".format
    for layer in LAYERS:
        size, file = ("bytes", "file_dev") if layer == "block" else ("greatest(ret, 0)", "dev")
        # Files are on a partition of the disk, which is the next number.
        disk = "dev" if layer == "block" else "(dev - 1)"
        ids = {"process": "rows.pid || '@' || process.start_ns", "cgroup": "rows.cgroup_id::varchar",
               "file": f"{number(file)} || ':' || ino || '@1'", "device": number(disk)}
        for scope, name in ids.items():
            # Unowned requests are grouped by class.
            name = f"coalesce({name}, '(' || class || ')')" if layer == "block" else name
            for who, *sums in duckdb.connect().execute(f"""select {name}, count(*), count(*) filter (way = 'read'), count(*) filter (way = 'write'),
                    coalesce(sum({size}) filter (way = 'read'), 0), coalesce(sum({size}) filter (way = 'write'), 0), coalesce(sum(dur_ns), 0)
                    from (select *, {DIRECTION} as way from read_parquet('{capture}/{layer}/*.parquet')) rows
                    left join read_parquet('{capture}/process/*.parquet') process using (pid) group by all""").fetchall():
                found[scope, layer, str(who)] = tuple(int(value) for value in sums)
    return found


def test_everybody_is_duckdbs(capture, tmp_path):
    _, found = top(capture, tmp_path, "--most", 1_000_000)
    wanted = expected(capture)
    assert len(wanted) > 1_000 and found.keys() == wanted.keys()
    assert found == wanted


@pytest.mark.parametrize("by, key", [("bytes", lambda row: row[3] + row[4]), ("ops", lambda row: row[0]), ("time", lambda row: row[5])])
def test_those_who_did_most_come_first_and_all_others_are_one(by, key, capture, tmp_path):
    rows, found = top(capture, tmp_path, "--by", by, "--most", 3)
    wanted = expected(capture)
    for scope in ("process", "cgroup", "file", "device"):
        for layer in LAYERS:
            everybody = [sums for (of, at, _), sums in wanted.items() if (of, at) == (scope, layer)]
            shown = [found[scope, layer, row["id"] or row["name"]] for row in rows if (row["scope"], row["layer"]) == (scope, layer)]
            first = shown[:3]
            assert [key(sums) for sums in first] == sorted(map(key, everybody), reverse=True)[:3]
            assert len(shown) == min(4, len(everybody)), "and one for all others"
            assert [sum(column) for column in zip(*shown)] == [sum(column) for column in zip(*everybody)]
    shares = [float(row[f"{by}_share"]) for row in rows if (row["scope"], row["layer"]) == ("file", "syscall")]
    assert sum(shares) == pytest.approx(1) and rows[3]["name"] == "(others)"
