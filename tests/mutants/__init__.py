"""Each guard, the test that holds it, and a command that takes the guard away and sees the test fail."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Guard:
    """A line that must not go missing.

    Attributes:
        name: what it guarantees.
        file: where it stands, relative to the root.
        old: the text that is the guard.
        new: what stands there when the guard is gone.
        test: the pytest node that must then fail.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


def guards() -> list[Guard]:
    """All of them, in the order of the file."""
    data = tomllib.loads((Path(__file__).parent / "guards.toml").read_text())
    return [Guard(**entry) for entry in data["guard"]]
