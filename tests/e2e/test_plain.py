"""Names that a terminal would obey, or that would turn the direction of writing: people see them escaped, programs get them as they are."""

import csv
import json
import signal
import subprocess
import sys

import pytest
from conftest import BIN, analyze, run
from test_live import rest_of, view

# How each is shown. A carriage return and an end of a line would make another line of what is behind it.
SHOWN = {
    "\x1b": "\\x1b", "\x07": "\\x07", "\x7f": "\\x7f", "\x9b": "\\u{9b}", "\xad": "\\u{ad}", "\u061c": "\\u{61c}", "\u200b": "\\u{200b}", "\u200e": "\\u{200e}",
    "\u200f": "\\u{200f}", "\u2028": "\\u{2028}", "\u2029": "\\u{2029}", "\u202a": "\\u{202a}", "\u202b": "\\u{202b}", "\u202c": "\\u{202c}",
    "\u202d": "\\u{202d}", "\u202e": "\\u{202e}", "\u2066": "\\u{2066}", "\u2067": "\\u{2067}", "\u2068": "\\u{2068}", "\u2069": "\\u{2069}",
    "\ufeff": "\\u{feff}", "\U000e0041": "\\u{e0041}",
}
NAME = "n" + "m".join(SHOWN) + "o"
AS_SHOWN = "n" + "m".join(SHOWN.values()) + "o"


def check(text, *shown):
    """None of them is there, and what stands for them is."""
    assert not set(text) & set(SHOWN), repr(text)
    for name in shown:
        assert name in text, text


@pytest.fixture
def imported(tmp_path):
    """A capture in a directory of such a name, of disks of such names: one has all, each of the others has one."""
    names = [NAME, *(f"x{character}y" for character in SHOWN)]
    lines = [f"{name},{'RW'[number % 2]},{4096 * number},4096,{1577808000000000 + number}\n" for number, name in enumerate(names * 3)]
    (tmp_path / f"{NAME}.csv").write_text("".join(lines), encoding="utf-8", newline="")
    made = run(BIN / "iostrata-analyze", "import", "--format", "alibaba", "--out", tmp_path / NAME, tmp_path / f"{NAME}.csv")
    assert made.returncode == 0, made.stderr
    check(made.stdout, f"{tmp_path}/{AS_SHOWN}")
    return tmp_path / NAME


def test_all_that_the_analyzer_prints_is_harmless(imported, tmp_path):
    tables = ("top", "pattern", "arrivals", "queue", "footprint", "sizes", "heatmap", "latency", "summary", "timeline", "quality", "amplification", "cache")
    for command in tables:
        result = analyze(command, imported, "--out", tmp_path / command, "--partial-rows")
        # Of a capture that has none of what is asked for an error says so, with its name.
        assert result.returncode in (0, 1), result.stderr
        check(result.stdout + result.stderr, *([AS_SHOWN] if command in ("top", "pattern") or result.returncode == 1 else []))
    for arguments in (["top", imported, "--device", NAME], ["summary", imported, imported], ["summary", f"{imported}{NAME}"], ["recover", imported],
                      ["top", imported, "--device", f"nowhere{NAME}"], ["compare", imported, imported, "--out", tmp_path / NAME[:40]]):
        result = analyze(*arguments)
        check(result.stdout + result.stderr, AS_SHOWN)
    # A part that cannot be read.
    (imported / "block/part-000001.parquet").write_bytes(b"no part")
    broken = analyze("summary", imported)
    assert broken.returncode == 1
    check(broken.stderr, AS_SHOWN)


def test_what_programs_read_is_exact(imported, tmp_path):
    assert analyze("top", imported, "--out", tmp_path / "out").returncode == 0
    with open(tmp_path / "out" / "top.csv", newline="", encoding="utf-8") as lines:
        names = {row["name"] for row in csv.DictReader(lines) if row["scope"] == "device"}
    assert names >= {NAME, *(f"x{character}y" for character in SHOWN)}
    assert analyze("top", imported, "--format", "json", "--out", tmp_path / "out").returncode == 0
    assert NAME in {row["name"] for row in json.loads((tmp_path / "out" / "top.json").read_text())}


def test_the_page_has_none_of_them(imported, tmp_path):
    assert analyze("report", imported, "--out", tmp_path / "out").returncode == 0
    page = (tmp_path / "out" / "report.html").read_text()
    check(page, AS_SHOWN)


def test_the_recorder_escapes_them_in_messages(tmp_path):
    for arguments in (["status", tmp_path / NAME], ["record", "--out", tmp_path / "x", "--device", NAME], ["record", "--live", "--rules", tmp_path / NAME]):
        result = run(BIN / "iostrata", *arguments)
        assert result.returncode in (1, 2), result
        check(result.stdout + result.stderr, AS_SHOWN)


CALL_ITSELF = """
import os, sys
path, name = sys.argv[1:]
open("/proc/self/comm", "wb").write(name.encode())
while sys.stdin.readline():
    f = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(f, b"x" * 4096)
    os.fsync(f)
    os.close(f)
    print("done", flush=True)
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_live_view_shows_what_a_process_calls_itself(disk, form, tmp_path):
    # As many as fit into the name of a thread.
    name = "p\x1b\x9b\u202e\u2066\u200f"
    process = subprocess.Popen([sys.executable, "-c", CALL_ITSELF, disk.mount / "file", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    out = tmp_path / NAME
    live = view("--device", disk.name, "--format", form, "--out", out, encoding="utf-8")
    try:
        seen = live.stdout.readline() if form == "text" else ""
        while f" {process.pid} " not in seen and f'"pid":{process.pid},' not in seen:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            seen += live.stdout.readline()
        status = run(BIN / "iostrata", "status", out)
        live.send_signal(signal.SIGINT)
        text, report = rest_of(live)
    finally:
        process.kill()
        process.wait()
    seen += text
    if form == "text":
        check(seen, "p\\x1b\\u{9b}\\u{202e}\\u{2066}\\u{200f}")
    else:
        check(seen)
        assert name in {json.loads(line)["comm"] for line in seen.splitlines()}
    check(report, AS_SHOWN)
    check(status.stdout + status.stderr)
    told = run(BIN / "iostrata", "status", out)
    check(told.stdout + told.stderr, AS_SHOWN)
