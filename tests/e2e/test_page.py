"""The report's page, as shown by a browser."""

import html
import json
import os
import random
import re
import shutil
import subprocess

import pytest
from conftest import ROOT, analyze, relist
from test_analyze import with_losses

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"
TITLES = [
    "Amplification", "Bytes transferred by stage", "Latency distribution", "IOPS over time", "Throughput over time", "Latency over time",
    "Queue depth over time", "I/O sizes", "Latency heat map, syscall", "Latency heat map, block", "Device offset over time, nvme0n1",
    "Hit-ratio curve (LRU)", "Queue depth", "Latency breakdown by layer",
]
PHONE = 390


def page_of(capture, out, *options, expected=(0,)):
    result = analyze("report", *([capture] if not isinstance(capture, list) else capture), "--out", out, *options)
    assert result.returncode in expected, result.stderr
    return (out / "report.html").read_text()


@pytest.fixture(scope="session")
def browser():
    found = [path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path]
    if not found:
        pytest.skip("there is no Chromium: `make setup` found no package of it")
    return found[0]


# Visible state: width of the page, whether charts and texts are visible, and complaints of the browser.
LOOK = """<script>
const told = [];
window.addEventListener('error', event => told.push(String(event.message)), true);
document.addEventListener('securitypolicyviolation', event => told.push('policy: ' + event.violatedDirective));
window.addEventListener('load', () => {
  const inside = svg => [...svg.querySelectorAll('text')].filter(text => {
    const [a, b] = [text.getBoundingClientRect(), svg.getBoundingClientRect()];
    return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
  }).map(text => text.textContent);
  const svgs = [...document.querySelectorAll('svg')];
  const seen = {
    width: document.documentElement.scrollWidth, told,
    titles: [...document.querySelectorAll('figure h3')].map(title => title.textContent),
    charts: svgs.map(svg => [svg.getBoundingClientRect().width, svg.getBoundingClientRect().height, svg.querySelectorAll('*').length]),
    outside: svgs.flatMap(inside),
    letters: Math.min(...svgs.flatMap(svg => [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect().height))),
    first: document.querySelector('section').innerText, alarm: document.querySelector('section').getAttribute('role'),
    bold: document.querySelectorAll('td b, li b, script:not([data-test])').length,
  };
  document.title = JSON.stringify(seen);
});
</script>""".replace("<script>", "<script data-test>", 1)


# Without a network, if that can be disabled.
ALONE = ["unshare", "--net"] if os.geteuid() == 0 else []


