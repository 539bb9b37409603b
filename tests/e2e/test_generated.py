"""Captures of `iostrata-generate`: large enough for histograms, with thousands of files, and every cell is compared with DuckDB. The
queries are those of the benchmark, which also shows that the benchmark compares equal results.
"""

import csv
import shutil
import sys
from collections import defaultdict

import duckdb
import pytest
from conftest import BIN, ROOT, analyze, relist, run, summary_rows

sys.path.insert(0, str(ROOT / "bench"))
import queries  # noqa: E402


@pytest.fixture(scope="module")
def capture(generate):
    """Several parts of each large table."""
    return generate("--events", 400_000, "--files", 3_000, "--part-size", "256KiB")


@pytest.fixture(scope="module")
def tables(capture, tmp_path_factory):
    """Returns the analyzer's results, table by table."""
    out = tmp_path_factory.mktemp("results")
    result = analyze("summary", capture, "--out", out, "--threads", 3)
    assert result.returncode == 0, result.stderr

    def read(name):
        with open(out / f"{name}.csv", newline="") as lines:
            return list(csv.DictReader(lines))
    return {"summary": summary_rows(out / "summary.csv")} | {name: read(name) for name in ("amplification", "latency")}


@pytest.fixture(scope="module")
def ask(capture):
    connection = duckdb.connect()
    for view in queries.duckdb_views(capture):
        connection.execute(view)
    return lambda query: connection.execute(query).fetchall()


def test_operations_and_bytes_are_duckdbs(tables, ask):
    expected = {}
    for layer, query in zip(("syscall", "vfs", "fs", "block"), queries.duckdb_summary()):
        for system, direction, ops, size, average in ask(query):
            if direction:
                expected[layer, system, direction] = (ops, size, average)
    compared = 0
    for row in tables["summary"]:
        for layer in ("syscall", "vfs", "block"):
            for direction in ("read", "write"):
                ops, size, average = expected.get((layer, row["system"], direction), (0, 0, None))
                cell = f"{layer}_{direction}"
                assert (int(row[f"{cell}_ops"]), int(row[f"{cell}_bytes"])) == (ops, size), (row["system"], cell)
                found = row[f"{cell}_avg_ns"]
                assert (found == "") == (average is None) and (not found or abs(int(found) - average) <= 0.5), (found, average)
                compared += ops > 0
    assert compared > 30 and {row["system"] for row in tables["summary"]} == {system for _, system, _ in expected} | {"jbd2"}


def test_bytes_of_every_process_cgroup_file_and_disk_are_duckdbs(capture, tables, ask):
    """Bytes of every process, cgroup, file and disk equal DuckDB's, also by class, by evidence, and for unattributed bytes."""
    classes = ("data", "metadata", "journal", "readahead", "swap", "flush", "discard")
    evidences = ("direct", "page", "inode", "cgroup", "none")
    expected = defaultdict(lambda: defaultdict(int))
    number = "printf('%d:%d', {0} >> 20, {0} & 1048575)".format
    file = f"{number('dev')} || ':' || ino || '@1'"
    ids = {"process": "pid || '@' || start_ns", "cgroup": "cgroup_id", "file": file, "device": number("dev")}
    starts = f"(select pid, start_ns from read_parquet('{capture}/process/*.parquet'))"
    for scope, name in ids.items():
        dev = "dev - 1" if scope == "device" else "dev"
        of_calls = name.replace("dev", dev) if scope == "device" else name
        for (who, direction, size) in ask(f"""select {of_calls}, direction, sum(greatest(ret, 0)) from syscall
                join {starts} using (pid) where direction is not null group by all"""):
            expected[scope, str(who), direction]["application_bytes"] += size
        for (who, direction, size) in ask(f"""select {of_calls}, direction, sum(bytes) from fs
                join {starts} using (pid) where op in ('fill', 'dirty') group by all"""):
            expected[scope, str(who), direction]["cached_bytes"] += size
        of_block = name.replace("dev", "file_dev") if scope == "file" else name
        for (who, direction, what, how, size) in ask(f"""select {of_block}, direction, class, evidence, sum(bytes) from block
                where direction is not null group by all"""):
            who = {"journal": "(journal)", "flush": "(flush)"}[what] if who is None else str(who)
            for column in (f"device_{what}_bytes", f"evidence_{how}_bytes", "device_bytes"):
                expected[scope, who, direction][column] += size
    columns = ["application_bytes", "cached_bytes", "device_bytes", *(f"device_{name}_bytes" for name in classes[:5]),
               *(f"evidence_{name}_bytes" for name in evidences)]
    found = {}
    for row in tables["amplification"]:
        if row["scope"] in ids:
            found[row["scope"], row["id"] or row["name"], row["direction"]] = {column: int(row[column] or 0) for column in columns}
    expected = {key: {column: sums[column] for column in columns} for key, sums in expected.items() if any(sums.values())}
    assert len(expected) > 3_000 and found.keys() == expected.keys()
    assert found == expected


