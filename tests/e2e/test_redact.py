"""`iostrata-analyze redact` removes the contents of command lines, and nothing else."""

import json
import os
import subprocess

import pytest
from conftest import TABLES, Capture, analyze

SECRET = "rosebud-7f3a"
# Rows without their command lines.
REST = "select * exclude (cmdline) from {process} order by all"


def work(disk, number):
    return ["sh", "-c", f"echo x > {disk.mount}/{number}; cat {disk.mount}/{number} > /dev/null # --password={SECRET}"]


def words(directory):
    """Returns the bytes of all uncompressed files of a capture, and all texts in its tables."""
    capture = Capture(directory)
    found = []
    for table in TABLES:
        for part in directory.glob(f"{table}/*.parquet"):
            found += [value for row in capture.sql(f"select * from '{part}'") for value in row if isinstance(value, str)]
    return found


@pytest.fixture
def recorded(disk, record, tmp_path):
    """A capture of two segments."""
    out = tmp_path / "run"
    for number in range(2):
        recorder = record("--device", disk.name, "--layers", "syscall", "--resume", out=out, segment="segment-000002" if number else "")
        subprocess.run(work(disk, number), check=True)
        recorder.stop()
    return out


def test_the_names_of_programs_are_left_and_all_else_is_as_it_was(recorded):
    segments = [recorded, recorded / "segment-000002"]
    before = [(Capture(segment).sql(REST), analyze("summary", segment).stdout) for segment in segments]
    assert all(any(SECRET in word for word in words(segment)) for segment in segments)
    owner = 65534
    for segment in segments:
        for part in segment.glob("process/*.parquet"):
            os.chown(part, owner, owner)
    done = analyze("redact", recorded)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(": rewrote 1 part: " in line for line in lines), done.stdout
    for segment, (rest, _) in zip(segments, before):
        assert not any(SECRET in word for word in words(segment))
        capture = Capture(segment)
        capture.check_books()
        assert capture.sql(REST) == rest
        assert capture.one("""select count(*), count(*) filter (where cmdline != regexp_extract(exe, '[^/]*$')) from {process}
            where cmdline is not null""")[1] == 0
        for part in capture.manifest["parts"]:
            assert (segment / part["file"]).stat().st_size == part["bytes"], part
        assert {part.stat().st_uid for part in segment.glob("process/*.parquet")} == {owner}
        assert not [name for name in (segment / "process").iterdir() if name.name.startswith(".")]
    summary = analyze("summary", recorded)
    assert summary.returncode == 0, summary.stderr
    again = analyze("redact", recorded)
    assert again.returncode == 0 and all(": nothing to rewrite: " in line for line in again.stdout.splitlines()), again.stdout


def test_as_many_words_are_left_as_are_asked_for(recorded):
    assert analyze("redact", "--words", 2, recorded).returncode == 0
    found = {row[0] for row in Capture(recorded).sql("select cmdline from {process} where exe like '%/cat'")}
    assert found == {f"cat {line.split()[1]}" for line in found} and found, found
    assert analyze("redact", "--words", 0, recorded).returncode == 0
    assert Capture(recorded).one("select count(cmdline), count(*) > 0 from {process}") == (0, True)


def test_a_capture_that_is_being_recorded_is_refused_and_none_is_changed(recorded, disk, record):
    recorder = record("--device", disk.name, "--layers", "syscall", "--resume", out=recorded, segment="segment-000003")
    subprocess.run(work(disk, 3), check=True)
    refused = analyze("redact", recorded)
    recorder.stop()
    assert refused.returncode == 1 and not refused.stdout
    assert refused.stderr.count("\n") == 1 and "is being written, expected a finished capture" in refused.stderr
    assert any(SECRET in word for word in words(recorded))
    done = analyze("redact", recorded)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3


def test_a_capture_that_was_cut_off_is_to_be_recovered_first(disk, record, tmp_path):
    recorder = record("--device", disk.name, "--layers", "syscall", "--flush-interval", "200ms")
    subprocess.run(work(disk, 0), check=True)
    flushed = recorder.out / "process"
    while not any(flushed.glob(".part-*.groups")) or (next(flushed.glob(".part-*.tmp")).stat().st_size) < 100:
        assert recorder.process.poll() is None
    recorder.process.kill()
    recorder.process.communicate()
    refused = analyze("redact", recorder.out)
    assert refused.returncode == 1 and "is incomplete (recording interrupted), expected a finished capture: run `recover` first" in refused.stderr
    assert analyze("recover", recorder.out).returncode == 0
    assert analyze("redact", recorder.out).returncode == 0
    assert not any(SECRET in word for word in words(recorder.out))
    assert json.loads((recorder.out / "manifest.json").read_text())["state"] == "recovered"
