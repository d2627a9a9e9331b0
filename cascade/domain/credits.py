"""Credits, and judging one by what Venice says it has done: it knows no idempotency key, so we look before we resend.

Venice makes a transfer of every request, executes it a little later by two writes that are not one, and then marks it.
Our reference stands in the transfer's notes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any

from cascade.domain.delivery_states import Delivery, DeliveryState, Problem
from cascade.domain.money import Money
from cascade.domain.order_events import EventType

EXECUTED = "executed"
ACTIVE = "active"
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Credit(Delivery):
    """Ducats that are due to a citizen in Venice, as the credit sender has claimed them.

    Attributes:
        ducats: what is due.
        event_type: of the event that is recorded once the credit is confirmed.
        event_key: of that event.
        event_data: of that event; it names the payment.
        handed: ducats that left our ledger for this credit; None when none did.
        sent_seconds: since the credit was last sent; None when nothing that was sent is open any more.
        sent_number: which try sent it.
    """

    ducats: Money
    event_type: EventType
    event_key: str
    event_data: Mapping[str, Any]
    handed: Money | None
    sent_seconds: float | None
    sent_number: int | None


class CreditState(StrEnum):
    """The state of the ducats of a paid order."""

    ON_ITS_WAY = "on_its_way"
    CREDITED = "credited"
    IN_REVIEW = "in_review"


def credit_state(states: Sequence[DeliveryState]) -> CreditState:
    """Return how an order's ducats stand, by all of its credits to Venice."""
    if DeliveryState.PARKED in states:
        return CreditState.IN_REVIEW
    return CreditState.ON_ITS_WAY if DeliveryState.PENDING in states else CreditState.CREDITED


@dataclass(frozen=True, slots=True)
class VeniceTransfer:
    """A transfer with our reference, as Venice shows it.

    Attributes:
        number: which of our tries asked for it.
        status: in Venice's words: ``active``, ``executed``, ``failed``, or something that we do not know.
        amount: ducats; None when it cannot be read.
        times: how often its notes say that ducats were moved.
        error: why it failed, in Venice's words.
    """

    number: int
    status: str
    amount: Decimal | None
    times: int = 0
    error: str = ""


class CreditOutcome(Enum):
    """The outcome of a credit as Venice shows it, when it is not a problem."""

    CREDITED = "credited"
    """It was executed, once, with the right amount."""
    WAITING = "waiting"
    """It is there and not executed yet: never send it again."""
    ABSENT = "absent"
    """Nothing of it is there, or only what surely moved nothing."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A finding, or a problem with its reason in words."""

    finding: CreditOutcome | None
    problem: Problem | None = None
    reason: str = ""


def reconcile_credit(transfers: Sequence[VeniceTransfer], ducats: Money, last_number: int | None) -> Reconciliation:
    """Decide what became of a credit.

    Args:
        transfers: all with our reference.
        ducats: what was sent.
        last_number: the try that sent it last; None when what earlier tries sent is known to have moved nothing.
    """
    executed = [t for t in transfers if t.status == EXECUTED]
    active = [t for t in transfers if t.status == ACTIVE]
    ended = [t for t in transfers if t.status not in (EXECUTED, ACTIVE) and t.number == last_number]
    doubtful = [t for t in ended if _may_have_moved(t)]
    moved = sum(max(1, t.times) for t in executed)
    if moved > 1 or (executed and (active or doubtful)):
        reason = f"Venice moved it {moved} times; {len(active)} more wait, and {len(doubtful)} more may have moved it"
        return Reconciliation(None, Problem.CREDITED_TWICE, reason)
    if executed:
        amount = executed[0].amount
        # Venice counts in floats.
        if amount is None or round(amount, ducats.asset.scale) != Decimal(ducats.plain):
            return Reconciliation(None, Problem.UNCLEAR, f"Venice executed {amount} ducats instead of {ducats.plain}")
        return Reconciliation(CreditOutcome.CREDITED)
    if active:
        return Reconciliation(CreditOutcome.WAITING)
    for transfer in doubtful:
        reason = f"Venice marked the transfer as {transfer.status}: {transfer.error}"
        return Reconciliation(None, Problem.UNCLEAR, reason)
    for transfer in ended:
        return Reconciliation(CreditOutcome.ABSENT, problem_of(transfer.error), transfer.error)
    return Reconciliation(CreditOutcome.ABSENT)


def _may_have_moved(ended: VeniceTransfer) -> bool:
    """Return whether Venice may have failed between its two writes: only what is refused before the first has surely
    moved nothing."""
    return ended.status != FAILED or ended.times > 0 or problem_of(ended.error) is Problem.REFUSED


def problem_of(error: str) -> Problem:
    """Return the problem behind Venice's words for a refusal."""
    words = error.lower()
    if "insufficient funds" in words:
        return Problem.INSUFFICIENT_FUNDS
    if "not found" in words and "sender" not in words:
        return Problem.UNKNOWN_CITIZEN
    return Problem.REFUSED
