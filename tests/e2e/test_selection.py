"""Filters of an analysis: time ranges, layers, systems, processes, cgroups, files and devices, against DuckDB."""

import csv
from datetime import datetime, timedelta, timezone

import duckdb
import pytest
from conftest import ROOT, analyze, summary_rows

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"
READS = ("read", "pread64", "readv", "preadv")
WRITES = ("write", "pwrite64", "writev", "pwritev", "flush")


@pytest.fixture(scope="module")
def capture(generate):
    return generate("--events", 60_000, "--files", 500, "--part-size", "128KiB")


@pytest.fixture(scope="module")
def ask(capture):
    connection = duckdb.connect()
    return lambda query: connection.execute(query.format(capture=capture)).fetchone()


@pytest.fixture
def tables(tmp_path):
    """Returns the results of a command for a capture with a selection, by table."""
    def of(command, capture, *selection):
        out = tmp_path / "results"
        result = analyze(command, capture, "--out", out, *selection)
        assert result.returncode == 0, result.stderr
        read = {}
        for path in out.glob("*.csv"):
            with open(path, newline="") as lines:
                read[path.stem] = summary_rows(path) if path.stem == "summary" else list(csv.DictReader(lines))
        return read, result.stdout
    return of


def totals(tables):
    """Returns operations and bytes of all systems together."""
    columns = [f"{layer}_{way}_{unit}" for layer in ("syscall", "vfs", "block") for way in ("read", "write") for unit in ("ops", "bytes")]
    return {column: sum(int(row[column] or 0) for row in tables["summary"]) for column in columns}


def asked(ask, where, layers=("syscall", "vfs", "block")):
    """Returns the same from DuckDB; `where` is by layer."""
    found = {}
    for layer in ("syscall", "vfs", "block"):
        size = "bytes" if layer == "block" else "greatest(ret, 0)"
        for way, ops in (("read", READS), ("write", WRITES)):
            count, total = (0, 0) if layer not in layers else ask(
                f"select count(*), coalesce(sum({size}), 0) from read_parquet('{{capture}}/{layer}/*.parquet') "
                f"where op in {ops} and ({where(layer)})")
            found[f"{layer}_{way}_ops"], found[f"{layer}_{way}_bytes"] = count, int(total)
    return found


