"""Common functions of tests in virtual machines."""

import shutil
import subprocess

import pytest
from conftest import BIN, ROOT, run

VM = ROOT / "tests/vm"


def fetch_kernel(line):
    """Downloads Debian's kernel of this line; skips the test if it is not available."""
    fetched = run(VM / "kernels.sh", line)
    if fetched.returncode == 77:
        pytest.skip(f"kernel {line} cannot be had here: {(fetched.stderr or fetched.stdout).strip()}")
    assert fetched.returncode == 0, fetched.stderr


def make_payload(tmp_path_factory, script, *programs):
    """Builds a payload of the recorder without its symbols and of `programs`, each `FILE` or `FILE=PLACE`, with their libraries."""
    directory = tmp_path_factory.mktemp("payload")
    shutil.copy(VM / script, directory)
    small = tmp_path_factory.mktemp("bin") / "iostrata"
    subprocess.run(["strip", "-o", small, BIN / "iostrata"], check=True)
    subprocess.run([VM / "payload.sh", directory, f"{small}=/usr/bin/iostrata", *programs], check=True)
    return directory


def counters(path):
    """Returns operations and bytes of a copy of /sys/block/DEVICE/stat."""
    fields = [int(word) for word in path.read_text().split()]
    return {"read": (fields[0], fields[2] * 512), "write": (fields[4], fields[6] * 512)}


def check_counters(capture, out):
    """Checks that the rows of the disk lie between its counters around the workload and those around the recording, of which there are
    copies: a file system may write on its own between the two.
    """
    capture.check_device("nvme0n1", busy=True)
    outer, inner = [[counters(out / f"stat.{name}") for name in pair] for pair in (("first", "last"), ("before", "after"))]
    for direction, ops in (("read", "('read')"), ("write", "('write', 'flush', 'write_zeroes')")):
        rows = capture.one(f"select count(*), sum(bytes)::bigint from {{block}} where op in {ops}")
        least, most = [tuple(b - a for a, b in zip(*(stat[direction] for stat in stats))) for stats in (inner, outer)]
        assert all(low <= value <= high for low, value, high in zip(least, rows, most)), (direction, least, rows, most)
