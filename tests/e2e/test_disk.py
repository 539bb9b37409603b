"""The disk that the capture is written to is never filled, and its failure neither stops the recording nor causes uncounted losses."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import duckdb
import pytest
from conftest import BIN, Capture, Disk, analyze, lost_so_far, parts_of, run, summary_rows
from test_load import fast_disk, fio  # noqa: F401, a fixture
from test_survive import writer  # noqa: F401, a fixture

MIB = 1 << 20
SECONDS = 600 if os.environ.get("IOSTRATA_SOAK") else 12


@pytest.fixture
def small(recordable, tmp_path):
    """A file system of 64 MiB for captures."""
    (tmp_path / "small").mkdir()
    small = Disk(tmp_path / "small", mebibytes=64)
    yield small
    small.close()


def free_bytes(path):
    space = os.statvfs(path)
    return space.f_bavail * space.f_frsize


class LeastFree(threading.Thread):
    """Polls the free space of a file system and keeps the minimum."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.least, self.over = path, free_bytes(path), threading.Event()

    def run(self):
        while not self.over.wait(0.002):
            self.least = min(self.least, free_bytes(self.path))

    def stop(self):
        self.over.set()
        self.join()
        return self.least


def fill(disk, leave):
    """Allocates free space until `leave` bytes are left."""
    ballast = disk.mount / "ballast"
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free_bytes(disk.mount) - leave)
    subprocess.run(["sync", "-f", disk.mount], check=True)
    return ballast


@pytest.mark.moments
def test_a_full_disk_pauses_the_recording_which_goes_on_when_there_is_room(disk, small, writer, record):  # noqa: F811
    space = os.statvfs(small.mount)
    reserve = space.f_blocks * space.f_frsize // 100 * 5
    ballast = fill(small, reserve + 7 * MIB // 2)
    watch = LeastFree(small.mount)
    watch.start()
    recorder = record("--device", disk.name, "--flush-interval", "500ms", "--rotate-interval", "1s", out=small.mount / "run")
    recorder.wait_until(lambda health: health["paused"])
    time.sleep(SECONDS)
    # Space that closing the parts freed may be used once more.
    recorder.wait_until(lambda health: health["paused"])
    least = watch.stop()
    full = sorted((small.mount / "run").glob("*/part-*.parquet"))
    ballast.unlink()
    resumed_ns = time.time_ns()
    before = recorder.wait_until(lambda health: not health["paused"])
    recorder.wait_until(lambda health: health["parts"] > before["parts"] + 1)
    capture = recorder.stop(expected=3)
    print(f"{SECONDS} s on a full disk: {(least - reserve) / MIB:.2f} MiB free above the reserve, lost {capture.lost_events()}")
    assert "the recording pauses" in recorder.text and "the recording continues" in recorder.text, recorder.text
    assert least >= reserve
    causes = {cause for _, cause in capture.lost_events()}
    assert "disk_full" in causes and "write_failed" not in causes, causes
    assert len(full) < len(capture.manifest["parts"])
    capture.check_books()
    assert capture.one(f"select count(*) > 0 from {{block}} where ts_ns > {resumed_ns}") == (True,)
    summary = analyze("summary", capture.directory)
    assert summary.returncode == 3 and "disk_full" in summary.stdout, summary.stdout


def test_a_start_that_finds_no_room_leaves_nothing_in_the_way(recordable, tmp_path):
    """A failed start leaves nothing behind: on a file system with room for the first few files, the same command works later, whichever file cannot
    be created."""
    place = tmp_path / "place"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,nr_inodes=2", "none", place], check=True)
    command = [BIN / "iostrata", "record", "--out", place / "run", "--layers", "block", "--duration", "100ms"]
    refused = 0
    try:
        # The directory, its lock, nine tables, the manifest, the list, the completeness file, and parts.
        for inodes in range(1, 20):
            subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes}", place], check=True)
            started = run(*command)
            if started.returncode != 1:
                break
            refused += 1
            assert "No space left on device" in started.stderr and started.stderr.count("\n") == 1, (inodes, started)
            assert list(place.iterdir()) == [], inodes
        subprocess.run(["mount", "-o", "remount,nr_inodes=1000", place], check=True)
        shutil.rmtree(place / "run", ignore_errors=True)
        assert refused == 14, refused
        assert run(*command).returncode == 0
    finally:
        subprocess.run(["umount", place], check=True)


