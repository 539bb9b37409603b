"""A capture that is continued after its recorder ended: by a crash, by a reboot, or on request."""

import os
import time

import pytest
from conftest import BIN, NOBODY, Capture, analyze, parts_of, run, summary_rows, wait_for, whole_until_ns
from survival import check_no_gaps, check_parts
from test_disk import size_of
from test_load import fast_disk, fio  # noqa: F401, a fixture
from test_privilege import BY_SUDO, check_files
from test_survive import BLOCKS, writer  # noqa: F401, a fixture

MIB = 1 << 20
SECOND = "segment-000002"


@pytest.mark.moments
def test_a_capture_goes_on_after_a_crash(disk, writer, record, tmp_path, theirs):  # noqa: F811
    out = theirs / "run"
    # With room for waiting events on a busy machine.
    options = ("--device", disk.name, "--layers", "syscall,block", "--flush-interval", "300ms", "--memory", "256MiB")
    first = record(*options, out=out, prefix=BY_SUDO)
    began_ns = time.time_ns()
    wait_for(lambda: whole_until_ns(out) > began_ns + 1_000_000_000, "the first flushes")
    first.process.kill()
    first.process.communicate()
    refused = run(BIN / "iostrata", "record", "--out", out, "--duration", "1s")
    assert (refused.returncode, refused.stderr) == (
        1, f"iostrata: --out {out}: exists and is not empty; expected a new or empty directory; --resume continues a capture\n")

    second = record(*options, "--resume", out=out, segment=SECOND, prefix=BY_SUDO)
    time.sleep(1)
    third = run(BIN / "iostrata", "record", "--out", out, "--resume", "--duration", "1s")
    assert (third.returncode, third.stderr) == (1, f"iostrata: --out {out}: another recorder writes to it\n")
    segments = [None, second.stop(expected=None)]
    # A busy machine may lose some calls, which is reported.
    assert second.process.returncode == (3 if segments[1].lost() else 0), second.text
    assert f"{out}: recovered" in second.text
    segments[0] = Capture(out)
    assert [segment.manifest["state"] for segment in segments] == ["recovered", "complete"]
    assert segments[1].manifest["continues"] == segments[0].manifest["capture_id"]
    segments[1].check_books()
    check_files(out, NOBODY)

    # Each segment is complete, the second follows the first, and a summary covers both.
    ends = [check_no_gaps(segment, BLOCKS, f"pid = {writer.pid}") for segment in segments]
    assert ends[0] < segments[1].one(f"select min(ts_ns) from {{syscall}} where pid = {writer.pid}")[0]
    for segment in segments:
        check_parts(segment)
    summary = analyze("summary", out, "--out", tmp_path / "results")
    assert summary.returncode == 3 and "was interrupted and recovered" in summary.stderr, summary.stderr
    assert f"before {out}/{SECOND} continued" in summary.stdout, summary.stdout
    rows = summary_rows(tmp_path / "results/summary.csv")
    # The rows of the interrupted one up to its completeness time.
    until_ns = segments[0].manifest["whole_until_ns"]
    over = [f"coalesce(ts_ns + dur_ns, ts_ns) <= {until_ns}", "true"]
    counted = sum(segment.one(f"select count(*) from {{block}} where op = 'write' and {so_far}")[0] for segment, so_far in zip(segments, over))
    assert sum(int(row["block_write_ops"]) for row in rows) == counted > 0
    assert analyze("recover", out).stdout.count("nothing to recover") == 2


def test_resume_begins_a_capture_where_there_is_none_and_touches_nothing_else(disk, record, tmp_path):
    new = record("--resume", "--device", disk.name, out=tmp_path / "new")
    (disk.mount / "file").write_bytes(bytes(4096))
    os.sync()
    new.stop().check_books()
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter").write_text("dear")
    refused = run(BIN / "iostrata", "record", "--resume", "--out", other, "--duration", "1s")
    assert refused.returncode == 1 and refused.stderr.startswith("iostrata: --resume: expected a capture, or a new or empty directory: ")
    assert [path.name for path in other.iterdir()] == ["letter"]


