"""Format amounts, dates and times in a language, for pages and messages alike. Only `number` rounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Final, Literal

from babel.core import Locale, UnknownLocaleError
from babel.dates import format_datetime, format_time, format_timedelta
from babel.lists import format_list
from babel.numbers import format_decimal, get_decimal_symbol, get_group_symbol

from cascade.domain.amount_parser import Separators
from cascade.domain.money import DUCAT, USD, Money, display

_LONGEST_FIRST: Final[tuple[tuple[Literal["day", "hour", "minute", "second"], int], ...]] = (
    ("day", 86_400),
    ("hour", 3_600),
    ("minute", 60),
    ("second", 1),
)
_MINUS: Final = "\N{MINUS SIGN}"


class Formats:
    """Formats values for the readers of one language; each method in ``filters`` is a filter of the templates.

    Args:
        language: such as ``it``; English where Babel does not know it.
    """

    def __init__(self, language: str) -> None:
        try:
            self.locale = Locale.parse(language)
        except (UnknownLocaleError, ValueError):
            self.locale = Locale("en")
        self._is_english: Final = self.locale.language == "en"
        self.separators: Final = Separators(get_decimal_symbol(self.locale), get_group_symbol(self.locale))
        self._marks: Final = str.maketrans({".": self.separators.decimal, ",": self.separators.group})

    @property
    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filters of the templates, by name."""
        written = (self.amount, self.ducats, self.rate, self.money, self.cents, self.number, self.exact)
        told = (self.moment, self.minute, self.hour, self.duration, self.listed)
        return {one.__name__: one for one in (*written, *told)}

    def amount(self, value: Money | str, places: int | None = None) -> str:
        """Format money or a plain decimal, with ``places`` and errors as `cascade.domain.money.display`."""
        # str: what is undefined in a template says there which name it was
        plain = value.plain if isinstance(value, Money) else str(value)
        return display(plain, places).translate(self._marks)

    def ducats(self, value: Money | str) -> str:
        """Format ducats with at most two decimals. Raises ValueError as `amount`, and for a negative text."""
        return self.amount(value if isinstance(value, Money) else Money.parse(str(value), DUCAT), 2)

    def rate(self, value: str) -> str:
        """Format the price of a ducat with at most six decimals. Raises ValueError as `amount`."""
        return self.amount(value, 6)

    def money(self, value: Money) -> str:
        """Format money with its currency."""
        text = self.amount(value)
        return self._dollars(text) if value.asset == USD else f"{text} {value.asset.code}"

    def cents(self, value: Money) -> str:
        """Format dollars to the cent."""
        return self._dollars(format_decimal(Decimal(value.plain), "#,##0.00", self.locale))

    def _dollars(self, text: str) -> str:
        return f"${text}" if self._is_english else f"{text} $"

    def number(self, value: object, places: int = 2) -> str:
        """Format a measurement, rounded."""
        shown = format_decimal(Decimal(str(value)), "#,##0." + "#" * places, self.locale)
        return str(shown).replace("-", _MINUS)

    def exact(self, text: str) -> str:
        """Format a plain decimal with every digit as it is."""
        return text.replace(".", self.separators.decimal)

    def moment(self, value: datetime | str) -> str:
        """Format a date and time to the second, in English as ``2026-11-25 08:35:00 UTC``.

        Raises:
            ValueError: a text that is no time such as ``2026-11-25T08:35:00Z``.
        """
        at = _utc(value)
        shown = f"{at:%Y-%m-%d %H:%M:%S}" if self._is_english else format_datetime(at, "medium", locale=self.locale)
        return f"{shown} UTC"

    def minute(self, value: datetime) -> str:
        """Format a time of a day of this year."""
        return f"{format_datetime(_utc(value), 'd MMM, HH:mm', locale=self.locale)} UTC"

    def hour(self, value: datetime) -> str:
        """Format a time of today."""
        return f"{format_time(_utc(value), 'HH:mm', locale=self.locale)} UTC"

    def duration(self, seconds: int, *, exact: bool = False) -> str:
        """Format a duration in its largest unit, rounded down; exactly in the largest that it is whole numbers of."""
        seconds = max(seconds, 1)
        unit, size = next(
            (unit, size) for unit, size in _LONGEST_FIRST if seconds >= size and not (exact and seconds % size)
        )
        whole = timedelta(seconds=seconds - seconds % size)
        return str(format_timedelta(whole, granularity=unit, threshold=math.inf, locale=self.locale))

    def listed(self, names: Iterable[str]) -> str:
        """Join names as a sentence lists them."""
        return str(format_list(list(names), locale=self.locale))


@cache
def formats(language: str) -> Formats:
    """Return how a language writes amounts and times."""
    return Formats(language)


def _utc(value: datetime | str) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
