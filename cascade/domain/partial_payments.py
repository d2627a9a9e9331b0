"""Match a payment to its order. A plain transfer may have any amount: the rule is docs/decisions/0016.

Whatever money came for an order in time is worth ``ducats * money / price``, rounded down, and the bonus once it
reaches the price. A part brings its own share at once; the one that reaches the price brings all the rest, so that
however a price was cut into parts they bring exactly the quote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cascade.domain.money import DUCAT, Asset, Money, Rounding, divide
from cascade.domain.payments import SuspenseReason, below_a_cent
from cascade.domain.quotes import Quote

MOST_TIMES_THE_PRICE = 2
"""More than this for one order is rather a mistake than a wish, and nobody is to buy at an old rate without bounds."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The ducats that a payment brings its order's citizen.

    Attributes:
        ducats: without the bonus.
        bonus: of the quote, which only the payment that fulfils the order brings.
        fulfils: with it the price is paid; else it is a part of it.
    """

    ducats: Money
    bonus: Money
    fulfils: bool

    @property
    def total(self) -> Money:
        """Return all that the citizen gets."""
        return self.ducats + self.bonus


@dataclass(frozen=True, slots=True)
class PriorPayment:
    """A part that was credited before: what went back counts no more, and neither do its ducats."""

    left: Money
    ducats: Money


def whole(quote: Quote) -> Grant:
    """Return what a payment of the exact price brings by itself."""
    return Grant(quote.ducats, quote.bonus, fulfils=True)


def match_partial(
    received: Money,
    quote: Quote,
    parts: Sequence[PriorPayment] = (),
    *,
    already_paid: bool = False,
    late: bool = False,
    most: int = MOST_TIMES_THE_PRICE,
) -> Grant | SuspenseReason:
    """Decide what a plain transfer of any amount brings its order.

    Args:
        received: what was collected, in any dollar stablecoin: a dollar of one is a dollar of the other.
        quote: the order's.
        parts: what was credited of the order's parts before, none of which fulfilled it.
        already_paid: another payment has fulfilled the order.
        late: it was collected when the order's price no longer held.
        most: how many times the price may come for one order, all parts together.

    Returns:
        What it brings, or why it goes to suspense as a whole.
    """
    if already_paid:
        return SuspenseReason.DUPLICATE
    if late:
        return SuspenseReason.LATE
    price = quote.price_in(received.asset).units
    paid = _paid_in(received.asset, parts) + received.units
    if paid > most * price:
        return SuspenseReason.OVER
    fulfils = paid >= price
    worth = divide(quote.ducats.units * (paid if fulfils else received.units), price, Rounding.CREDIT)
    ducats = worth - sum(part.ducats.units for part in parts) if fulfils else worth
    if ducats <= 0 or not (fulfils or is_a_cent(received)):
        return SuspenseReason.SHORT
    return Grant(Money(DUCAT, ducats), quote.bonus if fulfils else Money(DUCAT, 0), fulfils)


def missing_of(quote: Quote, asset: Asset, parts: Sequence[PriorPayment]) -> Money:
    """Return what of the price is still missing after these parts, in one stablecoin."""
    return Money(asset, max(0, quote.price_in(asset).units - _paid_in(asset, parts)))


def receipt(quote: Quote, grant: Grant, parts: Sequence[PriorPayment]) -> dict[str, str]:
    """Return what a receipt tells of a payment that did not bring exactly the quote; amounts are plain decimals as
    text."""
    before = Money(DUCAT, sum(part.ducats.units for part in parts))
    beyond = before + grant.total - quote.total_ducats
    told = {"ducats_due": grant.total, "ducats_before": before, "ducats_beyond": beyond}
    return {name: ducats.plain for name, ducats in told.items()} if before.units or beyond.units else {}


def _paid_in(asset: Asset, parts: Sequence[PriorPayment]) -> int:
    """Return units of one stablecoin that all parts have brought together: a dollar of one is a dollar of the other."""
    return sum(part.left.units * asset.one // part.left.asset.one for part in parts)


def is_a_cent(received: Money) -> bool:
    """Return whether money is worth a delivery and a message: less than a cent is dust."""
    return not below_a_cent(received)
