"""A machine that loses power during a recording: its emulator is killed, its disk repaired."""

import os
import random
import signal
import subprocess
import time

import pytest
from conftest import Capture, analyze, require
from machine import VM, fetch_kernel, make_payload
from proc import children_of
from survival import check_no_gaps, check_parts

LINE = "6.12"
ROUNDS = 30 if os.environ.get("IOSTRATA_SOAK") else 2
FLUSH_INTERVAL_S = 0.5
# The machine's clock begins at a whole second, and a flush takes a while on emulated processors.
SLACK_S = 5.0


@pytest.fixture(scope="module")
def payload(tmp_path_factory):
    fetch_kernel(LINE)
    return make_payload(tmp_path_factory, "powercut/run.sh", "mkfs.ext4", f"{require('dd')}=/usr/local/bin/dd")


def emulator_of(boot):
    """Returns the emulator that `boot.sh` runs, by way of `timeout`."""
    for child in children_of(boot.pid):
        for grandchild in children_of(child):
            if "qemu" in os.readlink(f"/proc/{grandchild}/exe"):
                return grandchild
    return None


def cut_power(payload, directory, after_s):
    """Boots the machine, lets it record for a while, and kills it; returns the image of its disk, and the time of the kill."""
    image, out = directory / "disk.img", directory / "out"
    command = [VM / "boot.sh", "--kernel", LINE, "--payload", payload, "--out", out, "--disk", image]
    boot = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    console = out / "console.log"
    deadline = time.monotonic() + 180
    while not (console.exists() and "run.sh: recording" in console.read_text()):
        assert boot.poll() is None and time.monotonic() < deadline, boot.communicate()[1]
        time.sleep(0.05)
    time.sleep(after_s)
    killed_ns = time.time_ns()
    os.kill(emulator_of(boot), signal.SIGKILL)
    assert boot.wait() == 125
    return image, killed_ns


def test_a_power_cut_costs_at_most_what_was_not_flushed(recordable, payload, tmp_path):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    lost, rows = [], 0
    for number in range(ROUNDS):
        directory = tmp_path / f"cut{number}"
        directory.mkdir()
        image, killed_ns = cut_power(payload, directory, chance.uniform(1, 8))
        mount = directory / "mnt"
        mount.mkdir()
        # As at the machine's next boot: ext4 replays its journal.
        subprocess.run(["mount", "-o", "loop", image, mount], check=True)
        try:
            recovered = analyze("recover", mount / "run")
            assert recovered.returncode == 0, recovered.stderr
            capture = Capture(mount / "run")
            check_parts(capture)
            last_ns = check_no_gaps(capture, 4096, "comm = 'dd'")
            # A very early cut may precede the first flush of one of the tables.
            if list(capture.directory.glob("block/*.parquet")):
                rows += capture.one("select count(*) from {block}")[0]
        finally:
            subprocess.run(["umount", mount], check=True)
        assert last_ns, "nothing was recovered"
        lost.append((killed_ns - last_ns) / 1e9)
        image.unlink()
    print(f"power cut {ROUNDS} times: {rows} requests recovered, lost {min(lost):.1f} to {max(lost):.1f} s by the host's clock")
    assert max(lost) < FLUSH_INTERVAL_S + SLACK_S
