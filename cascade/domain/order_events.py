"""The life of an order, as events: each told once, in order, to all subscribers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from cascade.domain.orders import Order


class EventType(StrEnum):
    """The type of an order's event. Platforms see these names in webhooks and streams: they never change."""

    ORDER_OPENED = "order.opened"
    ORDER_SEEN = "order.seen"
    """A payment is in a block that is not final yet, or at a bank."""
    ORDER_CONFIRMED = "order.confirmed"
    """The money is there for good and booked; the ducats are on their way."""
    ORDER_FULFILLED = "order.fulfilled"
    """The ducats are credited, and who holds the citizen's purse has said so."""
    ORDER_EXPIRED = "order.expired"
    ORDER_REVERSED = "order.reversed"
    """All of the money went back."""
    PAYMENT_FAILED = "payment.failed"
    """A card was refused; another try is possible while the order is open."""
    PAYMENT_IN_REVIEW = "payment.in_review"
    """Money arrived that does not fit the order; an operator looks at it."""
    PAYMENT_CREDITED_IN_PART = "payment.credited_in_part"
    """A part of the price arrived, and its ducats are credited; the rest is missing."""
    PAYMENT_REFUNDED = "payment.refunded"
    PAYMENT_REFUND_FAILED = "payment.refund_failed"
    """A refund did not reach the payer's bank, and the money is ours again."""
    PAYMENT_DISPUTED = "payment.disputed"
    PAYMENT_REINSTATED = "payment.reinstated"
    """A dispute was won, and the money is ours again."""
    CREDIT_IN_REVIEW = "credit.in_review"
    """Venice did not take the credit; an operator looks at it."""

    @property
    def is_told_to_citizen(self) -> bool:
        """Return whether it goes into the citizen's inbox; the rest is for those who watch the order."""
        return self not in _ONLY_WATCHED

    @property
    def is_mailed(self) -> bool:
        """Return whether it is worth an e-mail: only what costs money to cause, so that no stranger can fill a
        mailbox."""
        return self.is_told_to_citizen and self not in (EventType.ORDER_EXPIRED, EventType.PAYMENT_FAILED)


_ONLY_WATCHED = (
    EventType.ORDER_OPENED,
    EventType.ORDER_SEEN,
    EventType.ORDER_CONFIRMED,
    EventType.ORDER_REVERSED,  # the citizen is told of the refund or the dispute itself
)


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One event.

    Attributes:
        order_id: whose life it belongs to.
        number: 1, 2, ... of this order, without gaps.
        type: what happened.
        occurred_at: UTC.
        data: what may be told to anyone who knows the order; amounts are plain decimals as text.
    """

    order_id: str
    number: int
    type: EventType
    occurred_at: datetime
    data: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Return the same at every delivery: receivers tell a repetition by it."""
        return f"evt_{self.order_id.removeprefix('ord_')}_{self.number}"


def order_data(order: Order) -> dict[str, Any]:
    """Return what every event tells of its order."""
    quote = order.quote
    return {
        "order_id": order.id,
        "package": quote.package,
        "price_usd": quote.price.plain,
        "ducats": quote.ducats.plain,
        "bonus": quote.bonus.plain,
        "usd_per_ducat": str(quote.rate),
        "rate_tick": f"{quote.tick:%Y-%m-%dT%H:%M:%SZ}" if quote.tick else None,
    }
