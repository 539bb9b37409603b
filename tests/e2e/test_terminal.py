"""Tables on a terminal: none is wider than it is; in a file or a pipe they have all columns."""

import fcntl
import os
import pty
import struct
import subprocess
import termios

import pytest
from conftest import BIN, ROOT, analyze, read_terminal

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"
TABLES = ["stat", "summary", "amplification", "latency", "timeline", "sizes", "footprint", "pattern", "arrivals", "queue", "iostat", "path", "sync", "cache",
          "quality", "top"]


def on_terminal(columns, *arguments):
    """Returns what the analyzer prints on a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([str(BIN / "iostrata-analyze"), *map(str, arguments)], stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    printed = read_terminal(ours)
    assert process.wait(timeout=60) in (0, 3)
    return printed.replace("\r\n", "\n")


def table(text):
    return text.split("\n\n")[0].splitlines()


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("columns", [80, 120])
def test_a_table_is_as_wide_as_the_terminal_at_most(name, columns):
    lines = table(on_terminal(columns, name, FIXTURE))
    assert len(lines) > 2 and max(map(len, lines)) <= columns, max(lines, key=len)
    # The first column, and some number, are there.
    whole = table(analyze(name, FIXTURE).stdout)
    assert lines[0].split()[0] == whole[0].split()[0] and len(lines[0].split()) >= 4


def test_a_note_names_the_columns_that_are_left_out_and_a_wide_terminal_has_all():
    narrow, wide = on_terminal(80, "top", FIXTURE), on_terminal(400, "top", FIXTURE)
    assert "not shown on this terminal: ID, COMMAND" in narrow and "ID" not in table(narrow)[0].split()
    cells = lambda text: [line.split() for line in table(text) if "─" not in line]
    assert cells(wide) == cells(analyze("top", FIXTURE).stdout) and "not shown on this terminal" not in wide


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_the_first_table_goes_to_standard_output(form, tmp_path):
    printed = subprocess.run([str(BIN / "iostrata-analyze"), "summary", str(FIXTURE), "--out", "-", "--format", form], capture_output=True)
    assert analyze("summary", FIXTURE, "--out", tmp_path, "--format", form).returncode == printed.returncode == 0
    assert printed.stdout == (tmp_path / f"summary.{form}").read_bytes()
    # Notes are beside it, and may be left out.
    assert b"filter: --device nvme0n1" in printed.stderr
    quiet = analyze("summary", FIXTURE, "--out", "-", "-q")
    assert quiet.returncode == 0 and quiet.stderr == "" and analyze("summary", FIXTURE, "-q").stdout.count("\n\n") < 2


@pytest.mark.parametrize("arguments, expected", [
    (["report", FIXTURE], "report: --out -: it writes files, expected a directory"),
    (["trace", FIXTURE], "trace: --out -: it writes files, expected a directory"),
    (["partial", "--to", "/nowhere", "summary", FIXTURE], "partial: --out does not apply to a share"),
])
def test_files_do_not_go_to_standard_output(arguments, expected):
    done = analyze(*arguments, "--out", "-")
    assert done.returncode == 2 and expected in done.stderr and done.stdout == "", done


def test_a_comparison_goes_to_standard_output(tmp_path):
    printed = analyze("compare", FIXTURE, FIXTURE, "--out", "-")
    assert analyze("compare", FIXTURE, FIXTURE, "--out", tmp_path).returncode == printed.returncode == 0
    assert printed.stdout == (tmp_path / "compare.csv").read_text()


def test_a_very_narrow_terminal_breaks_cells():
    lines = table(on_terminal(40, "quality", FIXTURE))
    assert max(map(len, lines)) <= 40 and "VERDICT" in lines[0]
