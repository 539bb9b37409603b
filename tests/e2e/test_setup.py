"""Programs that tests start are installed by `scripts/setup.sh`: a machine that already has them hides a missing package."""

import ast
import re
import shutil

import pytest
from conftest import ROOT, run

# They are part of the Rust and Python installations.
GIVEN = {"python3", "gcc", "strip"}
STARTERS = {"run", "Popen", "check_output", "check_call", "call"}


def commands(source, callers):
    """Returns the programs that tests run."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        first = node.args[0]
        if isinstance(first, (ast.List, ast.Tuple)) and first.elts:
            first = first.elts[0]
        if name in callers and isinstance(first, ast.Constant) and isinstance(first.value, str) and "/" not in first.value:
            yield first.value


def packages():
    """Returns the packages that `scripts/setup.sh` installs before tests run."""
    groups = dict(re.findall(r"^    (\w+)\) cat <<'EOF'\n(.+?)^EOF$", (ROOT / "scripts/setup.sh").read_text(), re.MULTILINE | re.DOTALL))
    return {line.rpartition(" | ")[2].strip() for group in ("build", "test", "lint") for line in groups[group].splitlines()}


def of_tests(callers):
    return {name for file in (ROOT / "tests/e2e").glob("*.py") for name in commands(file.read_text(), callers)}


# Programs that a test looks for before it needs them may be missing.
STARTED = sorted(of_tests(STARTERS) - of_tests({"which"}) - GIVEN)


def test_programs_are_found_in_tests():
    assert {"fio", "mkfs.ext4", "bpftool", "losetup"} <= set(STARTED) and len(STARTED) > 20


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="only where packages are Debian's")
@pytest.mark.parametrize("name", STARTED)
def test_setup_installs_what_tests_start(name):
    place = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert place, f"{name} is not there, and scripts/setup.sh has run"
    # The age of a package determines which of two equivalent directories it names.
    owners = [run("dpkg-query", "-S", path).stdout for path in (place, place.removeprefix("/usr"), f"/usr{place}")]
    (owner,) = {line.split(":")[0] for found in owners for line in found.splitlines() if not line.startswith("diversion")}
    is_essential = run("dpkg-query", "-Wf", "${Essential}", owner).stdout == "yes"
    assert is_essential or owner in packages(), f"{name} is of the package {owner}, which scripts/setup.sh does not name"
