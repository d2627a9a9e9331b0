"""A quote: what is sold for how much, locked for an order's life and valid on every rail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cascade.domain.catalogue import Catalogue
from cascade.domain.money import DUCAT, USD, Asset, Money
from cascade.domain.rates import Rate


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
        """What the citizen gets: ducats sold and bonus."""
        return self.ducats + self.bonus

    def price_in(self, stablecoin: Asset) -> Money:
        """The price in a dollar stablecoin: one dollar is one token, exactly."""
        return Money(stablecoin, self.price.units * 10 ** (stablecoin.scale - USD.scale))


def quote_package(catalogue: Catalogue, package_id: str, rate: Rate) -> Quote:
    """Price a package: its ducats without the bonus at the rate, rounded up to the cent.

    Raises:
        InvalidInput: there is no such package.
    """
    package = catalogue.package(package_id)
    return Quote(package.id, rate.price_of(package.ducats), package.ducats, package.bonus, rate)


def quote_custom(catalogue: Catalogue, usd: Money, rate: Rate) -> Quote:
    """Price a custom purchase: as many ducats as the dollars buy, rounded down to the unit.

    Raises:
        InvalidInput: outside the catalogue's bounds.
    """
    catalogue.check_custom(usd)
    return Quote(None, usd, rate.ducats_for(usd), Money(DUCAT, 0), rate)
