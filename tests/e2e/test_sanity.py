"""What `quality` finds without a second witness: numbers that cannot be true together, and how full the kernel side's tables were."""

import csv
import json
import subprocess

from conftest import analyze


def checks(capture, out):
    """Verdict and finding, by check; of maps by their names."""
    told = analyze("quality", capture, "--out", out)
    assert told.returncode == 0, told.stderr
    with open(out / "quality.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    named = {row["found"].split(":")[0]: row for row in rows if row["check"] == "map"}
    return {row["check"]: (row["verdict"], row["found"]) for row in rows if row["check"] != "map"}, named


def test_a_sound_capture_is_sound_and_one_that_was_tampered_with_is_not(disk, record, tmp_path):
    disk.settle()
    recorder = record("--device", disk.name)
    subprocess.run(["dd", "if=/dev/zero", f"of={disk.mount}/x", "bs=64k", "count=64", "oflag=direct", "status=none"], check=True)
    capture = recorder.stop()
    found, maps = checks(capture.directory, tmp_path / "sound")
    assert found["classes"][0] == found["counters"][0] == found["ratios"][0] == "good", found
    # Each bounded table, with the size that the kernel side declares and no more in it than that.
    told = {used["map"]: used for used in capture.manifest["maps"]}
    assert told.keys() == maps.keys() >= {"calls", "tree", "named", "inode_owners", "servers"}
    assert all(0 <= used["peak"] <= used["entries"] and used["effect"] for used in told.values())
    assert told["calls"]["entries"] == 32768 and told["inode_owners"]["peak"] > 0

    path = capture.directory / "manifest.json"
    manifest = json.loads(path.read_text())
    for book in manifest["device_books"]:
        book["rows"]["write_bytes"] += 512
    manifest["books"]["incomplete"]["unfinished_async"] = 2**64 - 10
    manifest["maps"][0] |= {"peak": manifest["maps"][0]["entries"], "evicted": 3}
    path.write_text(json.dumps(manifest))
    found, maps = checks(capture.directory, tmp_path / "tampered")
    assert found["classes"][0] == "bad" and f"{disk.name}: " in found["classes"][1] and "written by class" in found["classes"][1]
    assert found["counters"][0] == "bad" and str(2**64 - 10) in found["counters"][1]
    full = maps[manifest["maps"][0]["map"]]
    assert full["verdict"] == "note" and "3 evicted or without room: " + manifest["maps"][0]["effect"] in full["found"], full
