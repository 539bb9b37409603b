"""Privileges of the recorder while it records, the owner of its files, and their content."""

import os
import stat

import proc
from conftest import NOBODY, TABLES

# include/uapi/linux/capability.h
CAP_DAC_READ_SEARCH, CAP_KILL, CAP_BPF = 1 << 2, 1 << 5, 1 << 39
BY_SUDO = ("env", f"SUDO_UID={NOBODY}", f"SUDO_GID={NOBODY}")
SECRET = "rosebud"


def threads(recorder):
    """Returns the kernel's status of each thread of the recorder: /proc/PID/task/TID/status."""
    statuses = proc.texts(f"/proc/{recorder.process.pid}/task/*/status")
    return [dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line) for _, status in statuses]


def check_files(directory, uid):
    names = [directory, *directory.rglob("*")]
    assert len(names) > 10
    for name in names:
        found = name.lstat()
        assert (found.st_uid, found.st_gid) == (uid, uid), name
        assert stat.S_IMODE(found.st_mode) == (0o750 if name.is_dir() else 0o640), name


def load(disk):
    for number in range(20):
        path = disk.mount / f"file{number}"
        path.write_bytes(b"x" * 4096)
        with open(path, "rb") as written:
            os.fsync(written.fileno())


def check_threads(recorder, uid, capabilities):
    found = threads(recorder)
    assert len(found) >= 3
    for thread in found:
        assert thread["Uid"].split() == [str(uid)] * 4, thread["Name"]
        for kind in ("CapPrm", "CapEff"):
            assert int(thread[kind], 16) == capabilities, (thread["Name"], kind)
        assert int(thread["CapInh"], 16) == int(thread["CapAmb"], 16) == 0
        assert thread["NoNewPrivs"] == "1"


def test_what_is_not_needed_after_the_start_is_given_up(disk, record):
    recorder = record("--device", disk.name, "--layers", "block")
    load(disk)
    check_threads(recorder, 0, CAP_BPF | CAP_DAC_READ_SEARCH)
    capture = recorder.stop()
    capture.check_books()
    capture.check_device(disk.name)
    assert capture.one("select count(*) >= 20 from {block}") == (True,)
    check_files(capture.directory, 0)


def test_under_sudo_the_recorder_becomes_who_asked_and_the_capture_is_theirs(disk, record, theirs):
    recorder = record(
        "--rotate-interval", "500ms", "--", "sh", "-c", "while cat /bin/sh > /dev/null; do sleep 0.1; done", out=theirs / "run", prefix=BY_SUDO)
    recorder.wait_until(lambda health: health["parts"] > len(TABLES))
    check_threads(recorder, NOBODY, CAP_BPF | CAP_DAC_READ_SEARCH | CAP_KILL)
    # The command still runs as root, as under sudo, and is ended all the same.
    capture = recorder.stop()
    assert "did not end" not in recorder.text
    assert len(capture.manifest["parts"]) > len(TABLES)
    capture.check_books()
    check_files(capture.directory, NOBODY)


def test_a_directory_of_somebody_else_that_was_there_before_is_written_to_by_root(disk, record, tmp_path):
    out = tmp_path / "theirs"
    out.mkdir(mode=0o755)
    os.chown(out, 12345, 12345)
    recorder = record("--device", disk.name, "--layers", "block", out=out, prefix=BY_SUDO)
    load(disk)
    capture = recorder.stop()
    capture.check_books()
    capture.check_device(disk.name)
    assert capture.directory.stat().st_uid == 12345
    assert {name.stat().st_uid for name in capture.directory.iterdir()} == {0}


def texts(capture):
    """Returns all texts of a capture, including the manifest."""
    found = [(capture.directory / "manifest.json").read_text()]
    for table in TABLES:
        for part in capture.directory.glob(f"{table}/*.parquet"):
            rows = capture.sql(f"select * from '{part}'")
            found += [value for row in rows for value in row if isinstance(value, str)]
    return found


def record_secrets(record, directory, *options):
    (directory / SECRET).mkdir(exist_ok=True)
    secret = directory / SECRET / f"{SECRET}.txt"
    script = f"echo {SECRET} > {secret}; cat {secret} > /dev/null; true --password={SECRET}"
    return record("--layers", "syscall", *options, "--", "sh", "-c", script).finish()


def test_command_lines_and_paths_are_recorded_as_far_as_is_asked(record, tmp_path):
    open_ones = record_secrets(record, tmp_path)
    assert open_ones.manifest["privacy"] == "none"
    assert any(SECRET in text for text in texts(open_ones))
    assert open_ones.sql("select count(*) from {file} where path like '%rosebud.txt'")[0][0] > 0

    hashed = record_secrets(record, tmp_path, "--privacy", "hash")
    assert not any(SECRET in text for text in texts(hashed))
    # One file has one hash, the processes have their names, and equal command lines are equal.
    names = hashed.sql("select distinct path from {file} where path is not null and ino = " + str((tmp_path / SECRET / f"{SECRET}.txt").stat().st_ino))
    assert len(names) == 1 and names[0][0].count("/") == str(tmp_path).count("/") + 2
    assert hashed.one("select count(*) > 0 from {process} where exe like '%/cat' and length(cmdline) = 16") == (True,)

    dropped = record_secrets(record, tmp_path, "--privacy", "drop")
    assert not any(SECRET in text for text in texts(dropped))
    assert dropped.one("select count(path), count(path_origin), count(*) > 0 from {file}") == (0, 0, True)
    assert dropped.one("select count(cmdline), count(*) filter (where exe like '/%' and comm = 'cat') > 0 from {process}") == (0, True)
