"""Comparison of captures: the numbers equal those of the single analyses, the intervals those of numpy's resampling."""

import csv
import json
from statistics import NormalDist, mean

import numpy
import pytest
from conftest import ROOT, analyze

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"
REPEATS = 5


def repeats(generate, first, *parameters):
    return [generate("--events", 60_000, "--files", 50, "--seed", seed, "--events-per-second", 4_000, *parameters)
            for seed in range(first, first + REPEATS)]


@pytest.fixture(scope="module")
def before(generate):
    return repeats(generate, 1)


@pytest.fixture(scope="module")
def after(generate):
    """Creates the captures after the change, with a worse page cache."""
    return repeats(generate, 101, "--hit-ratio", "0.4")


def compared(out, *arguments, code=0):
    result = analyze("compare", "--out", out, *arguments)
    assert result.returncode == code, result.stderr
    with open(out / "compare.csv", newline="") as lines:
        return {(row["table"], row["row"], row["metric"]): row for row in csv.DictReader(lines)}, result.stdout


def test_repeats_that_differ_are_told_by_how_much(before, after, tmp_path):
    rows, text = compared(tmp_path / "out", "--before", *before, "--after", *after)
    assert len(rows) > 500 and "read_amp_bytes" in text
    worse = rows["summary", "system=etcd", "read_amp_bytes"]
    assert "worse" in worse["marks"].split() and float(worse["change_low"]) > 0.3
    assert rows["cache", "scope=all", "hit_ops_share"]["marks"] == "worse"
    # Means are those of the values of the single captures.
    for table, columns, value in (("latency", ("system", "layer", "op", "phase"), "p99_ns"), ("summary", ("system",), "read_amp_bytes")):
        values = {}
        for side, captures in (("before", before), ("after", after)):
            for number, capture in enumerate(captures):
                out = tmp_path / f"{table}-{side}-{number}"
                assert analyze(table, capture, "--out", out).returncode == 0
                with open(out / f"{table}.csv", newline="") as lines:
                    for row in csv.DictReader(lines):
                        of = " ".join(f"{column}={row[column]}" for column in columns)
                        if row[value]:
                            values.setdefault((table, of, value), {}).setdefault(side, []).append(float(row[value]))
        checked = 0
        for of, sides in values.items():
            if len(sides) == 2 and of[1] != "system=":
                row = rows[of]
                assert [int(row["before_values"]), int(row["after_values"])] == [len(sides["before"]), len(sides["after"])]
                assert float(row["before_mean"]) == pytest.approx(mean(sides["before"])) and float(row["after_mean"]) == pytest.approx(mean(sides["after"]))
                if row["difference_low"] and len(sides["before"]) == len(sides["after"]) == REPEATS:
                    low, high = interval(sides["before"], sides["after"])
                    margin = 0.05 * (high - low) + 1e-9
                    assert float(row["difference_low"]) == pytest.approx(low, abs=margin) and float(row["difference_high"]) == pytest.approx(high, abs=margin), of
                    checked += 1
        assert checked > 3


def interval(before, after):
    """Returns the expanded percentile interval of five values on each side; 2.776 is Student's quantile of four degrees of freedom."""
    random = numpy.random.default_rng(1)
    draws = [random.choice(side, (200_000, REPEATS)).mean(axis=1) for side in (before, after)]
    tail = NormalDist().cdf(-2.776 * (REPEATS / (REPEATS - 1)) ** 0.5)
    return numpy.quantile(draws[1] - draws[0], [tail, 1 - tail])


def test_repeats_of_the_same_differ_seldom(before, generate, tmp_path):
    rows, _ = compared(tmp_path, "--before", *before, "--after", *repeats(generate, 201))
    marked = [row for row in rows.values() if set(row["marks"].split()) & {"worse", "better", "changed"}]
    with_interval = [row for row in rows.values() if row["difference_low"] and row["difference_low"] != row["difference_high"]]
    assert len(with_interval) > 500 and len(marked) < 0.12 * len(with_interval), len(marked)


def test_two_recordings_are_compared_by_their_windows(before, after, tmp_path):
    rows, text = compared(tmp_path / "one", before[0], after[0])
    row = rows["timeline", "", "block_read_bytes_per_s"]
    assert set(row["marks"].split()) == {"changed", "windows"} and int(row["before_values"]) > 10
    assert rows["latency", "system=etcd layer=block op=read phase=total", "p50_ns"]["difference_low"] == ""
    same, text = compared(tmp_path / "same", before[0], before[0])
    assert all(float(row["difference"]) == 0 for row in same.values()) and "0 of" in text
    about = json.loads((tmp_path / "one" / "about.json").read_text())["files"]["compare.csv"]
    assert about["analysis"] == "compare" and len(about["captures"]) == 2
    # The same bytes twice, and in each format.
    compared(tmp_path / "again", before[0], after[0], "--threads", "1")
    assert (tmp_path / "again" / "compare.csv").read_bytes() == (tmp_path / "one" / "compare.csv").read_bytes()
    assert analyze("compare", before[0], after[0], "--out", tmp_path / "json", "--format", "json").returncode == 0
    assert len(json.loads((tmp_path / "json" / "compare.json").read_text())) == len(rows)


@pytest.mark.parametrize("arguments, code, expected", [
    ([FIXTURE], 2, "2 values required"), (["--before", FIXTURE], 2, "--after"), ([FIXTURE, FIXTURE, FIXTURE], 2, "2 values required"),
    ([FIXTURE, FIXTURE, "--confidence", "100"], 2, "expected a percentage from 50 to below 100"), ([FIXTURE, "/nowhere"], 1, "/nowhere: no such directory"),
])
def test_what_cannot_be_meant_is_refused(arguments, code, expected):
    result = analyze("compare", *arguments)
    assert result.returncode == code and expected in result.stderr, result.stderr
