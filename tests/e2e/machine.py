"""What tests in virtual machines have in common."""

import shutil
import subprocess

import pytest
from conftest import BIN, ROOT, run

VM = ROOT / "tests/vm"


def fetch_kernel(line):
    """Gets Debian's kernel of this line; skips the test where it cannot be had."""
    fetched = run(VM / "kernels.sh", line)
    if fetched.returncode == 77:
        pytest.skip(f"kernel {line} cannot be had here: {(fetched.stderr or fetched.stdout).strip()}")
    assert fetched.returncode == 0, fetched.stderr


def make_payload(tmp_path_factory, script, *programs):
    """A payload of the recorder without its symbols and `programs`, each `FILE` or `FILE=PLACE`, with their libraries."""
    directory = tmp_path_factory.mktemp("payload")
    shutil.copy(VM / script, directory)
    small = tmp_path_factory.mktemp("bin") / "iostrata"
    subprocess.run(["strip", "-o", small, BIN / "iostrata"], check=True)
    subprocess.run([VM / "payload.sh", directory, f"{small}=/usr/bin/iostrata", *programs], check=True)
    return directory
