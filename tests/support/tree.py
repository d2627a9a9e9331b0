"""`make docs`: writes the annotated tree into docs/architecture.md, from the first line of each module."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
SHOWN = ("contracts", "scripts", "cascade", "api", "sandbox")
BEGIN, END = "<!-- tree: written by `make docs` -->", "<!-- end of the tree -->"
_SOLIDITY = re.compile(r"/// @title (.+)|/// @notice (.+)")
_COLUMN = 36


def annotated() -> str:
    """Return the tree of the folders that hold code, a line for each module and folder."""
    tracked = subprocess.run(["git", "ls-files", *SHOWN], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [ROOT / name for name in tracked.splitlines()]
    lines: list[str] = []
    for top in SHOWN:
        lines += _folder(ROOT / top, [file for file in files if file.is_relative_to(ROOT / top)], 0)
    return "\n".join(lines)


def written(page: str) -> str:
    """Return a page with the tree of today between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n```\n{annotated()}\n```\n{END}{after}"


def _folder(folder: Path, files: list[Path], depth: int) -> list[str]:
    lines = [_line(f"{folder.name}/", _said(folder / "__init__.py"), depth)]
    for name in sorted({file.relative_to(folder).parts[0] for file in files}):
        inner = folder / name
        if inner.is_dir():
            below = [file for file in files if file.is_relative_to(inner)]
            modules = [file for file in below if file.suffix in (".py", ".sol")]
            lines += _folder(inner, below, depth + 1) if modules else [_line(f"{name}/", "", depth + 1)]
        elif name != "__init__.py" and inner.suffix in (".py", ".sol"):
            lines.append(_line(name, _said(inner), depth + 1))
    return lines


def _said(file: Path) -> str:
    """Return the first line of a module, as its author wrote it."""
    if not file.exists():
        return ""
    text = file.read_text()
    if file.suffix == ".sol":
        found = _SOLIDITY.search(text)
        return (found[1] or found[2]).strip() if found else ""
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def _line(name: str, said: str, depth: int) -> str:
    return f"{'  ' * depth + name:<{_COLUMN}}{said}".rstrip()


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
