"""`make demo` as a user runs it."""

import os
import shutil
import subprocess

from conftest import AS_NOBODY, BIN, ROOT, install, run


def test_the_demo_prints_a_summary(recordable, tmp_path):
    result = run(ROOT / "scripts/demo.sh", env={**os.environ, "CARGO_TARGET_DIR": str(BIN.parent)})
    assert result.returncode == 0, result.stderr
    assert "SYSTEM" in result.stdout and "dd" in result.stdout
    assert ": consistent" in result.stderr and "INCONSISTENT" not in result.stderr


def test_without_privilege_it_says_so_and_shows_the_recorded_capture(public_dir):
    """Without privilege and without sudo the demo says so and shows the recorded capture; PATH has only the few programs that the script
    needs to find that out."""
    programs = public_dir / "target/release"
    binaries = public_dir / "bin"
    for directory in (programs, binaries):
        directory.mkdir(parents=True)
    for name in ("iostrata", "iostrata-analyze"):
        install(name, programs)
    shutil.copytree(ROOT / "scripts", public_dir / "tree/scripts")
    shutil.copytree(ROOT / "tests/fixtures", public_dir / "tree/tests/fixtures")
    for name in ("bash", "env", "dirname", "id", "grep", "head", "tr"):
        (binaries / name).symlink_to(shutil.which(name))
    subprocess.run(["chmod", "-R", "a+rX", public_dir], check=True)
    result = subprocess.run(
        [*AS_NOBODY, public_dir / "tree/scripts/demo.sh"],
        capture_output=True, text=True, cwd="/",
        env={"PATH": str(binaries), "CARGO_TARGET_DIR": str(public_dir / "target"), "HOME": "/"},
    )
    assert result.returncode == 0, result.stderr
    assert "recording needs root, and sudo is not installed" in result.stdout
    assert "debian-6.12-nvme" in result.stdout and "SYSTEM" in result.stdout
