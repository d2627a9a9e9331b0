"""The README's tree is the real tree."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

# Folders whose every file the tree names; of the others it names the folder.
IN_DETAIL = ("", "contracts", "scripts", "cascade", "cascade/domain", "cascade/rails", "cascade/delivery",
             "cascade/store", "cascade/workers", "api", "sandbox", "tests", "docs")  # fmt: skip
UNSAID = {"__init__.py", ".gitkeep"}


def listed() -> set[str]:
    """Every path that the README's tree names, relative to the root."""
    (tree,) = re.findall(r"^```\n(contracts/.*?)^```", README, re.MULTILINE | re.DOTALL)
    paths: set[str] = set()
    above: list[str] = []
    for line in tree.splitlines():
        name = line.split()[0].rstrip("/")
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], name]
        paths.add("/".join(above))
    return paths


def real() -> set[str]:
    """Every path that the tree has to name."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = set()
    for file in tracked.split():
        parts = file.split("/")
        for i, name in enumerate(parts):
            folder, hidden = "/".join(parts[:i]), name.startswith(".") or name in UNSAID
            if folder in IN_DETAIL and not hidden and name != "README.md":
                paths.add("/".join(parts[: i + 1]))
    return paths


def test_the_tree_is_the_real_one() -> None:
    assert listed() == real()


def test_every_file_that_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_make_target_that_it_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z]+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_operators_install_nothing_without_a_hash() -> None:
    lines = (ROOT / "docs" / "operations.md").read_text().splitlines()
    installing = [line for line in lines if "pip install" in line]
    assert installing
    assert all("--require-hashes" in line and "--only-binary :all:" in line for line in installing)


def test_the_program_runs_where_it_lies(tmp_path: Path) -> None:
    """A copy that was not installed runs, with only what the lock names beside it."""
    for folder in ("cascade", "api"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    told = subprocess.run([sys.executable, "-m", "cascade", "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert told.stdout.startswith("cascade, version "), told.stderr


def test_the_makefile_works_in_a_folder_with_a_space() -> None:
    """Names the absolute folder only where make hands it on without a shell that would split it."""
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "$(CURDIR)" in line]
    assert lines
    assert all(line.startswith("export ") for line in lines)
