"""Captures in folders as Hive writes them, `host=NAME/table/*.parquet`: the directory above them stands for all of them."""

import filecmp
import json
import shutil

import duckdb
import pytest
from conftest import Capture, analyze

# Files that name their inputs.
NAMING = {"about.json", "report.html"}


@pytest.fixture(scope="module")
def hosts(generate, tmp_path_factory):
    """A directory with the captures of two hosts, which have the same devices and process ids."""
    directory = tmp_path_factory.mktemp("lake")
    for seed, host in ((1, "db1"), (2, "db2")):
        shutil.copytree(generate("--events", 50_000, "--files", 100, "--seed", seed), directory / f"host={host}")
    return directory


def results(out, *captures):
    done = analyze("report", *captures, "--out", out)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_directory_above_is_all_of_them(hosts, tmp_path):
    each = sorted(hosts.iterdir())
    assert len(each) == 2
    above, of_each = results(tmp_path / "above", hosts), results(tmp_path / "each", *each)
    assert above.replace("/above/", "/each/") == of_each
    files = {file.name for file in (tmp_path / "each").iterdir()} - NAMING
    assert len(files) > 15
    same, different, missing = filecmp.cmpfiles(tmp_path / "above", tmp_path / "each", files, shallow=False)
    assert (set(same), different, missing) == (files, [], [])
    inputs = [json.loads((tmp_path / out / "about.json").read_text())["files"]["summary.csv"]["captures"] for out in ("above", "each")]
    assert inputs[0] == inputs[1] and len(inputs[0]) == 2


def test_stored_results_of_each_are_found(hosts, tmp_path):
    lake = shutil.copytree(hosts, tmp_path / "lake")
    first, again = [analyze("report", lake, "--cache", "--out", tmp_path / out) for out in ("first", "again")]
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert "No partial result was reused; all events were read." in first.stdout, first.stdout
    assert "All partial results were reused; no events were read." in again.stdout, again.stdout
    files = {file.name for file in (tmp_path / "first").iterdir()}
    same, different, missing = filecmp.cmpfiles(tmp_path / "first", tmp_path / "again", files - {"about.json"}, shallow=False)
    assert (different, missing) == ([], []) and same
    plain = results(tmp_path / "plain", lake)
    assert filecmp.cmpfiles(tmp_path / "plain", tmp_path / "again", files - NAMING, shallow=False)[1:] == ([], []), plain


def test_a_reader_of_partitions_has_the_same_rows(hosts):
    rows = dict(duckdb.sql(f"""
        select host, count(*) from read_parquet('{hosts}/*/block/*.parquet', hive_partitioning = true) group by host""").fetchall())
    expected = {host: Capture(hosts / f"host={host}").one("select count(*) from {block}")[0] for host in ("db1", "db2")}
    assert rows == expected and all(rows.values())


def test_recover_goes_through_all_of_them(hosts):
    done = analyze("recover", hosts)
    assert done.returncode == 0, done.stderr
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [str(host) for host in sorted(hosts.iterdir())]


def test_cached_results_of_one_host_are_no_host(hosts, tmp_path):
    lake = shutil.copytree(hosts, tmp_path / "lake")
    assert analyze("summary", lake / "host=db1", "--cache").returncode == 0
    assert (lake / "host=db1.partials").is_dir()
    done = analyze("summary", lake)
    assert done.returncode == 0 and done.stdout == analyze("summary", hosts).stdout, done.stderr


def test_a_host_without_a_capture_is_an_error(hosts, tmp_path):
    lake = shutil.copytree(hosts, tmp_path / "lake")
    (lake / "host=db3" / "block").mkdir(parents=True)
    done = analyze("summary", lake)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert f"{lake / 'host=db3'}: not a capture: manifest.json is missing" in done.stderr
