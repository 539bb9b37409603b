"""Names with control characters or bidirectional marks: people see them escaped, programs receive them unchanged."""

import csv
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from conftest import BIN, analyze, require, run
from test_live import rest_of, view

# Escaped form of each. A carriage return and a newline would make another line of the text after it.
SHOWN = {
    "\x1b": "\\x1b", "\x07": "\\x07", "\x7f": "\\x7f", "\x9b": "\\u{9b}", "\xad": "\\u{ad}", "\u061c": "\\u{61c}", "\u200b": "\\u{200b}", "\u200e": "\\u{200e}",
    "\u200f": "\\u{200f}", "\u2028": "\\u{2028}", "\u2029": "\\u{2029}", "\u202a": "\\u{202a}", "\u202b": "\\u{202b}", "\u202c": "\\u{202c}",
    "\u202d": "\\u{202d}", "\u202e": "\\u{202e}", "\u2066": "\\u{2066}", "\u2067": "\\u{2067}", "\u2068": "\\u{2068}", "\u2069": "\\u{2069}",
    "\ufeff": "\\u{feff}", "\U000e0041": "\\u{e0041}",
    # Invisible characters, or characters that change their neighbours: fillers, joiners, variation selectors, tags.
    "\u034f": "\\u{34f}", "\u115f": "\\u{115f}", "\u1160": "\\u{1160}", "\u180b": "\\u{180b}", "\u180f": "\\u{180f}", "\u3164": "\\u{3164}",
    "\ufe00": "\\u{fe00}", "\ufe0f": "\\u{fe0f}", "\uffa0": "\\u{ffa0}", "\U000e0000": "\\u{e0000}", "\U000e0100": "\\u{e0100}",
    "\U000e01ef": "\\u{e01ef}",
}
NAME = "n" + "m".join(SHOWN) + "o"
AS_SHOWN = "n" + "m".join(SHOWN.values()) + "o"


def check(text, *shown):
    """Checks that none of the raw characters is in the text, and that their escapes are."""
    assert not set(text) & set(SHOWN), repr(text)
    for name in shown:
        assert name in text, text


@pytest.fixture
def imported(tmp_path):
    """A capture in a directory with such a name, of disks with such names: one has all characters, each of the others has one."""
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
        # For a capture without the selected rows the error includes its name.
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
        assert result.returncode == 1, result
        check(result.stdout + result.stderr, AS_SHOWN)


# Command lines that clap refuses, with its messages, and others that the programs refuse themselves.
REFUSED = [
    ("iostrata", [NAME], 2),
    ("iostrata", ["record", f"--{NAME}"], 2),
    ("iostrata", ["record", f"--pid={NAME}"], 2),
    ("iostrata", ["record", "--layers", NAME], 2),
    ("iostrata", ["record", "--rotate-size", NAME, "--out", "x"], 2),
    ("iostrata", ["record", "--privacy", NAME], 2),
    ("iostrata", ["status", "--format", NAME, "x"], 2),
    ("iostrata", ["check", NAME], 2),
    ("iostrata-analyze", [NAME], 2),
    ("iostrata-analyze", ["summary", "x", f"--{NAME}"], 2),
    ("iostrata-analyze", ["summary", "x", f"--level={NAME}"], 2),
    ("iostrata-analyze", ["summary", "x", "--since", NAME], 2),
    ("iostrata-analyze", ["summary", "x", "--file", f"[{NAME}"], 2),
    ("iostrata-analyze", ["import", "--format", NAME, "x", "--out", "y"], 2),
    ("iostrata-analyze", ["top", "x", "--by", NAME], 2),
    ("iostrata-generate", [NAME], 2),
    ("iostrata-generate", [f"--{NAME}"], 2),
    ("iostrata-generate", ["--out", "x", "--events", NAME], 2),
    ("iostrata-generate", ["--out", "x", "--file-size", NAME], 2),
    ("iostrata-generate", ["--out", f"/dev/null/{NAME}"], 1),
]


