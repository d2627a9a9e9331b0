"""The rate: what one ducat costs, and conversion between dollars and ducats."""

from __future__ import annotations

from dataclasses import dataclass

from cascade.domain.money import DUCAT, USD, Money, Rounding, divide

NANO_USD = 10**9
"""A rate counts billionths of a US dollar, so that a rate moves finely and stays a whole number."""


@dataclass(frozen=True, slots=True, order=True)
class Rate:
    """US dollars per ducat, in billionths (``nano_usd``)."""

    nano_usd: int

    def __post_init__(self) -> None:
        if self.nano_usd <= 0:
            raise ValueError(f"a ducat must cost something, not {self.nano_usd} billionths of a dollar")

    def price_of(self, ducats: Money) -> Money:
        """Return US dollars to charge for ``ducats``, rounded up to the cent."""
        numerator = _units(ducats, DUCAT.code) * self.nano_usd * USD.one
        return Money(USD, divide(numerator, DUCAT.one * NANO_USD, Rounding.CHARGE))

    def ducats_for(self, usd: Money) -> Money:
        """Return ducats to credit for ``usd``, rounded down to the millionth of a ducat."""
        numerator = _units(usd, USD.code) * DUCAT.one * NANO_USD
        return Money(DUCAT, divide(numerator, self.nano_usd * USD.one, Rounding.CREDIT))

    def __str__(self) -> str:
        """Return US dollars per ducat as a decimal, e.g. ``0.10``; at least two places."""
        whole, fraction = divmod(self.nano_usd, NANO_USD)
        return f"{whole}.{f'{fraction:09d}'.rstrip('0').ljust(2, '0')}"


def _units(money: Money, expected: str) -> int:
    if money.asset.code != expected:
        raise TypeError(f"expected an amount in {expected}, not in {money.asset.code}")
    return money.units


START = Rate(100_000_000)
"""0.10 USD per ducat: the rate from which the city starts."""
