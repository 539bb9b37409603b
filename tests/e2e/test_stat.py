"""`iostrata stat -- COMMAND` and `iostrata-analyze stat`: for a workload with known answers, against the other tables, and against DuckDB."""

import csv
import os
import re
import shutil
import subprocess
import sys

import duckdb
import pytest
from conftest import BIN, ROOT, analyze, require_machine, run

WORK = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for block in range(200):
    os.pwrite(file, bytes(8192), block * 8192)
    os.fdatasync(file)
for block in range(150):
    os.pread(file, 8192, block * 8192)
print("done")
sys.exit(int(sys.argv[2]))
"""


def stat(*arguments, **options):
    require_machine()
    return run(BIN / "iostrata", "stat", *arguments, **options)


def table(capture, out, name="stat", *options):
    result = analyze(name, capture, "--out", out, *options)
    assert result.returncode == 0, result.stderr
    with open(out / f"{name}.csv", newline="") as lines:
        return list(csv.DictReader(lines)), result.stdout


def test_a_summary_of_a_command(disk, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = stat("--device", disk.name, "--", sys.executable, "-c", WORK, str(disk.mount / "file"), "0", env=environment)
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr
    lines = done.stderr.splitlines()
    lines = lines[:lines.index("lost events    0") + 1]
    assert len(lines) <= 15 and max(map(len, lines)) <= 80, done.stderr
    cells = {" ".join(line.split()[:2]): line.split()[2:] for line in lines if line.split()[:1] in (["application"], ["device"])}
    assert [cells[f"application {kind}s"][0] for kind in ("read", "write", "sync")] == ["150", "200", "200"], done.stderr
    facts = {line[:15].strip(): line[15:] for line in lines[-8:]}
    assert re.fullmatch(r"[\d.]+ m?s system calls, [\d.]+ m?s device requests \(first to last\)", facts["time span"]), facts
    ratio = re.fullmatch(r"write (\d+\.\d\d) \(data 1\.00, (metadata [\d.]+, )?journal ([\d.]+)\)", facts[""])
    assert facts["amplification"] == "read 0.00" and ratio and float(ratio[1]) > 1.5 and float(ratio[3]) > 0.4, facts
    assert facts["page cache"] == "100.0 % hits (bytes of buffered reads)"
    assert re.fullmatch(r"[\d.]+ % \(time with a request in flight on any device\)", facts["utilization"])
    assert re.fullmatch(r"mean [\d.]+, p99 \d+, maximum \d+ \(device requests in flight\)", facts["queue depth"])
    assert not [entry for entry in os.listdir(tmp_path) if entry.startswith("iostrata-stat")], "the capture is removed"


def test_the_capture_can_be_kept_and_the_exit_code_is_the_commands(disk, tmp_path):
    kept = tmp_path / "run1"
    done = stat("--out", kept, "--", sys.executable, "-c", WORK, str(disk.mount / "file"), "7")
    assert done.returncode == 7 and "iostrata: the command ended with code 7" in done.stderr, done.stderr
    again = analyze("stat", kept)
    assert again.returncode == 0 and again.stdout in done.stderr
    refused = stat("--out", kept, "--", "true")
    assert refused.returncode == 1 and refused.stderr.splitlines()[-1].endswith("exists and is not empty; expected a new or empty directory; --resume continues a capture")


def test_without_the_analyzer_nothing_is_run(recordable, tmp_path):
    shutil.copy(BIN / "iostrata", tmp_path / "iostrata")
    require_machine()
    done = subprocess.run([tmp_path / "iostrata", "stat", "--", "touch", tmp_path / "ran"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "ran").exists()
    [line] = done.stderr.splitlines()
    assert "iostrata-analyze is neither beside iostrata nor in PATH" in line


@pytest.mark.parametrize("arguments", [[], ["--"], ["--duration", "soon", "--", "true"], ["--rotate-size", "1MiB", "--", "true"]])
def test_a_wrong_command_line_is_one_of_usage(arguments):
    assert run(BIN / "iostrata", "stat", *arguments).returncode == 2


@pytest.mark.parametrize("fixture", [True, False], ids=["recorded", "generated"])
def test_rows_are_those_of_the_other_tables(fixture, generate, tmp_path):
    capture = ROOT / "tests/fixtures/debian-6.12-nvme" if fixture else generate("--events", 50_000, "--part-size", "128KiB")
    rows, shown = table(capture, tmp_path / "stat")
    total = table(capture, tmp_path / "summary", "summary")[0][-1]
    queues, _ = table(capture, tmp_path / "queue", "queue")
    syncs = [row for row in table(capture, tmp_path / "sync", "sync")[0] if row["scope"] == "all" and row["kind"] == "sync"]
    assert {(row["layer"], row["kind"]) for row in rows} >= {("syscall", "read"), ("syscall", "write"), ("syscall", "sync"), ("block", "write")}
    for row in rows:
        layer, kind = row["layer"], row["kind"]
        [queue] = [queue for queue in queues if (queue["scope"], queue["layer"]) == ("all", layer)]
        assert row["span_ns"] == queue["span_ns"]
        if kind == "sync":
            assert (int(row["ops"]), row["bytes"]) == (sum(int(of["ops"]) for of in syncs), "")
            assert int(row["max_ns"]) == max(int(of["max_ns"]) for of in syncs)
        else:
            assert (row["ops"], row["bytes"], row["avg_ns"]) == tuple(total[f"{layer}_{kind}_{of}"] for of in ("ops", "bytes", "avg_ns"))
            assert float(row["bytes_per_s"]) == pytest.approx(int(row["bytes"]) * 1e9 / int(row["span_ns"]))
        if layer == "block":
            [(exact, most)] = duckdb.sql(f"""select quantile_disc(dur_ns, 0.99), max(dur_ns) from read_parquet('{capture}/block/*.parquet')
                where op in ('{kind}', '{"flush" if kind == "write" else "none"}')""").fetchall()
            assert int(row["max_ns"]) == most and (row["p99_ns"] == "") == (int(row["ops"]) < 100)
            assert not row["p99_ns"] or exact <= int(row["p99_ns"]) <= exact * 1.001
    assert shown.splitlines()[2].split()[:3] == ["application", "reads", rows[0]["ops"]]
