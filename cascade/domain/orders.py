"""An order: one citizen, one locked quote, one deadline, payable on any rail."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cascade.domain.money import Asset, Money
from cascade.domain.payments import Outcome
from cascade.domain.quotes import Quote
from cascade.errors import InvalidInput, NotPayable

_CITIZEN_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?", re.ASCII)


class OrderStatus(StrEnum):
    """The status of an order. Always derived from what is stored, never stored itself."""

    OPEN = "open"
    SEEN = "seen"
    CONFIRMED = "confirmed"
    FULFILLED = "fulfilled"
    EXPIRED = "expired"
    REVERSED = "reversed"
    """The whole payment went back, and the ducats with it."""


@dataclass(frozen=True, slots=True)
class Order:
    """One purchase.

    Attributes:
        id: ``ord_`` and 128 random bits; anyone who knows it may read the order.
        link_token: 128 random bits of its own; opens the payment page.
        citizen_id: Venice's username of the citizen who gets the ducats.
        quote: the price, locked until ``expires_at``.
        created_at: UTC.
        expires_at: UTC; from this moment on the order cannot be paid at this price.
        link_id: of the payment link that opened it; None: it was opened by itself.
        renewal_of: id of the expired order whose place it took, at the price of another moment; None: of none.
    """

    id: str
    link_token: str
    citizen_id: str
    quote: Quote
    created_at: datetime
    expires_at: datetime
    link_id: str | None = None
    renewal_of: str | None = None


@dataclass(frozen=True, slots=True)
class ChainTerms:
    """The terms of an order on chain; the router's order id commits to every field.

    Attributes:
        on_chain_order_id: 32 bytes, as the router computes it.
        chain_id: EIP-155 chain id.
        router: checksummed address of the PaymentRouter.
        token: the stablecoin's asset.
        token_address: checksummed address of the stablecoin.
        units: amount in the token's smallest units.
        expires_at: Unix time in seconds; payable while the block's time is below it.
        salt: 32 random bytes.
    """

    on_chain_order_id: bytes
    chain_id: int
    router: str
    token: Asset
    token_address: str
    units: int
    expires_at: int
    salt: bytes

    @property
    def amount(self) -> Money:
        """Return what must be paid."""
        return Money(self.token, self.units)


def check_citizen_id(citizen_id: str) -> str:
    """Return the citizen id itself, when it can be a Venice username.

    Raises:
        InvalidInput: it cannot.
    """
    if not _CITIZEN_ID.fullmatch(citizen_id):
        raise InvalidInput(
            "citizen_id",
            "A citizen id is 1 to 64 letters, digits, dots, dashes or underscores, and starts with a letter or digit.",
        )
    return citizen_id


_WHY_NOT_PAYABLE = {
    OrderStatus.SEEN: "A payment of this order is on its way. Wait for it instead of paying twice.",
    OrderStatus.CONFIRMED: "This order is paid. Its ducats are being credited.",
    OrderStatus.FULFILLED: "This order is paid.",
    OrderStatus.REVERSED: "The payment of this order went back. Open a new order.",
    OrderStatus.EXPIRED: "This order has expired. Open a new order.",
}


def check_payable(status: OrderStatus) -> None:
    """Refuse to begin a payment of an order that is not open.

    Raises:
        NotPayable: the message says why.
    """
    if status in _WHY_NOT_PAYABLE:
        raise NotPayable(_WHY_NOT_PAYABLE[status])


def status_of(
    order: Order,
    now: datetime,
    *,
    fulfilment: Outcome | None,
    seen: bool,
    final: bool,
    credited: bool = True,
) -> OrderStatus:
    """Return where an order stands.

    Args:
        order: the order.
        now: the database's clock, UTC.
        fulfilment: what became of the payment that gave its ducats; None when none did.
        seen: a payment of this order is in some block, final or not, or a bank is at it.
        final: that block is final, and only the booking is still to come.
        credited: the keeper of the citizen's balance has said that the ducats are in it.
    """
    if fulfilment is Outcome.REVERSED:
        return OrderStatus.REVERSED
    if fulfilment is not None:
        return OrderStatus.FULFILLED if credited else OrderStatus.CONFIRMED
    if final:
        return OrderStatus.CONFIRMED
    if seen:
        return OrderStatus.SEEN
    return OrderStatus.EXPIRED if now >= order.expires_at else OrderStatus.OPEN
