"""A command that fails, or that a signal ends, leaves only what existed before, so that the same command works afterwards."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import BIN, ROOT, run

# Signals that end a program.
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
# File size limit for commands: too small for any of them to complete.
LIMIT_BYTES = 300


def tree(directory):
    """Returns everything in a directory, with contents."""
    found = {}
    for above, folders, files in os.walk(directory):
        found.update({os.path.join(above, name): None for name in folders})
        for name in files:
            with open(os.path.join(above, name), "rb") as file:
                found[os.path.join(above, name)] = file.read()
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory, generate):
    """Input of the commands: a capture, an incomplete one, a trace, a file of partials."""
    place = tmp_path_factory.mktemp("made")
    generate("--events", 300_000, out=place / "capture")
    generate("--events", 20_000, out=place / "cut")
    manifest = json.loads((place / "cut/manifest.json").read_text())
    manifest.update(state="recording", stopped_at=None, stop_reason=None)
    (place / "cut/manifest.json").write_text(json.dumps(manifest))
    (place / "cut/.lock").write_text("")
    with open(place / "trace.csv", "w") as trace:
        trace.writelines(f"{number % 3},R,{4096 * number},4096,{1577808000000000 + number}\n" for number in range(300_000))
    wrote = run(BIN / "iostrata-analyze", "partial", "--to", place / "partials", "report", place / "capture")
    assert wrote.returncode == 0, wrote.stderr
    return place


ANALYZE = [BIN / "iostrata-analyze"]

# Each command, with prepared input (M), copies of it (C) and its output (O). Each must write more than LIMIT_BYTES to a file.
COMMANDS = {
    "import": [*ANALYZE, "import", "--format", "alibaba", "--out", "O", "M/trace.csv"],
    "generate": [BIN / "iostrata-generate", "--events", "200000", "--out", "O"],
    "summary": [*ANALYZE, "summary", "M/capture", "--out", "O"],
    "report": [*ANALYZE, "report", "M/capture", "--out", "O"],
    "parquet": [*ANALYZE, "report", "M/capture", "--format", "parquet", "--out", "O"],
    "trace": [*ANALYZE, "trace", "M/capture", "--out", "O"],
    "compare": [*ANALYZE, "compare", "M/capture", "M/capture", "--out", "O"],
    "merge": [*ANALYZE, "merge", "--from", "M/partials", "report", "M/capture", "--out", "O"],
    "partial": [*ANALYZE, "partial", "--to", "T/partials", "report", "M/capture"],
    "cache": [*ANALYZE, "report", "C/capture", "--cache", "--out", "O"],
    "redact": [*ANALYZE, "redact", "--words", "0", "C/capture"],
    "recover": [*ANALYZE, "recover", "C/cut"],
}

# Location of the output: deep below existing directories, or in an existing, empty one.
PLACES = {"new": "new/deep/out", "empty": "out"}


def end_by_signals():
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)


class Case:
    """A command in a directory of its own."""

    def __init__(self, name, place, made, directory):
        self.directory, self.out = directory / "place", directory / "place" / PLACES[place]
        self.directory.mkdir()
        if place == "empty":
            self.out.mkdir()
        copies = self.directory / "copies"
        if any(str(word).startswith("C/") for word in COMMANDS[name]):
            copies.mkdir()
            for copied in ("capture", "cut"):
                shutil.copytree(made / copied, copies / copied)
        stands_for = {"O": self.out, "M": made, "C": copies, "T": self.directory}
        words = [str(word).split("/", 1) if str(word)[:2] in ("M/", "C/", "T/", "O") else [str(word)] for word in COMMANDS[name]]
        self.command = [str(stands_for[word[0]].joinpath(*word[1:])) if word[0] in stands_for else word[0] for word in words]
        self.before = tree(self.directory)

    def check_nothing_is_left(self):
        after = tree(self.directory)
        assert after.keys() == self.before.keys(), set(after) ^ set(self.before)
        assert after == self.before

    def check_it_works(self):
        done = run(*self.command)
        assert done.returncode == 0, done.stderr
        assert tree(self.directory) != self.before
        left = [name for name in tree(self.directory) if name.endswith((".tmp", ".new", ".groups", ".stream"))]
        assert not left

    def start(self, **options):
        # The test runner may itself have been started with ignored signals, which its children would inherit.
        options.setdefault("preexec_fn", end_by_signals)
        return subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_fails_leaves_what_was_there_before(name, place, made, tmp_path):
    case = Case(name, place, made, tmp_path)
    failed = run(*case.command, preexec_fn=limited)
    assert failed.returncode == 1 and failed.stderr.count("\n") == 1 and "File too large" in failed.stderr, failed
    # The message names the requested file, not its temporary name.
    assert f": {case.directory}/" in failed.stderr and not re.search(r"/\.[^/ :]+", failed.stderr), failed.stderr
    case.check_nothing_is_left()
    case.check_it_works()


def stopped_midway(case, is_midway):
    """Starts the command, and stops it in the middle of its work."""
    for _ in range(50):
        process = case.start()
        while process.poll() is None and not is_midway():
            time.sleep(0.0005)
        process.send_signal(signal.SIGSTOP)
        if process.poll() is None and is_midway():
            return process
        # The command was faster.
        process.send_signal(signal.SIGCONT)
        process.communicate()
        for name in sorted(set(tree(case.directory)) - set(case.before), reverse=True):
            os.rmdir(name) if os.path.isdir(name) else os.remove(name)
    raise AssertionError("it was never seen in the middle of what it does")


# Files that exist in the middle of the work, and are gone or renamed at the end.
MIDWAY = {"import": ".part-*.tmp", "generate": ".part-*.tmp", "partial": ".partials.*.tmp", "cache": ".1.partial.*.tmp"}


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["import", "generate", "summary", "report", "trace", "merge", "partial", "cache"])
def test_a_command_that_a_signal_ends_leaves_what_was_there_before(name, place, number, made, tmp_path):
    case = Case(name, place, made, tmp_path)

    def is_midway():
        if name in MIDWAY:
            return any(case.directory.rglob(MIDWAY[name]))
        # Results get their names at the end. A temporary file exists before.
        return any(case.out.glob(".*.tmp")) and not (case.out / "about.json").exists()

    process = stopped_midway(case, is_midway)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    printed = process.communicate()
    assert process.returncode == -number and printed == ("", ""), (process.returncode, printed)
    case.check_nothing_is_left()
    case.check_it_works()


@pytest.mark.moments
def test_a_signal_that_is_ignored_at_the_start_stays_ignored(made, tmp_path):
    """A signal that is ignored at the start stays ignored, as with nohup(1)."""
    case = Case("generate", "new", made, tmp_path)
    process = case.start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    while process.poll() is None and not any(case.directory.rglob(".part-*.tmp")):
        time.sleep(0.001)
    process.send_signal(signal.SIGHUP)
    process.communicate()
    assert process.returncode == 0 and (case.out / "manifest.json").exists()


def test_results_for_which_there_is_no_memory_leave_what_was_there_before(made, tmp_path):
    case = Case("report", "new", made, tmp_path)
    refused = run(*case.command, "--memory", "32MiB")
    assert refused.returncode == 1 and "memory limit of" in refused.stderr, refused
    case.check_nothing_is_left()


def test_no_result_is_replaced_unless_all_can_be(made, tmp_path):
    assert run(*ANALYZE, "report", made / "capture", "--out", tmp_path / "out").returncode == 0
    (tmp_path / "out/top.csv").unlink()
    (tmp_path / "out/top.csv").mkdir()
    (tmp_path / "out/summary.csv").write_text("of before")
    before = tree(tmp_path)
    failed = run(*ANALYZE, "report", made / "capture", "--out", tmp_path / "out")
    assert failed.returncode == 1 and f"{tmp_path}/out/top.csv: cannot replace" in failed.stderr, failed.stderr
    assert tree(tmp_path) == before


@pytest.mark.moments
def test_figures_that_a_signal_ends_are_whole_or_not_there(tmp_path):
    """Figures that a signal ends are complete or absent: finished ones stay."""
    results, scratch = tmp_path / "results", tmp_path / "scratch"
    scratch.mkdir()
    assert run(*ANALYZE, "report", ROOT / "tests/fixtures/debian-6.12-nvme", "--out", results).returncode == 0
    before = set(tree(results))
    drawing = subprocess.Popen([ROOT / "notebooks/run", results], env={**os.environ, "PYTHON": sys.executable, "TMPDIR": str(scratch)},
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while drawing.poll() is None and not any(results.glob(".*.tmp")):
        time.sleep(0.001)
    assert drawing.poll() is None, drawing.communicate()
    drawing.send_signal(signal.SIGTERM)
    drawing.communicate()
    assert drawing.returncode != 0
    made = {name: data for name, data in tree(results).items() if name not in before}
    for name, data in made.items():
        assert name.endswith((".pdf", ".svg")) and data.rstrip().endswith((b"%%EOF", b"</svg>")), name
    assert not tree(scratch)


@pytest.mark.parametrize("place", PLACES)
def test_a_recording_that_does_not_begin_leaves_what_was_there_before(recordable, place, tmp_path):
    out = tmp_path / "place" / PLACES[place]
    (out if place == "empty" else tmp_path / "place").mkdir(parents=True)
    before = tree(tmp_path)
    command = [BIN / "iostrata", "record", "--out", out, "--duration", "1s"]
    failed = run(*command, preexec_fn=limited)
    assert failed.returncode == 1, failed
    assert tree(tmp_path) == before
    done = run(*command)
    assert done.returncode in (0, 3) and (out / "manifest.json").exists(), done.stderr