def size_of(directory):
    """Returns the total size of the files that still exist."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


@pytest.mark.moments
def test_a_capture_stays_within_its_room_and_what_is_left_is_whole(fast_disk, record):  # noqa: F811
    most = 16 * MIB
    recorder = record("--device", fast_disk.name, "--max-disk", "16MiB", "--rotate-interval", "2s", "--flush-interval", "1s")

    def work():
        fio(fast_disk, "--ioengine=psync", "--numjobs=4", seconds=SECONDS)
        # A busy machine takes longer to fill it.
        while size_of(recorder.out) + sum(removed["bytes"] for removed in parts_of(recorder.out)[1]) < 2 * most:
            fio(fast_disk, "--ioengine=psync", "--numjobs=4", seconds=3)

    load = threading.Thread(target=work)
    load.start()
    largest, manifest = 0, recorder.out / "manifest.json"
    began = manifest.stat()
    while load.is_alive():
        largest = max(largest, size_of(recorder.out))
        time.sleep(0.02)
    # The cost of a part is independent of the others: the manifest is not rewritten.
    assert (manifest.stat().st_ino, manifest.stat().st_mtime_ns) == (began.st_ino, began.st_mtime_ns)
    capture = recorder.stop(expected=None)
    written = sum(removed["bytes"] for removed in capture.manifest["removed"]) + size_of(recorder.out)
    print(f"{written / MIB:.0f} MiB written within 16 MiB: at most {largest / MIB:.1f} MiB at a time")
    assert most // 2 < largest <= most and size_of(recorder.out) <= most
    capture.check_books()
    removed = {removed["table"]: removed for removed in capture.manifest["removed"]}
    assert set(removed) >= {"syscall", "block"} and not set(removed) & {"process", "file", "clock", "loss"}
    # Processes of the remaining rows are named, though their rows are older than any of these.
    assert capture.one("select count(*) from {process}")[0] > 0

    # The analyzer reads all tables from the same time on: its sums equal DuckDB's from there.
    from_ns = max(removed["last_ts_ns"] for removed in capture.manifest["removed"])
    out = recorder.out.parent / "results"
    summary = analyze("summary", recorder.out, "--out", out)
    assert "removed to keep the capture within --max-disk" in summary.stdout, summary.stdout
    rows = summary_rows(out / "summary.csv")
    for column, table, ops in [("syscall_write_ops", "syscall", "('write', 'pwrite64')"), ("block_write_ops", "block", "('write', 'flush')")]:
        counted = capture.one(f"select count(*) from {{{table}}} where ts_ns > {from_ns} and op in {ops}")[0]
        assert counted > 0 and sum(int(row[column]) for row in rows) == counted, column


@pytest.mark.moments
def test_the_oldest_parts_go_before_the_recording_pauses(fast_disk, small, record):  # noqa: F811
    """The oldest parts are removed before the recording pauses: when others use the space of the capture, the newest rows remain."""
    space = os.statvfs(small.mount)
    reserve = space.f_blocks * space.f_frsize // 100 * 5
    fill(small, reserve + 6 * MIB)
    recorder = record("--device", fast_disk.name, "--max-disk", "40MiB", "--rotate-interval", "1s", out=small.mount / "run")
    watch = LeastFree(small.mount)
    watch.start()
    fio(fast_disk, "--ioengine=psync", "--numjobs=4", seconds=12)
    while not {removed["table"] for removed in parts_of(recorder.out)[1]} >= {"syscall", "block"}:
        fio(fast_disk, "--ioengine=psync", "--numjobs=4", seconds=3)
    least = watch.stop()
    capture = recorder.stop(expected=None)
    # A busy machine may lose some before they reach the writer.
    causes = {cause for _, cause in capture.lost_events()}
    assert not causes & {"disk_full", "write_failed"} and recorder.process.returncode == (3 if causes else 0), recorder.text
    assert "pauses" not in recorder.text and least >= reserve
    assert {removed["table"] for removed in capture.manifest["removed"]} >= {"syscall", "block"}
    assert {path.relative_to(capture.directory).as_posix() for path in capture.directory.glob("*/*.parquet")} == {
        part["file"] for part in capture.manifest["parts"]
    }
    capture.check_books()


def books(text):
    """Returns recorded and lost events of each class, from the recorder's summary."""
    found = re.findall(r"^events +(\w+): (\d+) recorded, (\d+) lost(?: \([^)]*\))?$", text, re.MULTILINE)
    assert found and len(found) == len(re.findall(r"^events +\w+: ", text, re.MULTILINE)), text
    return {name: tuple(int(count) for count in counts) for name, *counts in found}


