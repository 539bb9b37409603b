"""Partial results in files: merging of shares, and analysis of a growing capture."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import duckdb
import pytest
from conftest import BIN, ROOT, analyze, require, run

KEPT = "All partial results were reused; no events were read."


def files(directory):
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def report(capture, out, *options):
    result = analyze("report", capture, "--out", out, *options)
    # A capture that is being written is incomplete.
    assert result.returncode in (0, 3) and (out / "report.html").exists(), result.stderr
    return files(out), result.stdout


@pytest.fixture(scope="module")
def generated(generate):
    return generate("--events", 600_000, "--processes", 12, "--files", 500)


def test_shares_merge_to_what_one_reads(generated, tmp_path):
    whole, _ = report(generated, tmp_path / "whole")

    def shares(name, *before):
        for share in (1, 2, 3):
            made = analyze("partial", "--share", f"{share}/3", "--to", tmp_path / f"{name}-{share}.partial", *before, "report", generated)
            assert made.returncode == 0 and re.search(rf"-{share}\.partial: \d+ partials?, share {share} of 3\.", made.stdout), made.stderr
        return [word for share in (3, 1, 2) for word in ("--from", tmp_path / f"{name}-{share}.partial")]

    def merged(name, parts):
        result = analyze("merge", *parts, "report", generated, "--out", tmp_path / name)
        assert result.returncode == 0 and files(tmp_path / name) == whole, result.stderr
        return result.stdout

    first = shares("first")
    found = re.search(r"^(\d+) of (\d+) partial results were reused; the events of the others were read\.$", merged("one", first), re.M)
    # A share does not know the total number of blocks, which determines how many of them are sampled twice.
    assert 0.5 < int(found[1]) / int(found[2]) < 1
    second = shares("second", *first)
    assert KEPT in merged("both", first + second)
    assert KEPT not in merged("not all", first + second[:4])


def test_captures_of_several_machines_merge_where_none_of_them_is(generate, tmp_path):
    """Each machine sends files; the captures stay there. Ids of processes, files and disks are the same on both machines."""
    captures = [generate("--events", 300_000, "--processes", 12, "--files", 500, "--seed", seed) for seed in (1, 2)]
    for capture, host in zip(captures, ("db1", "db2"), strict=True):
        manifest = json.loads((capture / "manifest.json").read_text())
        manifest["host"]["hostname"] = host
        (capture / "manifest.json").write_text(json.dumps(manifest))
    out = tmp_path / "whole"
    assert analyze("report", *captures, "--out", out).returncode == 0
    whole = files(out)

    def shares(name, *before):
        for number, capture in enumerate(captures):
            made = analyze("partial", "--to", tmp_path / f"{name}-{number}.partial", *before, "report", capture)
            assert made.returncode == 0, made.stderr
        return [word for number in (0, 1) for word in ("--from", tmp_path / f"{name}-{number}.partial")]

    def merged(*parts):
        return analyze("merge", *parts, "report", "--out", tmp_path / "merged")

    first = shares("first")
    # How many blocks there are on both machines is known only now, so the sampled ones are read again.
    result = merged(*first)
    assert result.returncode == 1 and "expected also files of a second round" in result.stderr and "db1:" in result.stderr, result.stderr
    second = shares("second", *first)
    result = merged(*first, *second)
    assert result.returncode == 0 and KEPT in result.stdout, result.stderr
    found = files(tmp_path / "merged")
    assert {name for name in whole if found[name] != whole[name]} == set()
    with open(tmp_path / "merged/amplification.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    ids = [{row["id"] for row in rows if row["scope"] == "device" and row["host"] == host} for host in ("db1", "db2")]
    assert ids[0] == ids[1] and len(ids[0]) == 2
    # The summary needs no second reading.
    assert analyze("merge", "--from", tmp_path / "first-0.partial", "summary").returncode == 1
    for number, capture in enumerate(captures):
        analyze("partial", "--to", tmp_path / f"summary-{number}.partial", "summary", capture)
    summary = analyze("merge", "--from", tmp_path / "summary-0.partial", "--from", tmp_path / "summary-1.partial", "summary")
    assert summary.returncode == 0 and KEPT in summary.stdout, summary.stderr


def test_other_programs_read_what_a_file_says_of_its_captures(generated, tmp_path):
    """Runs the program of docs/how-to/partials.md."""
    made = analyze("partial", "--to", tmp_path / "one.partial", "summary", generated)
    assert made.returncode == 0, made.stderr
    text = (ROOT / "docs/how-to/partials.md").read_text()
    [program] = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    shown = run(sys.executable, "-c", program, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    manifest = json.loads((generated / "manifest.json").read_text())
    assert shown.stdout.splitlines()[0] == f"{manifest['host']['hostname']}: {manifest['capture_id']}"
    count = lambda table: duckdb.sql(f"select count(*) from '{generated}/{table}/*.parquet'").fetchall()[0][0]
    rows = {table: count(table) for table in ("process", "file")}
    assert {f"{table}: {count} rows" for table, count in rows.items()} <= set(shown.stdout.splitlines()), shown.stdout


def test_shares_of_another_build_are_merged_and_its_cache_is_not_used(generated, tmp_path):
    whole, _ = report(generated, tmp_path / "whole")
    # Bytes behind an executable change its identity, and not what it does.
    other = tmp_path / "other"
    other.write_bytes((BIN / "iostrata-analyze").read_bytes() + b"another build")
    other.chmod(0o755)
    made = run(other, "partial", "--share", "1/1", "--to", tmp_path / "one.partial", "report", generated)
    assert made.returncode == 0, made.stderr
    result = analyze("merge", "--from", tmp_path / "one.partial", "report", generated, "--out", tmp_path / "merged")
    assert result.returncode == 0 and files(tmp_path / "merged") == whole, result.stderr
    assert "No partial result was reused" not in result.stdout
    copy = tmp_path / "copy"
    shutil.copytree(generated, copy)
    cached = run(other, "summary", copy, "--cache")
    assert cached.returncode == 0 and (tmp_path / "copy.partials/1.partial").exists(), cached.stderr
    again = analyze("summary", copy, "--cache")
    assert "No partial result was reused; all events were read." in again.stdout, again
    assert KEPT in analyze("summary", copy, "--cache").stdout


def test_partials_pass_through_a_pipe(generated, tmp_path):
    whole, _ = report(generated, tmp_path / "whole")
    program = BIN / "iostrata-analyze"
    assert analyze("partial", "--share", "1/2", "--to", tmp_path / "one.partial", "report", generated).returncode == 0
    with subprocess.Popen([program, "partial", "--share", "2/2", "--to", "-", "report", generated], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as made:
        merged = subprocess.run([program, "merge", "--from", tmp_path / "one.partial", "--from", "-", "report", generated, "--out", tmp_path / "merged"],
                                stdin=made.stdout, capture_output=True, text=True)
        told = made.stderr.read().decode()
    assert made.returncode == 0 and re.search(r"^Wrote the standard output: \d+ partials?, share 2 of 2\.$", told, re.M), told
    assert merged.returncode == 0 and files(tmp_path / "merged") == whole, merged.stderr
    assert "No partial result was reused" not in merged.stdout
    named = subprocess.run(["bash", "-c", f"{program} merge --from {tmp_path}/one.partial --from <(cat {tmp_path}/one.partial) summary {generated}"],
                           capture_output=True, text=True, env={**os.environ, "TMPDIR": "/proc"})
    assert named.returncode == 0, named.stderr
    cut = subprocess.run([program, "merge", "--from", "-", "summary", generated], input=b"iostrata-part-03", capture_output=True)
    assert cut.returncode == 1 and cut.stderr.decode().startswith("iostrata-analyze: standard input: not a file of partial results"), cut.stderr


@pytest.mark.parametrize("arguments, code, expected", [
    (["partial", "--share", "0/3", "--to", "x", "summary", "y"], 2, "expected a share such as 2/5"),
    (["partial", "--to", "x", "trace", "y"], 2, "unrecognized subcommand 'trace'"),
    (["merge", "summary", "y"], 2, "--from <FILE>"),
    (["merge", "--from", "nowhere.partial", "summary", "CAPTURE"], 1, "nowhere.partial: cannot open: No such file or directory"),
    (["partial", "--to", "nowhere/x", "summary", "CAPTURE"], 1, "nowhere: cannot open: No such file or directory"),
    (["partial", "--to", "x", "summary", "CAPTURE", "--out", "y"], 2, "partial: --out does not apply to a share"),
])
def test_what_cannot_be_is_one_line(arguments, code, expected, generated, tmp_path):
    result = analyze(*(generated if word == "CAPTURE" else word for word in arguments))
    assert result.returncode == code and expected in result.stderr, result.stderr
    # The parser prints its usage as well.
    assert len(result.stderr.splitlines()) == 1 or "Usage: " in result.stderr or "For more information" in result.stderr


@pytest.mark.moments
def test_a_recording_is_analyzed_again_at_the_cost_of_what_is_new(disk, record, tmp_path):
    # The load runs until it is ended: a busy machine needs longer for the same number of parts.
    load = subprocess.Popen(
        [require("fio"), "--name=grow", f"--directory={disk.mount}", "--size=32M", "--rw=randrw", "--bs=4k", "--ioengine=psync", "--numjobs=2",
         "--fsync=64", "--rate_iops=2k,2k", "--time_based", "--runtime=600"], stdout=subprocess.DEVNULL)
    try:
        # I/O of fio's processes is attributed to them; a process that starts late is named late.
        recorder = record("--device", disk.name, "--rotate-interval", "1s", "--flush-interval", "300ms")
        said, parts = [], 0
        for number in range(3):
            parts = recorder.wait_until(lambda health: health["parts"] >= parts + 12)["parts"]
            _, printed = report(recorder.out, tmp_path / f"while-{number}", "--cache")
            said.append(printed)
    finally:
        load.terminate()
        load.wait(timeout=60)
    capture = recorder.stop(expected=None)
    fresh, _ = report(capture.directory, tmp_path / "fresh")
    last, printed = report(capture.directory, tmp_path / "last", "--cache")
    assert last == fresh
    assert "all events were read" in said[0]
    for printed in (*said[1:], printed):
        found = re.search(r"^(\d+) of (\d+) partial results were reused", printed, re.M)
        # For ordered tables the unit of caching is half a million rows: here only the others have several units.
        assert found and int(found[1]) >= 2, printed
    again, printed = report(capture.directory, tmp_path / "again", "--cache")
    assert again == fresh and KEPT in printed
