"""Money that goes back, and the ducats that go back with it. The policy is docs/decisions/0008.

For every cent that goes back, the same share of the order's ducats does, bonus included: after ``returned`` of
``received`` the citizen keeps ``granted * (received - returned) / received``, rounded down. A reversal takes the
difference, so that many small refunds take as much as one large one. Ducats that were spent meanwhile become a
receivable of the order; when money comes back to us, the receivable is settled first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cascade.domain.ledger import (
    DUCATS_BONUS,
    DUCATS_SOLD,
    SALES,
    SUSPENSE,
    Kind,
    Posting,
    Transaction,
    citizen,
    nonzero,
    receivable,
)
from cascade.domain.money import Money, Rounding, divide
from cascade.domain.orders import Order


class ReversalKind(StrEnum):
    """Why money went back, or came to us again."""

    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    DISPUTE = "dispute"
    DISPUTE_REINSTATED = "dispute_reinstated"

    @property
    def leaves(self) -> bool:
        """Whether the money goes back to the payer; otherwise it comes to us again."""
        return self in (ReversalKind.REFUND, ReversalKind.DISPUTE)


@dataclass(frozen=True, slots=True)
class Reversal:
    """One movement of money that belongs to a payment and comes after it.

    Attributes:
        reference: can be computed again from the evidence, e.g. ``stripe:re_1``; unique for ever.
        payment: the reference of the payment.
        kind: why.
        amount: how much of the payment's money, positive, in the payment's asset.
        landed: which of our accounts it leaves, or comes back to, in units; sums to ``amount``.
    """

    reference: str
    payment: str
    kind: ReversalKind
    amount: Money
    landed: Mapping[str, int]

    def __post_init__(self) -> None:
        if sum(self.landed.values()) != self.amount.units or self.amount.units <= 0:
            raise ValueError(f"{self.reference}: {dict(self.landed)} does not add up to {self.amount.units}, above 0")


@dataclass(frozen=True, slots=True)
class Standing:
    """How the ducats of an order that a payment fulfilled stand, just before a reversal.

    Attributes:
        order: the order.
        received: the whole payment.
        returned: how much of it has gone back so far, net.
        held: ducats that the citizen holds.
        owed: ducats that are owed for this order.
    """

    order: Order
    received: Money
    returned: Money
    held: Money
    owed: Money


def kept(granted: Money, received: Money, returned: Money) -> Money:
    """Ducats that stay with the citizen when ``returned`` of ``received`` has gone back; none when all or more has."""
    left = max(0, (received - returned).units)
    return Money(granted.asset, divide(granted.units * left, received.units, Rounding.CREDIT))


def transaction(reversal: Reversal, standing: Standing | None) -> Transaction:
    """What is posted for a reversal.

    Args:
        reversal: the movement of money.
        standing: of the order that the payment fulfilled; None for a payment in suspense, which gave nobody ducats.
    """
    source = SUSPENSE if standing is None else SALES
    money = []
    for account, units in reversal.landed.items():
        amount = Money(reversal.amount.asset, units)
        leaves = reversal.kind.leaves
        money.append(Posting(source, account, amount) if leaves else Posting(account, source, amount))
    ducats = [] if standing is None else _ducats(reversal, standing)
    kind = Kind.REVERSAL if reversal.kind.leaves else Kind.REINSTATEMENT
    return Transaction(reversal.reference, kind, nonzero(*money, *ducats), reverses=reversal.payment)


def _ducats(reversal: Reversal, standing: Standing) -> list[Posting]:
    quote, leaves = standing.order.quote, reversal.kind.leaves
    after = standing.returned + reversal.amount if leaves else standing.returned - reversal.amount
    holder, debtor = citizen(standing.order.citizen_id), receivable(standing.order.id)
    # Taken from the citizen as long as there is anything; given to the debt as long as there is one.
    first, second = (holder, debtor) if leaves else (debtor, holder)
    room = standing.held if leaves else standing.owed
    postings = []
    for issue, granted in ((DUCATS_SOLD, quote.ducats), (DUCATS_BONUS, quote.bonus)):
        before = kept(granted, standing.received, standing.returned)
        change = kept(granted, standing.received, after) - before
        moved = Money(change.asset, abs(change.units))
        part = min(moved, room)
        room -= part
        for account, amount in ((first, part), (second, moved - part)):
            postings.append(Posting(account, issue, amount) if leaves else Posting(issue, account, amount))
    return postings