def stop_with_losses(recorder):
    """Stops a recorder that could not write everything, and returns its messages."""
    assert recorder.process.poll() is None
    recorder.process.send_signal(signal.SIGTERM)
    text = recorder.process.communicate(timeout=60)[1]
    assert recorder.process.returncode == 3, text
    return text


def check_told(text):
    assert "panicked" not in text
    told = books(text)
    assert told["block"][1] > 0
    return told


def check_written(recorder, told):
    """Checks that the rows reported as written exist and are readable, no more and no less."""
    for table, (written, _) in told.items():
        files = [str(file) for file in recorder.out.glob(f"{table}/part-*.parquet")]
        rows = len(duckdb.sql(f"select * from read_parquet({files})").fetchall()) if files else 0
        assert rows == written, table


@pytest.mark.moments
def test_a_file_system_that_turns_read_only_costs_what_was_not_flushed(disk, small, writer, record):  # noqa: F811
    subprocess.run(["mount", "-o", "remount,errors=remount-ro", small.mount], check=True)
    recorder = record("--device", disk.name, "--flush-interval", "300ms", "--rotate-interval", "2s", out=small.mount / "run")
    recorder.wait_until(lambda health: health["parts"] > 0)
    Path(f"/sys/fs/ext4/{small.name}/trigger_fs_error").write_text("test")
    recorder.wait_until(lambda health: lost_so_far(health, "block").get("write_failed", 0) > 0)
    text = stop_with_losses(recorder)
    assert "Read-only file system" in text
    told = check_told(text)
    capture = Capture(recorder.out)
    assert capture.manifest["state"] == "recording", "the last manifest could not be written"
    check_written(recorder, told)


@pytest.mark.moments
def test_a_removed_directory_is_told_and_all_that_went_with_it_is_counted(disk, writer, record, tmp_path):  # noqa: F811
    recorder = record("--device", disk.name, "--flush-interval", "300ms", "--rotate-interval", "1s")
    recorder.wait_until(lambda health: health["parts"] > 0)
    # The recorder is found by the inode number of its directory, which is gone then.
    shutil.rmtree(recorder.out)
    time.sleep(2)
    text = stop_with_losses(recorder)
    assert "No such file or directory" in text
    check_told(text)


@pytest.fixture
def failing(recordable, tmp_path):
    """A file system with an image on another one that is nearly full: writes to it fail with EIO."""
    below, above = tmp_path / "below", tmp_path / "above"
    below.mkdir()
    above.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", below], check=True)
    failing = Disk(above, backing=below, mebibytes=64)
    yield failing
    failing.close()
    subprocess.run(["umount", below], check=True)


def test_a_device_that_fails_costs_what_was_not_flushed(disk, failing, writer, record):  # noqa: F811
    recorder = record("--device", disk.name, "--flush-interval", "300ms", "--rotate-interval", "2s", out=failing.mount / "run")
    recorder.wait_until(lambda health: health["parts"] > 0)
    subprocess.run(["dd", "if=/dev/zero", f"of={failing.image.parent}/ballast", "bs=64k", "status=none"], capture_output=True)
    recorder.wait_until(lambda health: lost_so_far(health, "block").get("write_failed", 0) > 0)
    text = stop_with_losses(recorder)
    assert "Input/output error" in text or "Read-only file system" in text, text
    check_written(recorder, check_told(text))