def seen(browser, page, place, width):
    """Opens the page in a real browser, with a script that reports what is visible."""
    copy = place / f"seen-{width}.html"
    policy = "script-src 'unsafe-inline'; "
    assert page.count("default-src 'none'; ") == 1
    page = page.replace("default-src 'none'; ", "default-src 'none'; " + policy)
    copy.write_text(page.replace("</title>", "</title>" + LOOK, 1))
    # A window is no narrower than 500 pixels, a frame in it can be.
    frame = place / f"frame-{width}.html"
    frame.write_text(f"<body style='margin:0'><iframe src='{copy.name}' style='border:0;width:{width}px;height:8000px' onload=\""
                     "setTimeout(() => document.title = this.contentDocument.title, 0)\"></iframe>")
    shown = subprocess.run(
        [*ALONE, browser, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--virtual-time-budget=4000",
         f"--user-data-dir={place / 'profile'}", "--window-size=1200,1000", "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=120,
    )
    found = re.search(r"<title>(.*?)</title>", shown.stdout, re.S)
    assert found, shown.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


def test_the_page_needs_nothing_else_and_is_the_same_each_time(tmp_path):
    page = page_of(FIXTURE, tmp_path / "a")
    assert page == page_of(FIXTURE, tmp_path / "b", "--threads", 1)
    # The name of an XML namespace is an address from which nothing is fetched.
    addresses = set(re.findall(r"[a-z]+://[^\s\"'<]*", page))
    assert addresses <= {"http://www.w3.org/2000/svg"} and "<script" not in page and not re.search(r"\b(src|href)=|url\(|@import", page)
    about = json.loads((tmp_path / "a/about.json").read_text())["files"]
    assert about["report.html"] == about["summary.csv"]
    assert json.loads((FIXTURE / "manifest.json").read_text())["capture_id"] in page
    page = page_of(FIXTURE, tmp_path / "c", "--format", "parquet", "--process", "dd")
    assert "summary.parquet" in page and "summary.csv" not in page and "Filter: " in page


def test_a_browser_shows_it_on_a_screen_and_on_a_phone(browser, tmp_path):
    page = page_of(FIXTURE, tmp_path)
    for width in (1200, PHONE):
        shown = seen(browser, page, tmp_path, width)
        assert shown["titles"] == TITLES and len(shown["charts"]) == len(TITLES)
        assert shown["width"] <= width and shown["told"] == [] and shown["outside"] == []
        assert all(280 <= chart_width <= width and height > 150 and marks > 10 for chart_width, height, marks in shown["charts"]), shown["charts"]
        assert shown["letters"] >= 9, "too small to be read"
        assert shown["first"] == "Data quality: see notes.\nfilter: --device nvme0n1" and shown["alarm"] == "note"


def test_what_was_lost_is_said_first(browser, tmp_path):
    with_losses(tmp_path / "lossy", random.Random(3), how_many=400, prefer=1)
    page = page_of(tmp_path / "lossy", tmp_path / "out", expected=(3,))
    shown = seen(browser, page, tmp_path, PHONE)
    assert shown["alarm"] == "alert" and shown["first"].startswith("Data quality: not reliable.")
    assert re.search(r"loss: 403 of \d+ events lost", shown["first"]), shown["first"]
    assert page.index("events lost") < page.index("<svg") and "<h2>Lost events</h2>" in page
    assert shown["titles"] == TITLES and shown["told"] == []


def without(copy, keep):
    """Returns the fixture with only those rows of each table that `keep` selects."""
    from pyarrow import parquet

    shutil.copytree(FIXTURE, copy)
    for path in sorted(copy.glob("*/*.parquet")):
        metadata = parquet.read_metadata(path)
        if metadata.num_row_groups == 0:
            continue
        columns = [metadata.row_group(0).column(index) for index in range(metadata.num_columns)]
        words = [column.path_in_schema for column in columns if any("DICTIONARY" in encoding for encoding in column.encodings)]
        rows = keep(path.parent.name, parquet.read_table(path))
        parquet.write_table(rows, path, compression="zstd", use_dictionary=words)
    # As if no more had been seen.
    manifest = json.loads((copy / "manifest.json").read_text())
    for part in relist(copy):
        written = part["rows"]
        for account in (account for account in manifest["books"]["accounts"] if account["class"] == part["table"]):
            account["written"], account["seen"], written = written, written + sum(account["lost"].values()), 0
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_one_event_no_event_and_a_layer_that_is_missing(browser, tmp_path):
    events = {"syscall", "vfs", "fs", "block", "share"}
    one = without(tmp_path / "one", lambda table, rows: rows.slice(40, 1) if table == "syscall" else rows.slice(0, 0) if table in events else rows)
    shown = seen(browser, page_of(one, tmp_path / "of-one", expected=(0, 3)), tmp_path, PHONE)
    assert len(shown["titles"]) == len(TITLES) and shown["told"] == [] and shown["outside"] == [] and len(shown["charts"]) < len(TITLES)
    none = without(tmp_path / "none", lambda table, rows: rows.slice(0, 0) if table in events else rows)
    result = analyze("report", none, "--out", tmp_path / "of-none")
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and "nothing to analyze" in result.stderr
    assert not (tmp_path / "of-none/report.html").exists()
    lacking = without(tmp_path / "lacking", lambda table, rows: rows.slice(0, 0) if table in ("block", "share") else rows)
    manifest = json.loads((lacking / "manifest.json").read_text())
    manifest["layers"]["block"].update(captured=False, how="not selected")
    (lacking / "manifest.json").write_text(json.dumps(manifest))
    page = page_of(lacking, tmp_path / "of-lacking", expected=(0, 3))
    shown = seen(browser, page, tmp_path, PHONE)
    assert "layer block" in shown["first"] and "Latency heat map, block" not in shown["titles"] and shown["told"] == []


def test_torn_parts_and_other_versions_are_refused_and_hosts_are_named(tmp_path, generate):
    torn = tmp_path / "torn"
    shutil.copytree(FIXTURE, torn)
    part = next(iter(sorted((torn / "block").glob("*.parquet"))))
    part.write_bytes(part.read_bytes()[:-100])
    newer = tmp_path / "newer"
    shutil.copytree(FIXTURE, newer)
    manifest = json.loads((newer / "manifest.json").read_text())
    manifest["schema_version"] += 1
    (newer / "manifest.json").write_text(json.dumps(manifest))
    for captures, expected in ((torn, part.name), ([FIXTURE, newer], "version")):
        result = analyze("report", *(captures if isinstance(captures, list) else [captures]), "--out", tmp_path / "refused")
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and expected in result.stderr, result.stderr
        assert not (tmp_path / "refused/report.html").exists()
    other = generate("--events", 5000)
    page = page_of([FIXTURE, other], tmp_path / "both", expected=(0, 3))
    hosts = {json.loads((capture / "manifest.json").read_text())["host"]["hostname"] for capture in (FIXTURE, other)}
    assert len(hosts) == 2 and all(host in page for host in hosts)


def test_names_of_programs_are_words_and_no_markup(browser, tmp_path):
    """Names of programs are text, not markup: processes on the recorded machine choose them."""
    import pyarrow

    name = "<b>&\"'x"

    def rename(table, rows):
        for column in rows.column_names:
            if column == "comm":
                words = [name if word == "dd" else word for word in rows[column].to_pylist()]
                rows = rows.set_column(rows.column_names.index(column), rows.schema.field(column), pyarrow.array(words).cast(rows.schema.field(column).type))
        return rows

    page = page_of(without(tmp_path / "named", rename), tmp_path / "out", expected=(0, 3))
    shown = seen(browser, page, tmp_path, PHONE)
    assert shown["bold"] == 0 and shown["told"] == [] and name not in page and "&lt;b&gt;&amp;" in page