def test_distributions_are_duckdbs_within_a_thousandth(tables, ask):
    phases = ("total", "queue", "insert", "device")
    expected = {}
    for layer, query in zip(("syscall", "vfs", "fs", "block"), queries.duckdb_latency()):
        for system, op, *columns in ask(query):
            for number, phase in enumerate(phases[: len(columns) // 5]):
                count, *values = columns[5 * number: 5 * number + 5]
                if count:
                    expected[system, layer, op, phase] = (count, *values)
    found = {(row["system"], row["layer"], row["op"], row["phase"]): row for row in tables["latency"]}
    assert found.keys() == expected.keys() and len(found) > 60
    histograms = 0
    for key, (count, average, least, most, quantiles) in expected.items():
        row = found[key]
        assert (int(row["count"]), int(row["min_ns"]), int(row["max_ns"])) == (count, least, most), key
        assert abs(int(row["avg_ns"]) - average) <= 0.5, key
        for name, value in zip(("p50", "p90", "p95", "p99", "p999", "p9999"), quantiles):
            if row[f"{name}_ns"]:
                assert abs(int(row[f"{name}_ns"]) - value) <= value / 1_000, (key, name)
                histograms += int(row[f"{name}_ns"]) != value
    assert histograms > 100, "all of them were exact"


def test_the_same_parameters_make_the_same_capture(capture, generate, tmp_path):
    again = generate("--events", 400_000, "--files", 3_000, "--part-size", "256KiB", out=tmp_path / "again")
    names = sorted(path.relative_to(capture) for path in capture.glob("*/*.parquet"))
    assert len(names) > 10 and names == sorted(path.relative_to(again) for path in again.glob("*/*.parquet"))
    assert all((capture / name).read_bytes() == (again / name).read_bytes() for name in names)
    refused = run(BIN / "iostrata-generate", "--out", again)
    assert refused.returncode == 1 and refused.stderr == f"iostrata-generate: {again}: is not empty, expected a new directory or an empty one\n"


def test_row_groups_of_one_row_are_the_same_result(generate, tmp_path):
    """Row groups of one row give the same result: rewritten by pyarrow with each row in a row group of its own."""
    from pyarrow import parquet

    capture = generate("--events", 9_000, "--files", 50)
    groups = tmp_path / "groups"
    shutil.copytree(capture, groups)
    alone = 0
    for part in sorted(groups.glob("*/*.parquet")):
        told = parquet.read_metadata(part)
        if told.num_rows == 0:
            continue
        columns = [told.row_group(0).column(index) for index in range(told.num_columns)]
        words = [column.path_in_schema for column in columns if any("DICTIONARY" in encoding for encoding in column.encodings)]
        parquet.write_table(parquet.read_table(part), part, compression="zstd", use_dictionary=words, row_group_size=1)
        alone += parquet.read_metadata(part).num_row_groups
    assert alone >= 9_000
    # The list of parts is updated to the new sizes.
    relist(groups)

    def results(capture, out):
        result = analyze("report", capture, "--out", out)
        assert result.returncode == 0, result.stderr
        # `quality` notes that another program wrote the parts.
        return {file.name: file.read_bytes() for file in out.glob("*.csv") if file.name != "quality.csv"}
    expected, found = results(capture, tmp_path / "expected"), results(groups, tmp_path / "found")
    assert found == expected and len(found) >= 18
