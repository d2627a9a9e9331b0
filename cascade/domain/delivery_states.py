"""Outgoing deliveries: where to, and what may become of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

VENICE = "venice"
"""Where credits go: ducats, to the city that keeps the citizens' balances."""
MESSAGE = "message"
"""Venice's own message to a citizen."""
EMAIL = "email"
WEBHOOK = "webhook"
"""The kind of all destinations that are endpoints."""


def webhook(endpoint_id: str) -> str:
    """Return the destination of one of the platform's endpoints: each is apart, so that a dead one delays no other."""
    return f"{WEBHOOK}:{endpoint_id}"


def kind_of(destination: str) -> str:
    """Return the kind of a destination: endpoints share one, of every other the destination itself is it."""
    return destination.partition(":")[0]


def endpoint_of(destination: str) -> str | None:
    """Return the endpoint behind a destination; None when it is no webhook."""
    return destination.partition(":")[2] if kind_of(destination) == WEBHOOK else None


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    VOID = "void"
    """There was nothing left to deliver: the ducats had been taken back meanwhile."""
    PARKED = "parked"
    """It waits for an operator, who replays or settles it."""


class Problem(StrEnum):
    """The reason why a delivery is parked, or why its last try did not succeed."""

    EXHAUSTED = "exhausted"
    UNKNOWN_CITIZEN = "unknown_citizen"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    REFUSED = "refused"
    UNCLEAR = "unclear"
    CREDITED_TWICE = "credited_twice"
    ENDPOINT_DISABLED = "endpoint_disabled"

    @property
    def next_step(self) -> str:
        """Return what an operator does about it."""
        return _NEXT_STEP[self]

    @property
    def is_certain(self) -> bool:
        """Return whether Venice surely moved nothing, so that the ducats are still ours to give or to take back."""
        return self in (Problem.UNKNOWN_CITIZEN, Problem.INSUFFICIENT_FUNDS, Problem.REFUSED)


_NEXT_STEP = {
    Problem.EXHAUSTED: "See that the receiver is up, then replay it.",
    Problem.UNKNOWN_CITIZEN: "Let Venice know the citizen and replay it, or refund the payment.",
    Problem.INSUFFICIENT_FUNDS: "Give CASCADE_PAYMENT_PROCESSOR more ducats in Venice; it is tried again by itself.",
    Problem.REFUSED: "Read the error, mend its cause, then replay it, or refund the payment.",
    Problem.UNCLEAR: "See in Venice whether the citizen has the ducats: if so settle it, if not replay it.",
    Problem.CREDITED_TWICE: "Take the surplus back in Venice, then settle it.",
    Problem.ENDPOINT_DISABLED: "Enable the endpoint, then replay it.",
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing for one receiver, as a worker has claimed it.

    Attributes:
        id: its number in its table.
        destination: ``venice``, ``message``, ``email`` or ``webhook:<endpoint>``.
        citizen_id: whom it is about; order is kept for each destination and citizen.
        order_id: the order it belongs to.
        reference: the receiver's idempotency key, the same at every try.
        attempts: tries so far, this one included. It fences the writes of a try that was overtaken.
        age_seconds: since the first try.
    """

    id: int
    destination: str
    citizen_id: str
    order_id: str
    reference: str
    attempts: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class OutboxMessage(Delivery):
    """A delivery of the outbox; ``payload``: what is to be delivered."""

    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeliveryEntry:
    """A delivery as operators see it."""

    id: int
    destination: str
    citizen_id: str
    order_id: str
    reference: str
    state: DeliveryState
    problem: Problem | None
    error: str | None
    attempts: int
    created_at: datetime
    due_at: datetime
