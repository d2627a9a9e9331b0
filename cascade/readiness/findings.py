"""Findings of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    """Works, or will, but not as well as it should."""
    FAULT = "fault"
    """A sale, or what follows from it, would fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `cascade check`.

    Attributes:
        check: what was looked at.
        level: how much it matters.
        text: what was found; holds no secret.
        remedy: what to do; None where all is well.
    """

    check: str
    level: Level
    text: str
    remedy: str | None = None


def ok(check: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, Level.OK, text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """Return what should be better."""
    return Finding(check, Level.WARNING, text, remedy)


def error(check: str, text: str, remedy: str) -> Finding:
    """Return what would fail."""
    return Finding(check, Level.FAULT, text, remedy)


CLOCK_WARNING_SECONDS = 10.0
CLOCK_FAULT_SECONDS = 60.0


def clock(other: str, behind_seconds: float) -> Finding:
    """Compare our clock with another one.

    Args:
        other: whose clock it is.
        behind_seconds: how far ours is behind it; negative: ahead.
    """
    name, away = f"clock ({other})", abs(behind_seconds)
    if away < CLOCK_WARNING_SECONDS:
        return ok(name, f"within {max(1, round(away))} s")
    make = error if away >= CLOCK_FAULT_SECONDS else warning
    way = "behind" if behind_seconds > 0 else "ahead of"
    remedy = "set the clocks by NTP (timedatectl set-ntp true), on this machine and on the other"
    return make(name, f"ours is {away:.0f} s {way} that of {other}", remedy)
