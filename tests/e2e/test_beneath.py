"""Directories of other users: files are created, changed and deleted only in the directory that was named, whatever its owner does during
the recording."""

import json
import os
import shutil
import subprocess

import pytest
from conftest import AS_NOBODY, BIN, NOBODY, Capture, analyze, health_of, make_nobodys, run, wait_for
from test_disk import fill, small  # noqa: F401, a fixture
from test_privilege import BY_SUDO
from test_survive import writer  # noqa: F401, a fixture

SECOND = "segment-000002"
LINK = "is a symbolic link or not a directory, expected a directory"


def all_of(directory):
    """Returns inode, mode, owner, links, modification time and content of everything in a directory."""
    found = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        meta = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        found[path] = (meta.st_ino, meta.st_mode, meta.st_uid, meta.st_nlink, meta.st_mtime_ns, content)
    return found


def as_nobody(script, directory):
    subprocess.run([*AS_NOBODY, "sh", "-ec", script], cwd=directory, check=True)


def make_elsewhere(place):
    """Creates a directory of root with files named like parts, finished and unfinished, in a table folder and beside it."""
    elsewhere = place / "elsewhere"
    for folder in (elsewhere, elsewhere / "block"):
        folder.mkdir(mode=0o755)
        for number in range(1, 100):
            name = f"part-{number:06}.parquet"
            for file in (name, f".{name}.tmp", f".{name}.groups", f".{name}.new"):
                (folder / file).write_text("root's")
    for file in ("parts.jsonl", ".parts.jsonl.tmp", "manifest.json", ".manifest.json.tmp", ".lock"):
        (elsewhere / file).write_text("root's")
    return elsewhere


def make_theirs(place):
    """Creates a directory of a user without any privilege, with one for a capture in it."""
    theirs = make_nobodys(place / "theirs")
    make_nobodys(theirs / "run")
    return theirs


def lost(told):
    return sum(sum(of_class["lost"].values()) for of_class in told["classes"])


# Ways in which the owner of the directory makes a name refer to another directory, and the part of the capture concerned.
SWAPS = {
    "a table's folder by a link": ("run/block", "mv run/block run/away; ln -s ../../elsewhere/block run/block", "rm run/block; mv run/away run/block"),
    "a table's folder by a directory": ("run/block", "mv run/block run/away; mkdir run/block", "rmdir run/block; mv run/away run/block"),
    "the directory itself by a link": ("run", "mv run away; ln -s ../elsewhere run", "rm run; mv away run"),
}


def swapped(recorder, theirs, elsewhere, swap, while_swapped=lambda lines: None):
    """Makes a name in the directory of a recording refer to something else for a while; `while_swapped` receives a function that reads the
    list of parts."""
    before = all_of(elsewhere)
    what, there, back = SWAPS[swap]
    out = theirs / "run"
    lines = lambda of: (of / "parts.jsonl").read_text().splitlines()
    last = lambda: int([line for line in lines(out) if '"finished":{"table":"block"' in line][-1].split("block/part-")[1][:6])
    wait_for(lambda: sum('"table":"block"' in line for line in lines(out)) > 3, "parts", 60)
    as_nobody(there, theirs)
    # The directory under its current name.
    kept = theirs / "away" if what == "run" else out
    began = health_of(kept)
    # The recorder retries each second, and loses the new events each time.
    wait_for(lambda: health_of(kept)["elapsed_ms"] > began["elapsed_ms"] + 2_500, "tries", 60)
    assert lost(health_of(kept)) > lost(began)
    while_swapped(lambda: lines(kept))
    found = sorted(path.name for path in (theirs / what).iterdir())
    as_nobody(back, theirs)
    number = last()
    wait_for(lambda: last() > number, "parts again", 60)
    capture = recorder.stop(expected=3)
    assert all_of(elsewhere) == before
    # The reported error may be from the time between two names.
    errors = ("is another directory than at the start", LINK, "No such file or directory")
    assert any(error in recorder.text for error in errors), recorder.text
    if "itself" in swap:
        check_sums(capture)
    else:
        capture.check_books()
    return capture, found


