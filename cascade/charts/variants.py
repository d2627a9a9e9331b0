"""The variants in which a picture is drawn."""

from __future__ import annotations

from enum import StrEnum


class Size(StrEnum):
    """How wide a picture is."""

    NARROW = "narrow"
    """340 pixels, for a phone."""
    WIDE = "wide"
    """760 pixels."""


class Theme(StrEnum):
    """What a picture stands on."""

    LIGHT = "light"
    DARK = "dark"
