"""Documents name what is there."""

import re
from pathlib import Path

import pytest

from tests.support import tree

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

DOCUMENTS = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_a_newcomer_reads_it_whole() -> None:
    assert len(README.splitlines()) <= 140


def test_the_tree_is_the_real_one() -> None:
    page = tree.PAGE.read_text()
    assert page == tree.written(page), "run `make docs`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_file_that_a_document_links_to_is_there(document: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_all_decisions_are_in_their_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    for record in folder.glob("0*.md"):
        title, _, status, *_ = record.read_text().splitlines()
        assert f"[{record.name[:4]}]({record.name}) | {title[8:]} |" in index
        assert re.fullmatch(r"Status: .+, \d{4}-\d\d-\d\d", status), record.name


def test_every_make_target_that_it_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z]+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_operators_install_nothing_without_a_hash() -> None:
    lines = (ROOT / "docs" / "operations.md").read_text().splitlines()
    installing = [line for line in lines if "pip install" in line]
    assert installing
    fetched = [line for line in installing if "--no-index" not in line]
    assert all("--require-hashes" in line and "--only-binary :all:" in line for line in fetched)


def test_the_makefile_works_in_a_folder_with_a_space() -> None:
    """Names the absolute folder only where make hands it on without a shell that would split it."""
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "$(CURDIR)" in line]
    assert lines
    assert all(line.startswith("export ") for line in lines)
