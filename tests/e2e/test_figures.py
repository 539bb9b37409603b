"""The notebooks draw the same bytes each time, show exactly the values in the tables, and mark what is missing."""

import json
import os
import re
import shutil
import sys
from xml.etree import ElementTree

import pandas as pd
import pytest
from conftest import BIN, ROOT, analyze, run

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ("amplification", "operations", "latency_by_system", "latency_cdf", "efficiency", "data_transfer", "timeline",
           "heatmap_latency", "heatmap_offset", "path")
DC = "{http://purl.org/dc/elements/1.1/}"
LOST = {"syscall": 60, "vfs": 5, "block": 300}


def cells(name, kind="code"):
    return [cell for cell in json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"] if cell["cell_type"] == kind]


def drawn(name, results):
    """Runs the notebook of a figure in this process, so that its content can be inspected."""
    import matplotlib

    matplotlib.use("Agg")
    sys.path.insert(0, str(NOTEBOOKS))
    os.environ["IOSTRATA_RESULTS"] = str(results)
    names = {}
    try:
        for cell in cells(name):
            exec("".join(cell["source"]), names)
    finally:
        sys.path.remove(str(NOTEBOOKS))
        matplotlib.pyplot.close("all")
    return names["figure"]


def texts(figure):
    from matplotlib.text import Text

    return " | ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text) if text.get_text())


def draw_fixtures(out, **env):
    result = run(ROOT / "scripts/figures.sh", out, env={**os.environ, "PYTHON": sys.executable, "IOSTRATA_BIN": str(BIN.resolve()), **env}, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return out / FIXTURE.name


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return draw_fixtures(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def lossy(generate, tmp_path_factory):
    """Results of a capture with several systems and counted losses."""
    capture = generate("--events", 60_000, "--files", 300, "--events-per-second", 10_000)
    manifest = json.loads((capture / "manifest.json").read_text())
    for account in manifest["books"]["accounts"]:
        lost = LOST.get(account["class"], 0)
        account["seen"] += lost
        account["lost"]["ring_full"] += lost
        account["lost_io"].update(write_ops=lost, write_bytes=lost * 4096)
    (capture / "manifest.json").write_text(json.dumps(manifest))
    out = tmp_path_factory.mktemp("lossy")
    assert analyze("report", capture, "--out", out).returncode == 3
    return out


def read(results, name):
    return pd.read_csv(results / f"{name}.csv", keep_default_na=False, na_values=[""])


def test_the_same_captures_make_the_same_bytes(first, tmp_path):
    """The same captures give the same bytes in another place, with another time zone, hash order and user settings."""
    settings = tmp_path / "settings"
    settings.mkdir()
    (settings / "matplotlibrc").write_text("font.size: 30\nsvg.fonttype: none\npdf.fonttype: 3\nfigure.facecolor: red\n")
    second = draw_fixtures(tmp_path / "second", MPLCONFIGDIR=str(settings), TZ="Asia/Tokyo", PYTHONHASHSEED="7")
    promised = {f"{name}.{form}" for name in FIGURES for form in ("pdf", "svg")}
    assert promised == {file.name for file in first.iterdir() if file.suffix not in (".csv", ".json", ".html")}
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(FIGURES), "a notebook is named after its figure"


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_says_what_it_was_made_of(name, first):
    about = json.loads((first / "about.json").read_text())["files"]["summary.csv"]
    capture = about["captures"][0]["capture_id"]
    svg = ElementTree.parse(first / f"{name}.svg").getroot()
    title, source, description = (next(svg.iter(DC + word)) for word in ("title", "source", "description"))
    assert title.text and source.text == capture and capture in description.text and about["captures"][0]["recorder_version"] in description.text
    assert about["tool"] in "".join(next(svg.iter(DC + "creator")).itertext())
    assert not list(svg.iter(DC + "date"))

    pdf = (first / f"{name}.pdf").read_bytes()
    info = {key.decode(): value.decode() for key, value in re.findall(rb"/(Title|Subject|Keywords|Creator|CreationDate) \((.*?)(?<!\\)\)", pdf)}
    assert info.keys() == {"Title", "Subject", "Keywords", "Creator"}
    assert info["Title"] == title.text and info["Keywords"] == capture and about["tool"] in info["Creator"].replace("\\", "")
    # TrueType, embedded.
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    for form in ("pdf", "svg"):
        assert str(first).encode() not in (first / f"{name}.{form}").read_bytes()


def test_notebooks_are_stored_without_what_came_out_of_them():
    for name in FIGURES:
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(name)), name
        assert "".join(cells(name, "markdown")[0]["source"]).startswith("# "), name


def bars(axes):
    return [patch.get_width() for patch in axes.patches]


def test_bars_are_as_long_as_the_tables_say(lossy):
    table = read(lossy, "amplification")
    for axes, direction in zip(drawn("amplification", lossy).axes, ("read", "write"), strict=True):
        rows = table[(table["direction"] == direction) & table["amplification"].notna()]
        rows = pd.concat([rows[rows["scope"] == "total"], rows[rows["scope"] == "system"].sort_values("name")])
        assert len(rows) == 7
        assert bars(axes) == pytest.approx([*(rows["cached_bytes"] / rows["application_bytes"]), *rows["amplification"]])
        ends = {float(x) for line in axes.lines for x in line.get_xdata()}
        for column in ("amplification_low", "amplification_high"):
            moved = rows[rows[column] != rows["amplification"]]
            assert set(moved[column]) <= ends and (direction == "read" or len(moved))

    figure = drawn("data_transfer", lossy)
    for column, direction in enumerate(("read", "write")):
        total = table[(table["scope"] == "total") & (table["direction"] == direction)].iloc[0]
        moved = [total["application_bytes"], read(lossy, "summary").set_index("system").loc["(total)", f"vfs_{direction}_bytes"], total["cached_bytes"], total["device_bytes"]]
        unit = {"GiB": 2**30, "MiB": 2**20}[re.search(r"\((.*)\)", figure.axes[2 + column].get_xlabel())[1]]
        for panel in figure.axes[column::2]:
            widths = pd.Series(bars(panel)).groupby([round(patch.get_y() + 0.35) for patch in panel.patches]).sum()
            assert list(widths * unit) == pytest.approx(moved)


def test_shares_are_those_of_the_tables(lossy):
    latency = read(lossy, "latency")
    panels = drawn("operations", lossy).axes
    systems = [label.get_text() for label in panels[0].get_yticklabels()]
    for axes, layer in zip(panels, ("syscall", "vfs", "block"), strict=True):
        rows = latency[(latency["layer"] == layer) & (latency["phase"] == "total")]
        for container in axes.containers:
            for system, patch in zip(systems, container, strict=True):
                of_system = rows[rows["system"] == system]
                ops = of_system["count"] + of_system["untimed"]
                named = of_system["op"] == container.get_label()
                if container.get_label() != "others" and ops.sum():
                    assert patch.get_width() == pytest.approx(100 * ops[named].sum() / ops.sum())

    path = read(lossy, "path")
    shares = drawn("path", lossy).axes[0]
    rows = path[(path["scope"] == "all")].sort_values("total_ns", ascending=False).head(6)
    for container, part in zip(shares.containers, ("no_request", "rest", "queue", "device", "unknown"), strict=True):
        assert [patch.get_width() for patch in container][:6] == pytest.approx(list(rows[f"{part}_share"] * 100))


def test_lines_and_points_are_those_of_the_tables(lossy):
    latency = read(lossy, "latency")
    rows = latency[(latency["phase"] == "total") & (latency["layer"] == "block")]
    axes = drawn("latency_cdf", lossy).axes[1]
    curves = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert len(curves) == 6
    for line in curves:
        system, op = line.get_label().rsplit(" ", 1)
        (row,) = (row for _, row in rows.iterrows() if (row["system"], row["op"]) == (system, op))
        points = dict(zip((round(beyond, 9) for beyond in line.get_ydata()), line.get_xdata(), strict=True))
        for name, beyond in (("min", 1), ("p50", 0.5), ("p90", 0.1), ("p99", 0.01), ("p999", 0.001), ("p9999", 0.0001)):
            assert (beyond in points) == pd.notna(row[f"{name}_ns"]) and (beyond not in points or points[beyond] == pytest.approx(row[f"{name}_ns"] / 1e6))
    assert axes.get_ylim()[0] > axes.get_ylim()[1] and axes.get_yscale() == "log", "the tail has room"

    timeline = read(lossy, "timeline")
    steps = drawn("timeline", lossy).axes[1].patches
    for patch, direction in zip(steps, ("read", "write"), strict=True):
        assert list(patch.get_data().values) == pytest.approx(list(timeline[f"block_{direction}_bytes"] / 2**20))

    table = read(lossy, "amplification")
    table = table[(table["scope"] == "system") & table["amplification"].notna()]
    points = {float(y) for line in drawn("efficiency", lossy).axes[0].lines if line.get_linestyle() == "None" for y in line.get_ydata()}
    assert {round(y, 9) for y in points} == {round(y, 9) for y in table["amplification"]}

    heat = read(lossy, "heatmap_latency")
    panels = [(layer, direction) for direction in ("read", "write") for layer in ("syscall", "vfs", "block")]
    for axes, (layer, direction) in zip(drawn("heatmap_latency", lossy).axes, panels, strict=False):
        assert axes.images[0].get_array().filled(0).sum() == heat.loc[(heat["layer"] == layer) & (heat["direction"] == direction), "ops"].sum()
    places = read(lossy, "heatmap_offset")
    panels = [(disk, direction) for disk in sorted(set(places["name"])) for direction in ("read", "write")]
    for axes, (disk, direction) in zip(drawn("heatmap_offset", lossy).axes, panels, strict=False):
        assert axes.images[0].get_array().filled(0).sum() == places.loc[(places["name"] == disk) & (places["direction"] == direction), "ops"].sum()


@pytest.mark.parametrize("name", FIGURES)
def test_losses_are_told_in_the_figure(name, lossy):
    said = texts(drawn(name, lossy))
    assert "Lost events: block 300, syscall 60, vfs 5." in said


def test_a_percentile_without_an_upper_bound_has_an_arrow(lossy):
    latency = read(lossy, "latency")
    assert (latency["p99_ns"].notna() & latency["p99_low_ns"].notna() & latency["p99_high_ns"].isna()).any()
    arrows = [text for axes in drawn("latency_by_system", lossy).axes for text in axes.texts if getattr(text, "arrow_patch", None)]
    assert arrows


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_table_makes_a_figure_that_says_so(name, first, tmp_path):
    for file in first.iterdir():
        if file.suffix == ".csv":
            (tmp_path / file.name).write_text(file.read_text().split("\n")[0] + "\n")
    shutil.copy(first / "about.json", tmp_path)
    figure = drawn(name, tmp_path)
    said = texts(figure)
    assert re.search(r"no [a-z ]+: none recorded in the .* layer", said), said
    assert not any(axes.patches or axes.images for axes in figure.axes)
    assert (tmp_path / f"{name}.pdf").exists() and (tmp_path / f"{name}.svg").exists()


def test_a_layer_that_is_not_there_is_told_and_so_is_a_recording_that_was_cut_off(tmp_path):
    capture = tmp_path / "capture"
    shutil.copytree(FIXTURE, capture)
    manifest = json.loads((capture / "manifest.json").read_text())
    manifest["layers"]["vfs"] = {"captured": False, "how": "the kernel lets nobody"}
    (capture / "manifest.json").write_text(json.dumps(manifest | {"state": "recording"}))
    assert analyze("report", capture, "--out", tmp_path / "out", "--layer", "block", "--layer", "vfs").returncode == 3
    for name in FIGURES:
        said = texts(drawn(name, tmp_path / "out"))
        assert "No vfs layer data (the kernel lets nobody)." in said and "No syscall layer data (excluded)." in said, name
        assert "the number of lost events is unknown" in said and "Filter: layer" in said, name
        if name not in ("data_transfer", "heatmap_offset"):
            assert "no syscall layer data (excluded)" in said, name


def draw(results, **env):
    return run(NOTEBOOKS / "run", results, env={**os.environ, "PYTHON": sys.executable, **env})


def test_results_that_are_missing_are_one_line(tmp_path):
    result = draw(tmp_path / "nowhere")
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and f"no results in {tmp_path}/nowhere" in result.stderr


def test_what_can_be_drawn_of_a_summary_is_drawn(tmp_path):
    """Every figure that a summary allows is drawn; each other one is reported on one line, and its old file is removed."""
    assert analyze("summary", FIXTURE, "--out", tmp_path).returncode == 0
    (tmp_path / "path.svg").write_text("of other tables")
    result = draw(tmp_path)
    tables = {"efficiency": "queue", "heatmap_latency": "heatmap_latency", "heatmap_offset": "heatmap_offset", "path": "path", "timeline": "timeline"}
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"figures: {name}: no {table}.csv in {tmp_path}: run `iostrata-analyze report CAPTURE --out DIR`" for name, table in tables.items()]
    assert {file.stem for file in tmp_path.glob("*.svg")} == set(FIGURES) - tables.keys()


def test_tables_of_different_captures_make_no_figure(first, tmp_path):
    import matplotlib.pyplot

    shutil.copytree(first, tmp_path / "mixed")
    about = json.loads((first / "about.json").read_text())
    about["files"]["path.csv"]["captures"][0]["capture_id"] = "another"
    (tmp_path / "mixed/about.json").write_text(json.dumps(about))
    with pytest.raises(Exception, match="from different captures"):
        drawn("path", tmp_path / "mixed")
    matplotlib.pyplot.close("all")


def test_names_are_drawn_as_they_are_and_a_sample_is_called_one(lossy, tmp_path):
    shutil.copytree(lossy, tmp_path / "odd")
    table = read(lossy, "latency").replace({"system": {"fio": "nan", "Ceph": "$x_{2}$", "MinIO": "a\nb\x07"}}).assign(marks="sampled")
    table.to_csv(tmp_path / "odd/latency.csv", index=False)
    figure = drawn("operations", tmp_path / "odd")
    assert {"nan", "$x_{2}$", "a?b?"} <= {label.get_text() for label in figure.axes[0].get_yticklabels()}
    assert "Sampled (--cpu-limit): values are estimates." in texts(figure)
    ElementTree.parse(tmp_path / "odd/operations.svg")


def test_columns_of_results_of_version_1_are_read_by_their_names_since(first, tmp_path):
    sys.path.insert(0, str(NOTEBOOKS))
    try:
        from figures import RENAMED, Results
    finally:
        sys.path.remove(str(NOTEBOOKS))
    listed = re.findall(r"^\| `(\w+)\.csv` \| `(\w+)` \| `(\w+)` \|$", (ROOT / "docs/reference/csv.md").read_text(), re.M)
    assert sorted(listed) == sorted((table, *names) for table, renamed in RENAMED.items() for names in renamed.items())
    made = analyze("report", FIXTURE, "--out", tmp_path)
    assert made.returncode in (0, 3), made.stderr
    about = json.loads((tmp_path / "about.json").read_text())
    seen = 0
    for table, renamed in RENAMED.items():
        now = Results(tmp_path).table(table)
        assert set(renamed.values()) <= set(now.columns), table
        file = tmp_path / f"{table}.csv"
        header, rows = file.read_text().split("\n", 1)
        old = [dict((new, before) for before, new in renamed.items()).get(column, column) for column in header.split(",")]
        file.write_text("\n".join([",".join(old), rows]))
        about["files"][f"{table}.csv"]["results_version"] = 1
        (tmp_path / "about.json").write_text(json.dumps(about))
        pd.testing.assert_frame_equal(Results(tmp_path).table(table), now)
        seen += len(now)
    assert seen > 0
