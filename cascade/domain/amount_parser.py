"""The one reader of amounts: plain decimals from programs, and numbers as a reader's language writes them.

Whatever is read is exactly what was meant. A text that two readers could take for two amounts is refused: ``10.000`` is
ten thousand in Italian and ten in English, so an English form takes neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from cascade.domain.money import Asset, Money

MOST_DIGITS: Final = 12
"""Before the point. Ten thousand dollars have five."""
_MOST_SHOWN: Final = 40
"""Characters of a text that are looked at and shown."""
_SPACES: Final = " \u00a0\u2009\u202f"
_GROUPS: Final = _SPACES + "'\u2019"
"""Separators of thousands that no language has for its decimals."""


class NoAmount(ValueError):
    """A text that is no amount, or could be two. The message says what was read and how to write it."""


@dataclass(frozen=True, slots=True)
class Separators:
    """The separators of numbers in a language.

    Attributes:
        decimal: what stands before the decimals.
        group: what stands between thousands.
    """

    decimal: str
    group: str


PLAIN_EXAMPLES: Final = ("10000", "10000.50")


def read_plain(text: str, asset: Asset) -> Money:
    """Read a plain decimal such as ``10000`` or ``10000.50``: ASCII digits, and a point before the decimals.

    Raises:
        NoAmount: anything else.
    """
    match = _plain_pattern(asset.scale).fullmatch(text)
    if match is None:
        raise NoAmount(
            f"{_shown(text)} is not a plain decimal. Write digits, and a point before at most {asset.scale} decimal"
            f" places: {PLAIN_EXAMPLES[0]} or {PLAIN_EXAMPLES[1]}"
        )
    return Money.parse(match[0], asset)


def read_typed(text: str, asset: Asset, separators: Separators) -> Money:
    """Read an amount as a person types it into a form, in the language of that form.

    Thousands may be separated as the language does it, or by spaces or apostrophes; then every group has three digits.
    A sign or code of US dollars may stand at either end.

    Raises:
        NoAmount: it is none, or could be another one in another language.
    """
    match = _typed_pattern(separators, asset).fullmatch(text.strip()) if len(text) <= _MOST_SHOWN else None
    if match is None:
        whole, exact = examples(separators)
        raise NoAmount(f"{_shown(text)} cannot be read as an amount. Write it like {whole} or {exact}")
    digits = "".join(digit for digit in match["whole"] if digit.isdigit())
    return Money.parse(f"{digits}.{match['decimals']}" if match["decimals"] else digits, asset)


def examples(separators: Separators) -> tuple[str, str]:
    """Return two amounts as a language writes them: one of whole units, one with decimals."""
    whole = f"10{separators.group}000"
    return whole, f"{whole}{separators.decimal}50"


@cache
def _plain_pattern(scale: int) -> re.Pattern[str]:
    return re.compile(rf"[0-9]{{1,{MOST_DIGITS}}}(?:\.[0-9]{{1,{scale}}})?")


@cache
def _typed_pattern(separators: Separators, asset: Asset) -> re.Pattern[str]:
    groups = re.escape("".join({*_GROUPS, separators.group} - {separators.decimal}))
    grouped = rf"[1-9][0-9]{{0,2}}(?P<group>[{groups}])[0-9]{{3}}(?:(?P=group)[0-9]{{3}}){{0,2}}"
    amount = (
        rf"(?P<whole>{grouped}|[0-9]{{1,{MOST_DIGITS}}})"
        rf"(?:{re.escape(separators.decimal)}(?P<decimals>[0-9]{{1,{asset.scale}}}))?"
    )
    before, after = ("", "")
    if asset.code == "USD":
        before, after = rf"(?:(?:US\$|\$|USD)[{_SPACES}]*)?", rf"(?:[{_SPACES}]*(?:US\$|\$|USD))?"
    return re.compile(before + amount + after, re.IGNORECASE | re.ASCII)


def _shown(text: str) -> str:
    """Return a text as an error may show it: bounded, and with what cannot be seen escaped."""
    return ascii(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "...")
