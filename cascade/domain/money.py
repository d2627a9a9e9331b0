"""Amounts: whole units of an asset that carries its own scale. No float comes near this file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_PLAIN_DECIMAL = re.compile(r"(\d{1,30})(?:\.(\d{1,30}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset, and its smallest unit.

    Attributes:
        code: the name in the ledger, e.g. ``USDC``.
        scale: decimal places of the smallest unit: one whole is ``10 ** scale`` units.
    """

    code: str
    scale: int

    @property
    def one(self) -> int:
        """Return units in one whole."""
        return int(10**self.scale)


USD = Asset("USD", 2)
USDC = Asset("USDC", 6)
USDT = Asset("USDT", 6)
DUCAT = Asset("DUCAT", 6)

_CARD_CURRENCIES = {
    0: " BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF",
    2: (
        " AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BWP BYN BZD CAD CDF"
        " CHF CNY COP CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF"
        " IDR ILS INR ISK JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK"
        " MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK SGD"
        " SHP SLE SOS SRD STD SZL THB TJS TOP TRY TTD TWD TZS UAH UGX UYU UZS WST XCD XCG YER ZAR ZMW"
    ),
    3: " BHD JOD KWD OMR TND",
}
"""Currencies that Stripe charges, by their decimal places. Nothing is sold in them: such money goes to suspense."""

ASSETS = {asset.code: asset for asset in (USD, USDC, USDT, DUCAT)} | {
    code: Asset(code, scale) for scale, codes in _CARD_CURRENCIES.items() for code in codes.split()
}


class Rounding(Enum):
    """The one rounding rule: what a citizen pays rounds up, what a citizen gets rounds down.

    Both directions favour the ledger, so no sequence of conversions can mint a unit.
    """

    CHARGE = "up"
    CREDIT = "down"


def divide(numerator: int, denominator: int, rounding: Rounding) -> int:
    """Divide whole numbers by the one rounding rule.

    Raises:
        ValueError: a negative numerator or a denominator below one, for which the rule has no meaning.
    """
    if numerator < 0 or denominator < 1:
        raise ValueError(f"cannot divide {numerator} by {denominator}: amounts are never negative here")
    if rounding is Rounding.CHARGE:
        return -(-numerator // denominator)
    return numerator // denominator


@dataclass(frozen=True, slots=True)
class Money:
    """A whole number of an asset's smallest units. Two assets never mix."""

    asset: Asset
    units: int

    def __post_init__(self) -> None:
        if type(self.units) is not int:
            raise TypeError(f"{self.asset.code} units must be a whole number, not {self.units!r}")

    @classmethod
    def parse(cls, text: str, asset: Asset) -> Money:
        """Read a plain decimal such as ``25.01`` exactly.

        Raises:
            ValueError: not a plain decimal, or more decimal places than the asset has.
        """
        whole, decimals = _plain_decimal(text)
        fraction = decimals.rstrip("0")
        if len(fraction) > asset.scale:
            raise ValueError(f"{text} has more than {asset.scale} decimal places, the most that {asset.code} has")
        return cls(asset, int(whole) * asset.one + int(fraction.ljust(asset.scale, "0") or "0"))

    def __add__(self, other: Money) -> Money:
        return Money(self.asset, self.units + self._same_asset(other))

    def __sub__(self, other: Money) -> Money:
        return Money(self.asset, self.units - self._same_asset(other))

    def __neg__(self) -> Money:
        return Money(self.asset, -self.units)

    def __lt__(self, other: Money) -> bool:
        return self.units < self._same_asset(other)

    def __le__(self, other: Money) -> bool:
        return self.units <= self._same_asset(other)

    def _same_asset(self, other: Money) -> int:
        if self.asset != other.asset:
            raise TypeError(f"{self.asset.code} and {other.asset.code} cannot be mixed")
        return other.units

    def __str__(self) -> str:
        """Return exact, with every decimal place of the asset: ``25.01``, ``0.000001``."""
        whole, fraction = divmod(abs(self.units), self.asset.one)
        sign = "-" if self.units < 0 else ""
        return f"{sign}{whole}.{fraction:0{self.asset.scale}d}" if self.asset.scale else f"{sign}{whole}"

    @property
    def plain(self) -> str:
        """Return exact, for machines: no thousands separator, no zeros at the end: ``250.1``, ``2500``."""
        return str(self).rstrip("0").rstrip(".") if self.asset.scale else str(self)

    def display(self, places: int | None = 2) -> str:
        """Format for people, as the function `display`."""
        return display(self.plain, places)


def display(plain: str, places: int | None = None) -> str:
    """Format a plain decimal for people: ``1234.5`` becomes ``1,234.50``, and ``2500.0`` becomes ``2,500``.

    Args:
        plain: may be negative.
        places: at most so many decimals, cut off and never rounded up; None for all that there are.

    Raises:
        ValueError: not a plain decimal.
    """
    whole, decimals = _plain_decimal(plain.removeprefix("-"))
    sign, shown = "-" if plain.startswith("-") else "", decimals[:places].rstrip("0")
    return f"{sign}{int(whole):,}" + (f".{shown:0<2}" if shown else "")


def _plain_decimal(text: str) -> tuple[str, str]:
    match = _PLAIN_DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a plain decimal amount such as 25.01")
    return match[1], match[2] or ""
