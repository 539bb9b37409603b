"""A recorder without supervision: its notifications to a service manager, its status, and the unit that starts it."""

import configparser
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import time
from pathlib import Path

import pytest
from conftest import AS_NOBODY, BIN, ROOT, install, lost_so_far, run, wait_for
from prometheus_client.parser import text_string_to_metric_families
from test_memory import Load, stalling  # noqa: F401, a fixture
from test_privilege import BY_SUDO
from test_record import told

UNIT = ROOT / "packaging/iostrata.service"


def status(directory, *options):
    return run(BIN / "iostrata", "status", directory, *options, timeout=20)


def write(disk, count):
    for number in range(count):
        with open(disk.mount / f"file{number}", "wb") as file:
            file.write(bytes(4096))
            os.fsync(file.fileno())


@pytest.mark.moments
def test_whoever_asks_learns_how_a_recording_is(disk, record, tmp_path):
    errors = tmp_path / "errors"
    with open(errors, "w") as stderr:
        recorder = record("--device", disk.name, "--rotate-interval", "300ms", stderr=stderr)
    write(disk, 50)
    recorder.wait_until(lambda health: health["parts"] > 0 and health["drain_silent_ms"] < 1000 and health["writer_silent_ms"] < 2000)
    asked = status(recorder.out)
    assert asked.returncode == 0 and "warning" not in asked.stdout, asked
    assert re.search(r"^status    recording for \d+s: [\d,]+ events drained, \d+ finished parts", asked.stdout), asked.stdout
    health = json.loads(status(recorder.out, "--format", "json").stdout)
    assert health["pid"] == recorder.process.pid and health["parts"] > 0 and health["error"] is None
    assert 20 << 20 < health["resident_bytes"] <= 64 << 20
    seen = {of["class"]: of["seen"] for of in health["classes"]}
    assert seen["block"] >= 50 and seen["syscall"] >= 100

    # The same on standard error for a signal.
    told(recorder, signal.SIGUSR1, lambda: "status    syscall" in errors.read_text())
    capture = recorder.stop()
    assert re.search(r"^status    syscall  seen \d+, lost 0$", errors.read_text(), re.MULTILINE), errors.read_text()
    assert health["capture_id"] == capture.manifest["capture_id"]
    assert sum(of["seen"] for of in capture.manifest["books"]["accounts"] if of["class"] == "block") >= seen["block"]
    over = status(recorder.out)
    assert (over.returncode, over.stdout.startswith(f"{recorder.out}: not being recorded: the recording ended at 20")) == (4, True), over
    assert "(SIGTERM)" in over.stdout


