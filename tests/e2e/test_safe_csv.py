"""CSV with names that no spreadsheet interprets as formulas, on request."""

import csv
import json

from conftest import BIN, analyze, run

# Texts that a spreadsheet interprets as formulas, and texts that it does not.
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", "＋1", "－1", "＠1"]
NAMES = [*FORMULAS, "a;=1", "'=1", "sda"]


def is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def cells(file):
    with open(file, newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))


def test_no_name_is_a_formula_where_that_is_asked_for(tmp_path):
    lines = [f"{name},{'RW'[number % 2]},{4096 * number},4096,{1577808000000000 + number}\n" for number, name in enumerate(NAMES * 3)]
    (tmp_path / "trace.csv").write_text("".join(lines), encoding="utf-8")
    made = run(BIN / "iostrata-analyze", "import", "--format", "alibaba", "--out", tmp_path / "run1", tmp_path / "trace.csv")
    assert made.returncode == 0, made.stderr
    commands = ("summary", "amplification", "latency", "timeline", "sizes", "heatmap", "footprint", "pattern", "arrivals", "queue", "path", "sync", "cache",
                "report", "quality", "top", "compare")
    found = set()
    for command in commands:
        captures = [tmp_path / "run1"] * (2 if command == "compare" else 1)
        for out, options in ((tmp_path / f"{command}-exact", []), (tmp_path / f"{command}-safe", ["--safe-csv"])):
            result = analyze(command, *captures, "--out", out, *options)
            assert result.returncode in (0, 1), result.stderr
        for file in sorted((tmp_path / f"{command}-exact").glob("*.csv")):
            exact, safe = cells(file), cells(tmp_path / f"{command}-safe" / file.name)
            assert exact[0] == safe[0] and len(exact) == len(safe)
            for one, other in zip(exact[1:], safe[1:]):
                for column, before, after in zip(exact[0], one, other, strict=True):
                    is_formula = before[:1] in tuple("=+-@＝＋－＠") and before and (column == "name" or not is_number(before))
                    assert after == ("'" + before if is_formula else before), (file.name, column)
                    found |= {before} if is_formula else set()
        about = tmp_path / f"{command}-safe" / "about.json"
        if about.exists():
            assert all(made["safe_csv"] for made in json.loads(about.read_text())["files"].values())
    assert found >= set(FORMULAS), found
    # Quoted, so that the text after a semicolon is no separate cell.
    assert '"a;=1"' in (tmp_path / "top-safe" / "top.csv").read_text() and '"a;=1"' not in (tmp_path / "top-exact" / "top.csv").read_text()
