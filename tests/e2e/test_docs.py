"""Everything that the documentation names exists: a statement with a renamed test is unchecked."""

import re

import pytest
from conftest import ROOT

PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md"])
FILES = [file.relative_to(ROOT).as_posix() for place in ("crates", "tests", "bpf", "bench", "scripts", "findings", "fuzz") for file in (ROOT / place).rglob("*.*")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_are_there(page):
    # Names of C files may also be the kernel's.
    named = re.findall(r"`((?:[\w./-]+\.rs)|(?:(?:crates|tests|bpf|bench|scripts|findings|fuzz)/[\w./-]+\.\w+)|(?:(?:test|soak)_\w+\.\w+))(?:::[^`]*)?`", page.read_text())
    missing = sorted({name for name in named if not any(f"/{file}".endswith(f"/{name.removeprefix('./')}") for file in FILES)})
    assert not missing, missing


@pytest.mark.parametrize("page", ["reliability.md", "safety.md"])
def test_promises_name_their_tests(page):
    sections = re.split(r"^## ", (ROOT / "docs" / "explanation" / page).read_text(), flags=re.MULTILINE)[1:]
    without = [section.splitlines()[0] for section in sections if not re.search(r"`[\w/]*(?:test_\w+\.py|tests\.rs|rows\.rs)", section)]
    assert len(sections) > 3 and not without, without


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = sorted({link for link in links if "://" not in link and not (page.parent / link).exists()})
    assert not missing, missing
