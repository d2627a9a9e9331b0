"""The variants in which a picture is drawn."""

from __future__ import annotations

from enum import StrEnum


class Size(StrEnum):
    """The width of a picture."""

    NARROW = "narrow"
    """340 pixels, for a phone."""
    WIDE = "wide"
    """760 pixels."""


class Theme(StrEnum):
    """The background of a picture."""

    LIGHT = "light"
    DARK = "dark"
