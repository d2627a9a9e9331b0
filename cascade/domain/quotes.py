"""A quote: what is sold for how much, locked for an order's life and valid on every rail."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Final

from cascade.domain.catalogue import Catalogue, Package
from cascade.domain.ducat_rate import Rate
from cascade.domain.money import DUCAT, USD, Asset, Money, Rounding, divide

_PERCENT: Final = Asset("PERCENT", 4)


@dataclass(frozen=True, slots=True)
class Quote:
    """One locked price.

    Attributes:
        package: the package's id; None for a custom purchase.
        price: US dollars.
        ducats: ducats sold, without the bonus.
        bonus: ducats granted on top.
        rate: the rate that priced it.
        tick: the tick of that rate, UTC; None: it was priced before the first one.
    """

    package: str | None
    price: Money
    ducats: Money
    bonus: Money
    rate: Rate
    tick: datetime | None = None

    @property
    def total_ducats(self) -> Money:
        """Return what the citizen gets: ducats sold and bonus."""
        return self.ducats + self.bonus

    def price_in(self, stablecoin: Asset) -> Money:
        """Return the price in a dollar stablecoin: one dollar is one token, exactly."""
        return Money(stablecoin, self.price.units * 10 ** (stablecoin.scale - USD.scale))


def quote_package(catalogue: Catalogue, package_id: str, rate: Rate) -> Quote:
    """Price a package: its ducats without the bonus at the rate, rounded up to the cent.

    Raises:
        InvalidInput: there is no such package.
    """
    package = catalogue.package(package_id)
    return Quote(package.id, rate.price_of(package.ducats), package.ducats, package.bonus, rate)


@dataclass(frozen=True, slots=True)
class Tier:
    """A bonus rate that holds from a price on: that of a package, which costs so much.

    Attributes:
        cents: the price of the package.
        package: whose bonus per ducat it is.
    """

    cents: int
    package: Package

    def bonus_units(self, ducat_units: int) -> int:
        """Return the bonus on so many ducats, rounded down; both in millionths of a ducat."""
        return divide(ducat_units * self.package.bonus.units, self.package.ducats.units, Rounding.CREDIT)

    @property
    def percent(self) -> str:
        """Return the bonus rate as a plain decimal, cut off after four places: ``7.5``."""
        return Money(_PERCENT, self.bonus_units(100 * _PERCENT.one)).plain


def tiers(catalogue: Catalogue, rate: Rate) -> list[Tier]:
    """Return the bonus rates of the packages, each with the price from which it holds, the lowest first.

    A package that gives less than a cheaper one makes no tier: more money never brings less.
    """
    found: list[Tier] = []
    best = Fraction(0)
    priced = [Tier(rate.price_of(package.ducats).units, package) for package in catalogue.packages.values()]
    for tier in sorted(priced, key=lambda each: (each.cents, -_bonus_rate(each.package))):
        if _bonus_rate(tier.package) > best:
            best = _bonus_rate(tier.package)
            found.append(tier)
    return found


def reached(ladder: Sequence[Tier], cents: int) -> Tier | None:
    """Return the highest tier whose price an amount reaches; None when it reaches none."""
    at = bisect_right(ladder, cents, key=lambda tier: tier.cents)
    return ladder[at - 1] if at else None


def quote_custom(catalogue: Catalogue, usd: Money, rate: Rate) -> Quote:
    """Price a custom purchase: as many ducats as the dollars buy, rounded down to the unit.

    Where the catalogue says so, the bonus rate of the tier that the amount reaches comes on top.

    Raises:
        InvalidInput: outside the catalogue's bounds.
    """
    catalogue.check_custom(usd)
    ducats = rate.ducats_for(usd)
    tier = reached(tiers(catalogue, rate), usd.units) if catalogue.custom_bonus else None
    bonus = tier.bonus_units(ducats.units) if tier else 0
    return Quote(None, usd, ducats, Money(DUCAT, bonus), rate)


def better_package(catalogue: Catalogue, quote: Quote) -> Package | None:
    """Return the package that gives the most for its money, where it gives more than this custom purchase does.

    Only packages count that the same money would pay for.
    """
    if quote.package is not None or catalogue.custom_bonus:
        return None
    tier = reached(tiers(catalogue, quote.rate), quote.price.units)
    return tier.package if tier else None


def _bonus_rate(package: Package) -> Fraction:
    return Fraction(package.bonus.units, package.ducats.units)
