"""The progress line of a long scan is shown on a terminal only."""

import os
import pty
import subprocess

from conftest import BIN, analyze, read_terminal


def on_a_terminal(*arguments):
    """Returns the standard error as shown by a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([BIN / "iostrata-analyze", *arguments], stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    seen = read_terminal(ours)
    out = process.communicate()[0]
    assert process.returncode == 0
    return out, seen


def test_a_long_scan_says_how_far_it_is(generate, tmp_path):
    capture = generate("--events", 4_000_000)
    arguments = ("report", capture, "--threads", "1", "--out", tmp_path / "out")
    quiet = analyze(*arguments)
    assert quiet.returncode == 0 and quiet.stderr == ""
    out, seen = on_a_terminal(*arguments)
    assert out == quiet.stdout
    assert "reading" in seen and "%" in seen and "left" in seen
    # Nothing of it is left on the screen.
    assert seen.rstrip("\r\n ").endswith("\x1b[2K") or seen.endswith("\r"), repr(seen[-80:])


def test_a_short_one_says_nothing(generate):
    capture = generate("--events", 1_000)
    assert on_a_terminal("summary", capture)[1] == ""