def test_a_window_has_what_began_in_it_and_two_windows_have_all(capture, tables, ask):
    whole, _ = tables("summary", capture)
    assert totals(whole) == asked(ask, lambda layer: "true")
    (middle,) = ask("select median(ts_ns) from read_parquet('{capture}/syscall/*.parquet')")
    middle = int(middle) // 1_000 * 1_000
    time = datetime.fromtimestamp(middle // 10**9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + f".{middle % 10**9:09d}Z"
    before, shown = tables("summary", capture, "--until", time)
    assert "only: until 2026-01-01T" in shown
    since, _ = tables("summary", capture, "--since", time)
    assert totals(before) == asked(ask, lambda layer: f"ts_ns < {middle}")
    assert totals(since) == asked(ask, lambda layer: f"ts_ns >= {middle}")
    assert all(totals(before)[name] + totals(since)[name] == total for name, total in totals(whole).items())
    assert all(0 < totals(before)[name] < total for name, total in totals(whole).items() if total)


def test_a_time_after_the_start_is_counted_from_the_start(capture, tables, ask):
    (start,) = ask("select min(ts_ns) from read_parquet('{capture}/*/*.parquet', union_by_name=true)")
    result, shown = tables("summary", capture, "--since", "1ms", "--until", "20ms")
    assert "only: since 1ms after the start, until 20ms after the start" in shown
    assert 0 < totals(result)["syscall_read_ops"] < totals(tables("summary", capture)[0])["syscall_read_ops"]
    assert start > 0


@pytest.mark.parametrize("scope", ["process", "cgroup", "file", "device"])
def test_what_is_selected_by_id_is_that_and_nothing_else(scope, capture, tables, ask):
    key = {"process": "pid", "cgroup": "cgroup_id", "file": "file_dev, ino", "device": "dev"}[scope]
    *key, _ = ask(f"""select {key}, count(*) from read_parquet('{{capture}}/block/*.parquet')
        where pid is not null group by all order by count(*) desc, {key} limit 1""")
    number = "{}:{}".format(key[0] >> 20, key[0] & 0xfffff)
    name = f"{number}:{key[1]}" if scope == "file" else number if scope == "device" else key[0]
    where = {
        "process": lambda layer: f"pid = {key[0]}",
        "cgroup": lambda layer: f"cgroup_id = {key[0]}",
        "file": lambda layer: f"{'file_dev' if layer == 'block' else 'dev'} = {key[0]} and ino = {key[-1]}",
        # Files are on a partition of the disk, which is the next number.
        "device": lambda layer: f"dev = {key[0] + (layer != 'block')}",
    }[scope]
    result, _ = tables("summary", capture, f"--{scope}", name)
    found, expected = totals(result), asked(ask, where)
    assert found == expected and found["block_write_ops"] > 0 and found["syscall_write_ops"] > 0
    scopes = [row for row in result["amplification"] if row["scope"] == scope]
    assert {row["id"].partition("@")[0] for row in scopes} == {str(name)}
    # The distributions are of the same operations.
    counted = sum(int(row["count"]) for row in result["latency"] if (row["layer"], row["phase"]) == ("vfs", "total") and row["op"] != "fsync")
    assert counted == expected["vfs_read_ops"] + expected["vfs_write_ops"]


def test_a_layer_and_a_system(capture, tables, ask):
    postgres = "pid in (select pid from read_parquet('{capture}/process/*.parquet') where exe like '%/postgres')"
    result, shown = tables("summary", capture, "--system", "Postgre*", "--layer", "syscall", "--layer", "block")
    assert totals(result) == asked(ask, lambda layer: postgres, ("syscall", "block")) and "VFS_R" in shown
    assert {row["system"] for row in result["summary"]} == {"PostgreSQL"}
    assert {row["vfs_read_ops"] for row in result["summary"]} == {""}, "not asked for is not zero"
    assert {row["mapping_bytes"] for row in result["amplification"]} == {""} and "" not in {row["call_bytes"] for row in result["amplification"]}
    below, _ = tables("amplification", capture, "--layer", "block")
    assert {row["call_bytes"] + row["application_bytes"] + row["mapping_bytes"] for row in below["amplification"]} == {""}
    both, _ = tables("latency", capture, "--system", "PostgreSQL", "--system", "etcd")
    assert {row["system"] for row in both["latency"]} == {"PostgreSQL", "etcd"}


def test_what_is_nobodys_may_be_what_is_asked_for(tables):
    """Unattributed requests may match a filter: a request with an unknown owner belongs to no process, and may belong to any."""
    whole, _ = tables("summary", FIXTURE)
    (nobodys,) = (row for row in whole["latency"] if (row["system"], row["phase"]) == ("(unknown)", "total"))
    assert (nobodys["op"], nobodys["count"]) == ("write", "1")
    result, shown = tables("summary", FIXTURE, "--process", "dd")
    write = [row for row in result["latency"] if (row["layer"], row["op"], row["phase"]) == ("block", "write", "total")]
    assert [(row["system"], row["lost_events"]) for row in write] == [("dd", "1")]
    (device,) = (row for row in result["amplification"] if (row["scope"], row["direction"]) == ("total", "write"))
    (known,) = (row for row in whole["amplification"] if (row["scope"], row["name"], row["direction"]) == ("system", "(unknown)", "write"))
    high = (int(device["device_bytes"]) + int(known["device_bytes"])) / int(device["application_bytes"])
    assert float(device["amplification_high"]) == pytest.approx(high) and "~" in shown


def test_what_has_no_name_that_is_known_may_be_what_is_asked_for(tables):
    """Objects without a known name may match a filter: a cgroup without a known path, and files known by their file system only."""
    whole, _ = tables("summary", FIXTURE)
    nameless = [row for row in whole["amplification"] if row["scope"] == "cgroup" and row["id"] and not row["name"] and row["direction"] == "write"]
    assert nameless
    result, shown = tables("summary", FIXTURE, "--cgroup", "/charged")
    assert "may match the filters (owner or name unknown)" in shown and "bounds of the total with missing events" in shown
    (row,) = (row for row in result["amplification"] if (row["scope"], row["direction"]) == ("total", "write"))
    doubtful = sum(int(row["device_bytes"]) for row in nameless)
    assert float(row["amplification_high"]) * int(row["application_bytes"]) >= int(row["device_bytes"]) + doubtful
    exact, _ = tables("summary", FIXTURE, "--cgroup", "75")
    assert [row["device_bytes"] for row in exact["amplification"] if row["scope"] == "cgroup"] == [row["device_bytes"]]


def test_no_glob_means_what_is_nobodys_by_chance(tables):
    some, _ = tables("summary", FIXTURE, "--system", "*n*")
    assert not [row["system"] for row in some["summary"] if row["system"].startswith("(")]
    journal, _ = tables("summary", FIXTURE, "--system", "(journal)")
    assert [row["system"] for row in journal["summary"]] == ["(journal)"]


def test_the_disk_of_a_file_is_the_same_whatever_the_layers(capture, tables):
    def disks(*layers):
        result, _ = tables("top", capture, *layers)
        return {row["id"] for row in result["top"] if (row["scope"], row["layer"]) == ("device", "syscall")}
    assert disks() == disks("--layer", "syscall") and disks()


def test_a_time_before_the_end_and_one_without_a_zone(tmp_path):
    def totals_of(*selection):
        result = analyze("summary", FIXTURE, "--out", tmp_path / "results", *selection)
        assert result.returncode == 0, result.stderr
        return summary_rows(tmp_path / "results/summary.csv"), result.stdout

    (stopped,) = [line.split('"')[3] for line in (FIXTURE / "manifest.json").read_text().splitlines() if '"stopped_at"' in line]
    stopped = datetime.fromisoformat(stopped[:26] + "+00:00")
    cut = stopped - timedelta(seconds=2)
    before_end, shown = totals_of("--since", "-2s")
    assert "only: since 2s before the end" in shown
    # The time in the manifest has more digits than this one, in which nothing began.
    assert before_end == totals_of("--since", cut.strftime("%Y-%m-%d %H:%M:%S.%f"))[0] == totals_of("--since", cut.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))[0]
    assert 0 < sum(int(row["total_ops"]) for row in before_end) < sum(int(row["total_ops"]) for row in totals_of()[0])


