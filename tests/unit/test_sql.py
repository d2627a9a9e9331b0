"""SQL lies in `cascade/db` and in the stores of the rate."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
STORES = ("cascade/db/", "cascade/rate/signal_store.py", "cascade/rate/tick_store.py")
BEFORE_THE_START = ("cascade/readiness/database.py",)
"""What asks a database that may not be migrated."""


def test_only_stores_execute_sql() -> None:
    found = [
        f"{name}:{node.lineno}: move the statement to {STORES}"
        for file in sorted([*(ROOT / "cascade").rglob("*.py"), *(ROOT / "api").rglob("*.py")])
        if not (name := str(file.relative_to(ROOT))).startswith((*STORES, *BEFORE_THE_START))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("execute", "executemany")
    ]
    assert not found, "\n".join(found)
