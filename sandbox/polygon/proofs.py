"""How the build of the box says that a copy is not the real thing."""

from __future__ import annotations


class NotTheRealThing(Exception):
    """A contract of the box differs from its original on Polygon."""


def prove(what: str, found: bytes | int | str, expected: bytes | int | str) -> None:
    """Raises NotTheRealThing with both sides unless they are equal. Bytes and hex strings compare by value."""
    if _plain(found) != _plain(expected):
        raise NotTheRealThing(
            f"{what} is {_plain(found)}, expected {_plain(expected)}: a package or the compiler is not the pinned one"
        )


def _plain(value: bytes | int | str) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text.lower().removeprefix("0x")