def test_metrics_are_read_by_prometheus_and_say_what_the_capture_says(disk, record):
    recorder = record("--device", disk.name, "--layers", "syscall,block,block_latency", "--interval", "100ms")
    write(disk, 50)
    disk.settle()

    def metrics():
        asked = status(recorder.out, "--format", "prometheus")
        assert asked.returncode == 0, asked
        return {family.name: family for family in text_string_to_metric_families(asked.stdout)}

    def values(family, label):
        return {sample.labels[label]: sample.value for sample in family.samples}

    before = metrics()
    wait_for(lambda: values(metrics()["iostrata_events_seen"], "table").get("block_latency"), "a reading")
    now = metrics()
    types = {family.name: family.type for family in now.values()}
    assert types["iostrata_events_seen"] == "counter" and types["iostrata_resident_memory_bytes"] == "gauge"
    assert all(family.documentation for family in now.values())
    # No value is made up: nothing was lost, and the CPU time of the programs is measured only under a limit.
    assert not {"iostrata_program_cpu_seconds", "iostrata_cpu_ratio"} & now.keys()
    lost = now["iostrata_events_lost"].samples
    assert {sample.labels["table"] for sample in lost} >= {"block", "syscall"} and sum(sample.value for sample in lost) == 0
    threads = values(now["iostrata_thread_cpu_seconds"], "thread")
    assert {"drain", "writer", "readings"} <= threads.keys()
    spent = sum(int(word) for word in Path(f"/proc/{recorder.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])
    assert sum(threads.values()) <= spent / os.sysconf("SC_CLK_TCK")
    for family in (family for family in before.values() if family.type == "counter"):
        for sample in family.samples:
            later = next(later for later in now[family.name].samples if later.labels == sample.labels)
            assert later.value >= sample.value, sample
    seen = values(now["iostrata_events_seen"], "table")
    capture = recorder.stop()
    capture.check_books()
    recorded = {}
    for account in capture.manifest["books"]["accounts"]:
        recorded[account["class"]] = recorded.get(account["class"], 0) + account["seen"]
    assert seen.keys() <= recorded.keys() and all(recorded[table] >= count for table, count in seen.items()), (seen, recorded)
    assert seen["block"] >= 50 and seen["syscall"] >= 100


@pytest.mark.moments
def test_a_recorder_that_is_ill_or_silent_or_gone_is_told_from_one_that_is_well(stalling, record, tmp_path):  # noqa: F811
    above, below = stalling
    recorder = record("--comm", Load.NAME, "--flush-interval", "1s", out=above.mount / "run")
    load = Load()
    try:
        recorder.wait_until(lambda health: any(account["seen"] for account in health["classes"]))
        subprocess.run(["fsfreeze", "--freeze", below.mount], check=True)
        recorder.wait_until(lambda health: health["writer_silent_ms"] > 5000 and lost_so_far(health, "syscall"))
        ill = status(recorder.out)
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", below.mount], check=True)
        load.close()
    assert ill.returncode == 3, ill
    assert "warning   the disk has not accepted any writes for" in ill.stdout and "events lost" in ill.stdout, ill.stdout

    recorder.process.send_signal(signal.SIGSTOP)
    silent = status(recorder.out)
    assert (silent.returncode, silent.stderr) == (1, f"iostrata: {recorder.out}: the recorder does not answer: it is stopped, or hangs\n")
    recorder.process.send_signal(signal.SIGCONT)
    recorder.process.kill()
    recorder.process.communicate()
    gone = status(recorder.out)
    assert gone.returncode == 4 and "the recording was interrupted" in gone.stdout, gone
    for nothing in (tmp_path / "nowhere", tmp_path):
        refused = status(nothing)
        assert refused.returncode == 1 and refused.stderr.count("\n") == 1, refused


def test_who_may_not_read_the_capture_learns_nothing(disk, record, public_dir):
    recorder = record("--device", disk.name, out=public_dir / "run")
    program = install("iostrata", public_dir)
    refused = run(*AS_NOBODY, program, "status", recorder.out)
    assert refused.returncode == 1 and "Permission denied" in refused.stderr, refused
    recorder.stop()


def socket_of(out):
    found = os.stat(out)
    return Path(f"/run/iostrata/{found.st_dev:x}-{found.st_ino:x}")


def test_sockets_that_nobody_listens_to_are_removed_by_the_next_recorder(disk, record, theirs):
    killed = record("--device", disk.name, "--layers", "block")
    # Under sudo the recorder may lack the permission to remove its own socket at its end.
    given_up = record("--device", disk.name, "--layers", "block", out=theirs / "run", prefix=BY_SUDO)
    alive = record("--device", disk.name, "--layers", "block")
    sockets = [socket_of(recorder.out) for recorder in (killed, given_up, alive)]
    assert all(path.is_socket() for path in sockets)
    killed.process.kill()
    killed.process.communicate()
    given_up.stop()
    assert all(path.is_socket() for path in sockets)
    record("--device", disk.name, "--layers", "block").stop()
    assert [path.exists() for path in sockets] == [False, False, True]
    assert status(alive.out).returncode == 0
    alive.stop()
    assert not sockets[2].exists()


class Manager:
    """The receiving end of a service manager: sd_notify(3)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.heard = []

    def hear(self, seconds, enough=lambda texts: False):
        """Returns all messages of a period with their times, or until `enough` holds."""
        until = time.monotonic() + seconds
        while not enough([text for _, text in self.heard]) and (left := until - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                self.heard.append((time.monotonic(), self.socket.recv(4096).decode().strip()))
            except TimeoutError:
                break
        return [text for _, text in self.heard]


def test_a_service_manager_is_told_when_it_begins_lives_and_ends(disk, record, tmp_path):
    manager = Manager(tmp_path / "notify")
    prefix = ("env", f"NOTIFY_SOCKET={tmp_path}/notify", "WATCHDOG_USEC=2000000")
    recorder = record("--device", disk.name, prefix=prefix)
    heard = manager.hear(180, lambda texts: texts.count("WATCHDOG=1") > 6)
    assert heard[0] == "READY=1"
    assert any(text.startswith("STATUS=recording for") for text in heard), heard
    beats = [at for at, text in manager.heard if text == "WATCHDOG=1"]
    # At the expected interval, except for delays on a busy machine.
    assert len(beats) > 6 and statistics.median(after - before for before, after in zip(beats, beats[1:])) < 2

    # A hung recorder sends nothing.
    recorder.process.send_signal(signal.SIGSTOP)
    manager.hear(0.5)
    manager.heard.clear()
    assert "WATCHDOG=1" not in manager.hear(2.5)
    recorder.process.send_signal(signal.SIGCONT)
    recorder.stop()
    assert "STOPPING=1" in manager.hear(1)


def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT)
    return parser


def test_the_unit_is_one_that_systemd_takes(tmp_path):
    analyzer = shutil.which("systemd-analyze")
    if not analyzer:
        pytest.skip("there is no systemd-analyze here")
    text = UNIT.read_text().replace("/usr/bin/iostrata", str((BIN / "iostrata").resolve()))
    (tmp_path / UNIT.name).write_text(text)
    checked = run(analyzer, "verify", "--man=no", tmp_path / UNIT.name)
    complaints = [line for line in (checked.stdout + checked.stderr).splitlines() if UNIT.name in line]
    assert complaints == []


def test_the_unit_leaves_the_recorder_what_it_needs(disk, record):
    """The unit grants the recorder what it needs: with the capabilities in the unit, and no others, everything is captured that is captured
    with all."""
    setpriv = shutil.which("setpriv")
    if not setpriv:
        pytest.skip("there is no setpriv here")
    names = unit()["Service"]["CapabilityBoundingSet"].split()
    bounded = ",".join(["-all", *("+" + name.removeprefix("CAP_").lower() for name in names)])
    layers = {}
    for how, prefix in {"all": (), "bounded": (setpriv, f"--bounding-set={bounded}")}.items():
        recorder = record("--device", disk.name, prefix=prefix)
        write(disk, 20)
        capture = recorder.stop()
        capture.check_books()
        capture.check_device(disk.name)
        layers[how] = {name: layer["captured"] for name, layer in capture.manifest["layers"].items()}
        classes = capture.sql("select distinct class from {block} order by 1")
        assert ("data",) in classes and ("journal",) in classes
    assert layers["bounded"] == layers["all"]