def check_sums(capture):
    """Checks that every event is a row or counted as lost. The time of some losses is unknown: rows of `loss` were lost as well."""
    for account in capture.manifest["books"]["accounts"]:
        assert account["seen"] == account["written"] + sum(account["lost"].values()), account
    written = sum(account["written"] for account in capture.manifest["books"]["accounts"] if account["class"] == "block")
    removed = sum(removed["rows"] for removed in capture.manifest["removed"] if removed["table"] == "block")
    assert capture.one(f"select count(*) + {removed} from {{block}}") == (written,)


OFTEN = ("--rotate-interval", "300ms", "--flush-interval", "100ms")


@pytest.mark.parametrize("swap", SWAPS)
def test_root_writes_nothing_where_the_owner_of_the_directory_leads(disk, writer, record, public_dir, swap):  # noqa: F811
    elsewhere, theirs = make_elsewhere(public_dir), make_theirs(public_dir)
    recorder = record("--device", disk.name, "--layers", "block", *OFTEN, out=theirs / "run")
    capture, found = swapped(recorder, theirs, elsewhere, swap)
    assert found == {
        "a table's folder by a link": sorted(path.name for path in (elsewhere / "block").iterdir()),
        "a table's folder by a directory": [],
        "the directory itself by a link": sorted(path.name for path in elsewhere.iterdir()),
    }[swap]
    assert {cause for _, cause in capture.lost_events()} == {"write_failed"}