def test_the_parts_of_earlier_segments_go_first(fast_disk, record, theirs):  # noqa: F811
    out = theirs / "run"
    first = record("--device", fast_disk.name, "--rotate-interval", "1s", out=out, prefix=BY_SUDO)
    while size_of(out) < 10 * MIB:
        fio(fast_disk, "--ioengine=psync", "--numjobs=4", seconds=3)
    first.stop(expected=None)
    before = size_of(out)
    # As after a repair by root in the meantime.
    os.chown(out / "parts.jsonl", 0, 0)
    second = record(
        "--device", fast_disk.name, "--rotate-interval", "1s", "--resume", "--max-disk", "16MiB", out=out, segment=SECOND, prefix=BY_SUDO)
    largest = 0
    while before + size_of(out / SECOND) <= 16 * MIB or not {removed["table"] for removed in parts_of(out)[1]} >= {"syscall", "block"}:
        fio(fast_disk, "--ioengine=psync", "--numjobs=4", seconds=3)
        largest = max(largest, size_of(out))
    last = second.stop(expected=None)
    first = Capture(out)
    assert largest <= 16 * MIB
    assert {removed["table"] for removed in first.manifest["removed"]} >= {"syscall", "block"}
    assert not last.manifest["removed"] or not [part for part in first.manifest["parts"] if part["table"] in ("syscall", "block")]
    last.check_books()
    check_files(out, NOBODY)
    # Rows written by the first one are present or were removed.
    for table in ("syscall", "block"):
        written = sum(account["written"] for account in first.manifest["books"]["accounts"] if account["class"] == table)
        listed = [*first.manifest["parts"], *first.manifest["removed"]]
        assert sum(part["rows"] for part in listed if part["table"] == table) == written, table
    summary = analyze("summary", out)
    assert "removed to keep the capture within --max-disk" in summary.stdout and "fio" in summary.stdout, summary


def test_a_recorder_that_ended_before_it_began_is_in_nobodys_way(disk, record, tmp_path):
    """A recorder that ended before it began does not block the next one: it leaves no manifest, first in the capture's own directory, then
    in that of a segment."""
    out = tmp_path / "run"

    def litter(directory):
        (directory / "block").mkdir(parents=True)
        (directory / "block/.part-000001.parquet.tmp").write_bytes(b"PAR1")
        (directory / "block/.part-000001.parquet.groups").write_bytes(b"")
        (directory / ".lock").touch()
        (directory / "parts.jsonl").touch()

    def recorded(segment):
        recorder = record("--resume", "--device", disk.name, "--layers", "block", out=out, segment=segment)
        (disk.mount / "file").write_bytes(bytes(4096))
        os.sync()
        capture = recorder.stop()
        capture.check_books()
        return capture.one("select count(*) from {block} where op in ('write', 'flush')")[0]

    litter(out)
    writes = recorded("")
    litter(out / SECOND)
    summary = analyze("summary", out, "--out", tmp_path / "results")
    assert (summary.returncode, summary.stderr) == (
        0, f"warning: {out}/{SECOND}: has no manifest: its recorder ended before the recording began; skipped\n")
    writes += recorded(SECOND)
    summary = analyze("summary", out, "--out", tmp_path / "results")
    assert (summary.returncode, summary.stderr) == (0, "")
    rows = summary_rows(tmp_path / "results/summary.csv")
    assert sum(int(row["block_write_ops"]) for row in rows) == writes

    # Any other file belongs to somebody else.
    litter(out / "segment-000003")
    litter(tmp_path / "mine")
    for capture, directory in ((out, out / "segment-000003"), (tmp_path / "mine", tmp_path / "mine")):
        (directory / "block/note").touch()
        refused = run(BIN / "iostrata", "record", "--out", capture, "--resume", "--duration", "1s")
        assert refused.returncode == 1, refused.stderr
        assert refused.stderr.endswith(f"{directory}: not a capture: manifest.json is missing\n"), refused.stderr
        assert (directory / "block/note").exists() and (directory / "block/.part-000001.parquet.tmp").exists()
    assert analyze("summary", out).returncode == 1
