"""The language of a picture: its words, and its numbers and times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final

from babel.core import Locale
from babel.dates import format_datetime
from babel.numbers import format_decimal, get_decimal_symbol

from cascade.rate.signals import MICRO

_SEASON_SECONDS = 120 * 86_400


@dataclass(frozen=True, slots=True)
class ChartLocale:
    """A reader's language.

    Attributes:
        locale: whose numbers and dates.
        translate: the reader's words for a message of ours, with the same ``%(names)s`` in it.
    """

    locale: Locale
    translate: Callable[[str], str]

    def say(self, message: str, **values: object) -> str:
        """Return a message in the reader's words; ``%`` itself is written ``%%``."""
        return self.translate(message) % values

    @property
    def decimal_mark(self) -> str:
        """Return what stands before decimals."""
        return str(get_decimal_symbol(self.locale))

    def amount(self, micro: int) -> str:
        """Return a number for people, from millionths: a few digits of it."""
        value = micro / MICRO
        if value >= MICRO:
            return self.say("%(number)s million", number=format_decimal(value / MICRO, "#,##0.0", self.locale))
        return str(format_decimal(value, "#,##0" if value >= 100 else "0.##", self.locale))

    def clock(self, at: datetime, step_seconds: int) -> str:
        """Return what an axis says of a moment, when it says something every so many seconds."""
        if step_seconds > _SEASON_SECONDS:
            return str(format_datetime(at, "MMM y", locale=self.locale))
        return f"{at:%H:%M}" if at.time() != time.min else str(format_datetime(at, "d MMM", locale=self.locale))


ENGLISH: Final = ChartLocale(Locale("en"), str)
"""What the messages are written in."""