def test_a_file_by_its_name_and_a_disk_by_its_device_file():
    for short, whole in ((("--file", "halves"), ("--file", "/mnt/halves")), (("--device", "/dev/nvme0n1"), ("--device", "nvme0n1"))):
        one, other = (analyze("top", FIXTURE, "--out", "-", *selection) for selection in (short, whole))
        assert one.returncode == other.returncode == 0 and one.stdout == other.stdout and one.stdout.count("\n") > 2, (one, other)


@pytest.mark.parametrize("wrong", [
    (("--since", "soon"), 2, "an offset from the start such as 5m30s, or one back from the end such as -30s"),
    (("--since", "--30s"), 2, "one back from the end such as -30s"),
    (("--since", "2s", "--until", "1s"), 2, "--until is not after --since"),
    (("--process", "nosuch"), 1, "nothing to analyze: no rows of syscall, vfs, fs, block are known to match the filters (process nosuch)"),
    (("--file", "a{b"), 2, "expected a name or a glob such as `ceph-*`"),
    (("--layer", "disk"), 2, "expected one of syscall, vfs, fs, block"),
    (("--since", "9000h"), 1, "no rows of syscall, vfs, fs, block match the filters (since 1year"),
])
def test_a_selection_that_cannot_be_is_told(wrong):
    arguments, code, message = wrong
    result = analyze("latency", FIXTURE, *arguments)
    assert result.returncode == code and message in result.stderr and result.stdout == "", result.stderr
