"""Bad input results in one clear line, a non-zero exit code, and no damage."""

import os
import subprocess

import pytest
from conftest import AS_NOBODY, BIN, install, run


def refused(*arguments, code=1):
    """Returns the message for an invalid command line (2), or for an invalid file (1)."""
    result = run(BIN / "iostrata", *arguments)
    assert result.returncode == code, result
    assert result.stdout == ""
    return result.stderr.strip()


def test_an_unknown_device(tmp_path):
    message = refused("record", "--out", tmp_path / "x", "--device", "nosuchdisk")
    assert message == "iostrata: --device nosuchdisk: there is no such block device, see `lsblk -d`"
    assert not (tmp_path / "x").exists()


def test_an_output_directory_with_something_in_it(recordable, tmp_path):
    (tmp_path / "precious").write_text("data")
    message = refused("record", "--out", tmp_path)
    assert message == f"iostrata: --out {tmp_path}: exists and is not empty; expected a new or empty directory"
    assert [entry.name for entry in tmp_path.iterdir()] == ["precious"]


def test_an_output_that_is_a_file(recordable, tmp_path):
    (tmp_path / "file").write_text("data")
    message = refused("record", "--out", tmp_path / "file")
    assert message.startswith(f"iostrata: --out {tmp_path}/file: ") and message.count("\n") == 0
    assert (tmp_path / "file").read_text() == "data"


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--duration", "0s", "expected at least 100ms"),
        ("--duration", "soon", "expected a time such as 60s or 5m"),
        ("--duration", "-5s", "expected"),
        ("--duration", "1000years", "expected at most ten years"),
        ("--rotate-size", "1", "expected at least 64KiB"),
        ("--rotate-size", "99999999TiB", "expected"),
        ("--rotate-size", "big", "expected a size such as 128MiB"),
        ("--rotate-interval", "0", "expected"),
        ("--ring-size", "2GiB", "expected at most 1GiB"),
        ("--pid", "0", "0 is not in"),
        ("--layers", "disk", "possible values: syscall, vfs, fs, block"),
    ],
)
def test_impossible_values(option, value, expected, tmp_path):
    message = refused("record", "--out", tmp_path / "x", f"{option}={value}", code=2)
    assert option in message and expected in message
    assert not (tmp_path / "x").exists()


def test_neither_a_capture_nor_a_live_view():
    result = run(BIN / "iostrata", "record", "--duration", "1s")
    assert (result.returncode, result.stderr) == (2, "iostrata: record: expected --out DIR, --live, or both\n")


@pytest.mark.parametrize(("option", "needed"), [("--format=json", "--live"), ("--rules=r.toml", "--live")])
def test_options_of_a_live_view_without_one(option, needed, tmp_path):
    message = refused("record", "--out", tmp_path / "x", option, code=2)
    assert needed in message and "required" in message
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("option", ["--rotate-size=1MiB", "--rotate-interval=1s"])
def test_options_of_a_capture_without_one(option):
    message = refused("record", "--live", option, code=2)
    assert "--out" in message and "required" in message


def test_rules_that_are_wrong(tmp_path):
    (tmp_path / "rules.toml").write_text("[[system]]\nname = 3\n")
    message = refused("record", "--live", "--rules", tmp_path / "rules.toml")
    assert message == f"iostrata: {tmp_path}/rules.toml:2: invalid type: integer `3`, expected a string"


def test_a_process_that_is_not_there(tmp_path):
    assert refused("record", "--out", tmp_path / "x", "--pid", "4194303").endswith("there is no such process")


def test_a_cgroup_that_is_not_there(tmp_path):
    message = refused("record", "--out", tmp_path / "x", "--cgroup", "/no/such/group")
    assert message.startswith("iostrata: --cgroup /no/such/group: ") and "\n" not in message


def test_a_command_name_that_no_process_can_have(tmp_path):
    assert "1 to 15 bytes" in refused("record", "--out", tmp_path / "x", "--comm", "a-name-of-sixteen", code=2)


def test_no_privilege(public_dir):
    program = install("iostrata", public_dir)
    out = "/tmp/iostrata-nobody"
    result = subprocess.run([*AS_NOBODY, program, "record", "--out", out], capture_output=True, text=True, cwd="/")
    assert result.returncode == 1
    assert result.stderr.startswith("iostrata: loading BPF programs needs CAP_BPF and CAP_PERFMON: not sufficient")
    assert result.stderr.count("\n") == 1
    assert not os.path.exists(out)


def test_output_that_nobody_takes():
    """A full disk is an error on one line, a closed pipe is no error."""
    with open("/dev/full", "w") as full:
        result = subprocess.run([BIN / "iostrata", "check"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (1, "iostrata: cannot write to standard output: No space left on device (os error 28)\n")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        result = subprocess.run([BIN / "iostrata", "check"], stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert result.returncode in (0, 1) and result.stderr == ""