@pytest.mark.parametrize("swap", SWAPS)
def test_root_deletes_nothing_where_the_owner_of_the_directory_leads(disk, small, writer, record, swap):  # noqa: F811
    """The oldest parts are deleted at that time, because the disk is full."""
    elsewhere, theirs = make_elsewhere(small.mount), make_theirs(small.mount)
    recorder = record("--device", disk.name, "--layers", "block", "--max-disk", "40MiB", *OFTEN, out=theirs / "run")
    space = os.statvfs(small.mount)

    def fill_up(lines):
        removed = lambda: sum('"removed":"block/' in line for line in lines())
        assert removed() == 0
        ballast = fill(small, space.f_blocks * space.f_frsize // 100 * 3)
        if "itself" in swap:
            # Nothing can be removed from a list that is not in its place.
            wait_for(lambda: "paused" in run(BIN / "iostrata", "status", theirs / "away").stdout, "a pause", 60)
        else:
            wait_for(lambda: removed() > 3, "parts that are to go", 60)
        ballast.unlink()

    capture, _ = swapped(recorder, theirs, elsewhere, swap, fill_up)
    # The parts of the capture are deleted as soon as its folder is back.
    listed = {part["file"] for part in capture.manifest["parts"]}
    assert {path.relative_to(capture.directory).as_posix() for path in capture.directory.glob("*/*.parquet")} == listed
    assert {removed["table"] for removed in capture.manifest["removed"]} == {"block"}
    assert {cause for _, cause in capture.lost_events()} <= {"write_failed", "disk_full"}


def cut_off(capture):
    """Makes a finished capture incomplete, with a part of `block` that was never finished, as after a kill of its recorder."""
    manifest = json.loads((capture / "manifest.json").read_text())
    (capture / "manifest.json").write_text(json.dumps({**manifest, "state": "recording"}))
    (capture / "block/.part-000099.parquet.tmp").write_text("torn")


@pytest.fixture
def two_captures(generate, tmp_path):
    """Two incomplete captures."""
    made = generate("--events", 20_000, out=tmp_path / "run")
    shutil.copytree(made, tmp_path / "other")
    for capture in (made, tmp_path / "other"):
        cut_off(capture)
    return made, tmp_path / "other"


@pytest.mark.parametrize("command", ["recover", "redact"])
def test_neither_recover_nor_redact_follow_a_linked_table_folder(two_captures, tmp_path, command):
    capture, _ = two_captures
    table = {"recover": "block", "redact": "process"}[command]
    if command == "redact":
        assert analyze("recover", capture).returncode == 0
    (capture / table).rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/.part-000099.parquet.tmp").write_text("torn")
    (tmp_path / "elsewhere/.part-000001.parquet.new").write_text("new")
    (capture / table).symlink_to(tmp_path / "elsewhere")
    before = all_of(tmp_path / "elsewhere")
    refused = analyze(command, capture)
    assert (refused.returncode, refused.stderr) == (1, f"iostrata-analyze: {capture}/{table}: {LINK}\n")
    assert all_of(tmp_path / "elsewhere") == before
    # With the folder back in its place the command succeeds.
    (capture / table).unlink()
    (tmp_path / "elsewhere").rename(capture / table)
    assert analyze(command, capture).returncode == 0
    assert not (capture / table / ".part-000099.parquet.tmp").exists()


@pytest.mark.parametrize("command", ["recover", "redact", "summary"])
def test_a_segment_that_is_a_link_is_none(two_captures, command):
    capture, other = two_captures
    assert analyze("recover", capture).returncode == 0
    (capture / SECOND).symlink_to(other)
    before = all_of(other)
    refused = analyze(command, capture)
    assert refused.returncode == 1 and refused.stderr == f"iostrata-analyze: {capture}/{SECOND}: {LINK}\n", refused
    assert all_of(other) == before


def test_results_and_partials_are_not_written_through_links(two_captures, tmp_path):
    capture, _ = two_captures
    assert analyze("recover", capture).returncode == 0
    secret = tmp_path / "secret"
    secret.write_text("kept")
    results = tmp_path / "results"
    results.mkdir()
    for name in (".summary.csv.tmp", "summary.csv", ".about.json.tmp"):
        (results / name).symlink_to(secret)
    analyzed = analyze("summary", capture, "--out", results)
    assert analyzed.returncode in (0, 3), analyzed
    assert (results / "summary.csv").read_text().startswith("system,") and not (results / "summary.csv").is_symlink()
    assert secret.read_text() == "kept"

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.partial").write_text("somebody's")
    (tmp_path / "run.partials").symlink_to(elsewhere)
    before = all_of(elsewhere)
    refused = analyze("summary", capture, "--cache")
    assert (refused.returncode, refused.stderr) == (1, f"iostrata-analyze: {tmp_path}/run.partials: {LINK}\n")
    assert all_of(elsewhere) == before


def test_a_recording_does_not_go_on_through_a_link(disk, two_captures, recordable):
    capture, other = two_captures
    (capture / SECOND).symlink_to(other)
    before = all_of(other)
    refused = run(BIN / "iostrata", "record", "--out", capture, "--resume", "--device", disk.name, "--duration", "1s")
    assert refused.returncode == 1 and f"{capture}/{SECOND}: {LINK}" in refused.stderr, refused
    assert all_of(other) == before


def test_under_sudo_nothing_is_made_where_who_asked_may_not(disk, public_dir, theirs):
    root_owned = public_dir / "root-owned"
    root_owned.mkdir(mode=0o755)
    record = lambda out: run(*BY_SUDO, BIN / "iostrata", "record", "--out", out, "--device", disk.name, "--duration", "300ms")
    for out in (root_owned / "x", root_owned / "x/y"):
        refused = record(out)
        assert refused.returncode == 1 and f"iostrata: --out: cannot make {out} as user {NOBODY}" in refused.stderr, refused
        assert "Permission denied" in refused.stderr and refused.stderr.count("\n") == 1, refused
    assert list(root_owned.iterdir()) == []
    # A link of that user leads to nothing more.
    (theirs / "link").symlink_to(root_owned)
    assert record(theirs / "link/x").returncode == 1
    assert list(root_owned.iterdir()) == []
    # Where the user has permission, everything belongs to that user, including missing parents.
    assert record(theirs / "x/y").returncode == 0
    assert {path.lstat().st_uid for path in theirs.rglob("*")} - {NOBODY} == {0}, "but for the link that root made"
    assert {path.name for path in theirs.rglob("*") if path.lstat().st_uid == 0} == {"link"}
    assert Capture(theirs / "x/y").manifest["state"] == "complete"