@pytest.mark.parametrize("colors", [False, True])
@pytest.mark.parametrize("program, arguments, code", REFUSED)
def test_no_program_prints_what_was_typed_as_it_is(program, arguments, code, colors):
    result = run(BIN / program, *arguments, env={**os.environ, "CLICOLOR_FORCE": "1"} if colors else os.environ)
    assert result.returncode == code and result.stdout == "", result
    # Colors are clap's own: SGR sequences with numbers, and nothing else.
    text = re.sub(r"\x1b\[[0-9;]*m", "", result.stderr) if colors else result.stderr
    assert (text != result.stderr) == (colors and code == 2), repr(result.stderr)
    check(text, AS_SHOWN)


@pytest.mark.parametrize("program", ["iostrata", "iostrata-analyze", "iostrata-generate"])
def test_colors_in_what_was_typed_are_not_taken_for_claps_own(program):
    result = run(BIN / program, "--a\x1b[31mb", env={**os.environ, "CLICOLOR_FORCE": "1"})
    assert result.returncode == 2 and "--a\\x1b[31mb" in result.stderr and "\x1b[31mb" not in result.stderr, result


@pytest.mark.parametrize("option", ["--help", "--version", "--no-such-option"])
@pytest.mark.parametrize("program", ["iostrata", "iostrata-analyze", "iostrata-generate"])
def test_what_a_program_is_called_is_harmless_too(program, option):
    result = subprocess.run([NAME, option], executable=BIN / program, capture_output=True, text=True)
    assert result.returncode == (2 if option == "--no-such-option" else 0)
    check(result.stdout + result.stderr)
    assert program in result.stdout or AS_SHOWN in result.stdout + result.stderr


def test_bytes_that_are_no_text_are_refused_without_them():
    result = subprocess.run([BIN / "iostrata-generate", "--out", "x", "--events", b"\xff\x1b[2J\x9b"], capture_output=True)
    assert result.returncode == 2 and b"\xff" not in result.stderr and b"\x1b" not in result.stderr, result


@pytest.mark.parametrize("program, arguments", [
    ("iostrata", ["status", "/nowhere/a\nb"]),
    ("iostrata", ["record", "--live", "--rules", "/nowhere/a\nb"]),
    ("iostrata-analyze", ["summary", "/nowhere/a\nb"]),
    ("iostrata-generate", ["--out", "/dev/null/a\nb"]),
])
def test_a_message_is_one_line_whatever_a_path_is(program, arguments):
    result = run(BIN / program, *arguments)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and re.search(r"/a(\\n| )b", result.stderr), result


# Characters of a Perl character class, which uses Unicode's own properties.
OF_CLASS = r"""binmode STDOUT, ":utf8"; for (1 .. 0xd7ff, 0xe000 .. 0x10ffff) { print chr if chr =~ /%s/ }"""


def test_all_that_unicode_has_shown_as_nothing_is_escaped():
    found = subprocess.run([require("perl"), "-e", OF_CLASS % r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]"], capture_output=True, check=True).stdout.decode()
    assert len(found) > 4_000 and set(SHOWN) <= set(found)
    shown = "".join({"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(one) or (f"\\x{ord(one):02x}" if one <= "\x7f" else f"\\u{{{ord(one):x}}}") for one in found)
    result = run(BIN / "iostrata-generate", "--out", "x", "--events", f"a{found}b", encoding="utf-8")
    assert result.returncode == 2 and f"'a{shown}b'" in result.stderr and not set(result.stderr) & (set(found) - {"\n"})
    # Of written text everything is shown: letters, marks, numbers, signs, symbols and spaces.
    written = subprocess.run([require("perl"), "-e", OF_CLASS % r"[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}]"], capture_output=True, check=True).stdout.decode()
    written = "".join(one for one in written if one not in found and one not in "'`")
    for at in range(0, len(written), 20_000):
        result = run(BIN / "iostrata-generate", "--out", "x", "--events", f"a{written[at : at + 20_000]}b", encoding="utf-8")
        assert f"'a{written[at : at + 20_000]}b'" in result.stderr


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
    # The maximum number that fits into a thread name.
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
