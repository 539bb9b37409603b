"""All analyses at once, and tables in each format."""

import csv
import json

import duckdb
import pyarrow.parquet
import pytest
from conftest import ROOT, analyze

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"
ANALYSES = ("stat", "iostat", "summary", "amplification", "latency", "timeline", "sizes", "heatmap", "footprint", "pattern", "arrivals", "queue", "path", "sync", "cache", "top", "quality")


def test_a_report_is_what_the_analyses_say_one_by_one(tmp_path):
    assert analyze("report", FIXTURE, "--out", tmp_path / "all").returncode == 0
    tables = set()
    for name in ANALYSES:
        assert analyze(name, FIXTURE, "--out", tmp_path / name).returncode == 0
        for table in (tmp_path / name).glob("*.csv"):
            assert table.read_bytes() == (tmp_path / "all" / table.name).read_bytes(), (name, table.name)
            tables.add(table.name)
    assert tables == {table.name for table in (tmp_path / "all").glob("*.csv")} and len(tables) == 22


@pytest.mark.parametrize("name", ANALYSES)
def test_tables_are_the_same_in_each_form(name, tmp_path):
    for form in ("csv", "parquet", "json"):
        assert analyze(name, FIXTURE, "--out", tmp_path, "--format", form).returncode == 0
    for table in tmp_path.glob("*.csv"):
        with open(table, newline="") as lines:
            rows = list(csv.DictReader(lines))
        objects = json.loads(table.with_suffix(".json").read_text())
        assert len(objects) == len(rows)
        for row, of_json in zip(rows, objects):
            assert row.keys() == of_json.keys()
            for column, value in of_json.items():
                assert row[column] == ("" if value is None else str(value)) or float(row[column]) == value, column
        parquet = table.with_suffix(".parquet")
        assert pyarrow.parquet.read_table(parquet).to_pylist() == objects
        assert duckdb.sql(f"select count(*) from '{parquet}'").fetchall() == [(len(rows),)]
    about = json.loads((tmp_path / "about.json").read_text())["files"]
    assert about.keys() == {file.name for file in tmp_path.iterdir()} - {"about.json"}
    manifest = json.loads((FIXTURE / "manifest.json").read_text())
    assert all(made["captures"][0]["capture_id"] == manifest["capture_id"] and made["analysis"] == name and made["complete"] for made in about.values())
