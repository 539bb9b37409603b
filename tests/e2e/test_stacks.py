"""`--device` records the calls of every file system above the disk, whatever its device number, and whenever it was mounted."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Disk, Loop, run, wait_for

WRITE = "import os,sys\nfor i in range(int(sys.argv[2])):\n    f=os.open(sys.argv[1]+str(i),os.O_WRONLY|os.O_CREAT)\n    os.write(f,bytes(4096))\n    os.close(f)\n"


def write(prefix, count):
    subprocess.run(["python3", "-c", WRITE, prefix, str(count)], check=True)


def writes(capture, name):
    """Returns the number of 4 KiB writes to files with `name` in their path."""
    return capture.one(f"""
        select count(*) from {{syscall}} s where op = 'write' and ret = 4096
        and (dev, ino) in (select (dev, ino) from {{file}} where path like '%{name}%')""")[0]


def mount_overlay(disk, name):
    places = {part: disk.mount / f"{name}-{part}" for part in ("lower", "upper", "work", "merged")}
    for place in places.values():
        place.mkdir(exist_ok=True)
    options = f"lowerdir={places['lower']},upperdir={places['upper']},workdir={places['work']}"
    mounted = run("mount", "-t", "overlay", "overlay", "-o", options, places["merged"])
    if mounted.returncode != 0:
        pytest.skip(f"this kernel mounts no overlay: {mounted.stderr.strip()}")
    return places["merged"]


def test_overlays_on_the_disk_before_and_after_the_start(disk, record, tmp_path):
    (tmp_path / "other-disk").mkdir()
    other = Disk(tmp_path / "other-disk")
    merged = [mount_overlay(disk, "before")]
    elsewhere = mount_overlay(other, "elsewhere")
    try:
        recorder = record("--device", disk.name)
        merged.append(mount_overlay(disk, "after"))
        write(f"{merged[0]}/first-", 100)
        write(f"{merged[1]}/second-", 80)
        write(f"{elsewhere}/third-", 60)
        capture = recorder.stop()
        assert [writes(capture, name) for name in ("first-", "second-", "third-")] == [100, 80, 0]
        assert capture.manifest["filtered"]["unmapped"] == []
        capture.check_books()
    finally:
        for place in [*merged, elsewhere]:
            subprocess.run(["umount", place], check=False)
        other.close()


def wait_until_drained(recorder, marker):
    """Waits until the recorder has emptied its rings: its current knowledge of mounts applies to later events."""
    before = recorder.status()["drained_events"]
    marker.write_bytes(b"x")
    wait_for(lambda: recorder.status()["drained_events"] != before)


WAITS = 'print("written", flush=True)\nsys.stdin.readline()'


def container(disk, name, then):
    """Writes to an overlay on the disk that no other process sees, then runs a script."""
    for part in ("lower", "upper", "work", "merged"):
        (disk.mount / name / part).mkdir(parents=True)
    place = disk.mount / name
    mount = f"mount -t overlay overlay -o lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work {place}/merged"
    command = ["unshare", "-m", "sh", "-c", f"{mount} && stat -c %d {place}/merged && exec python3 -c '{WRITE}{then}' {place}/merged/{name}- 50"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_an_overlay_in_another_mount_namespace(disk, record):
    """An overlay in another mount namespace, as in a container: the recorder does not see the mount, and the writing process still exists
    when its rows are processed."""
    recorder = record("--device", disk.name)
    hidden = container(disk, "hidden", WAITS)
    try:
        assert hidden.stdout.readline() and hidden.stdout.readline() == "written\n"
        capture = recorder.stop()
    finally:
        hidden.communicate("end\n")
    assert writes(capture, "hidden-") == 50
    assert capture.manifest["filtered"]["unmapped"] == []


@pytest.mark.moments
def test_a_number_that_meant_nothing_is_looked_for_again(disk, record):
    """An unknown device number is looked up again: one container is gone before its rows are processed; the next one gets the number of its
    overlay, and stays."""
    recorder = record("--device", disk.name)
    recorder.process.send_signal(signal.SIGSTOP)
    first = container(disk, "short", "")
    [number] = first.communicate()[0].split()
    recorder.process.send_signal(signal.SIGCONT)
    wait_until_drained(recorder, disk.mount / "marker")
    time.sleep(1.5)  # Longer than the interval between lookups.
    second = container(disk, "long", WAITS)
    try:
        assert [second.stdout.readline(), second.stdout.readline()] == [f"{number}\n", "written\n"]
        capture = recorder.stop()
    finally:
        second.communicate("end\n")
    assert (writes(capture, "short-"), writes(capture, "long-")) == (0, 50)
    [unmapped] = capture.manifest["filtered"]["unmapped"]
    assert unmapped["dev"] == int(number) and unmapped["rows"] >= 50


def test_a_number_that_means_another_file_system_later(disk, record, tmp_path):
    """A device number that is reused for another file system is recognized: overlays get the numbers of unmounted ones."""
    (tmp_path / "other-disk").mkdir()
    other = Disk(tmp_path / "other-disk")
    try:
        recorder = record("--device", disk.name)
        numbers = []
        for turn in range(6):
            on = (disk, other)[turn % 2]
            merged = mount_overlay(on, f"turn{turn}")
            numbers.append(merged.stat().st_dev)
            write(f"{merged}/turn{turn}-", 20)
            # The disks below a file system that is gone when its rows are processed cannot be determined.
            wait_until_drained(recorder, disk.mount / f"marker-{turn}-mounted")
            subprocess.run(["umount", merged], check=True)
            for marker in ("one", "two"):
                wait_until_drained(recorder, disk.mount / f"marker-{turn}-{marker}")
        capture = recorder.stop()
        assert [writes(capture, f"turn{turn}-") for turn in range(6)] == [20, 0] * 3, numbers
    finally:
        other.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_btrfs_by_its_second_device(when, recordable, record, tmp_path):
    if "btrfs" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no btrfs")
    disks = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        disks.append(Loop(tmp_path / name))
    mount = tmp_path / "mnt"
    mount.mkdir()
    try:
        subprocess.run(["mkfs.btrfs", "-q", "-f", *(disk.device for disk in disks)], check=True, capture_output=True)
        mounting = ["mount", "-o", f"device={disks[1].device}", disks[0].device, mount]
        if when == "before":
            subprocess.run(mounting, check=True)
        recorder = record("--device", disks[1].name)
        if when == "after":
            subprocess.run(mounting, check=True)
        write(f"{mount}/btrfs-", 80)
        capture = recorder.stop()
        assert writes(capture, "btrfs-") == 80
    finally:
        subprocess.run(["umount", mount], check=False)
        for disk in disks:
            disk.close()
