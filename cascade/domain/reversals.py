"""Money that goes back, and the ducats that go back with it. The policy is docs/decisions/0008.

For every cent of a payment that goes back, the same share of the ducats that it brought does, bonus included: after
``returned`` of ``received`` the citizen keeps ``granted * (received - returned) / received``, rounded down. A reversal
takes the difference, so that many small refunds take as much as one large one. Ducats that were spent meanwhile become
a receivable of the order; when money comes back to us, the receivable is settled first.

A refund on chain names an order, not a payment: ``spread`` finds the payments (docs/decisions/0013).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cascade.domain.money import Asset, Money, Rounding, divide
from cascade.domain.orders import Order
from cascade.domain.postings import (
    DUCATS_BONUS,
    DUCATS_SOLD,
    EXCHANGE,
    SALES,
    SUSPENSE,
    TREASURY,
    UNMATCHED,
    Kind,
    Posting,
    Transaction,
    citizen,
    nonzero,
    receivable,
)


class ReversalKind(StrEnum):
    """The reason why money went back, or came to us again."""

    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    DISPUTE = "dispute"
    DISPUTE_REINSTATED = "dispute_reinstated"

    @property
    def leaves(self) -> bool:
        """Return whether the money goes back to the payer; otherwise it comes to us again."""
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
        left_as: the asset in which it left the treasury, where that is not the payment's.
    """

    reference: str
    payment: str
    kind: ReversalKind
    amount: Money
    landed: Mapping[str, int]
    left_as: Asset | None = None

    def __post_init__(self) -> None:
        if sum(self.landed.values()) != self.amount.units or self.amount.units <= 0:
            raise ValueError(f"{self.reference}: {dict(self.landed)} does not add up to {self.amount.units}, above 0")


@dataclass(frozen=True, slots=True)
class GrantState:
    """The state of the ducats of a payment that brought some, just before a reversal.

    Attributes:
        order: the order.
        ducats: what the payment brought, without the bonus.
        bonus: the bonus that it brought.
        received: the whole payment.
        returned: how much of it has gone back so far, net.
        held: ducats that the citizen holds.
        owed: ducats of the payment that are owed.
    """

    order: Order
    ducats: Money
    bonus: Money
    received: Money
    returned: Money
    held: Money
    owed: Money


def kept(granted: Money, received: Money, returned: Money) -> Money:
    """Return ducats that stay with the citizen when ``returned`` of ``received`` has gone back; at most what was
    granted."""
    left = min(received.units, max(0, (received - returned).units))
    return Money(granted.asset, divide(granted.units * left, received.units, Rounding.CREDIT))


def transaction(reversal: Reversal, standing: GrantState | None) -> Transaction:
    """Return what is posted for a reversal.

    Args:
        reversal: the movement of money.
        standing: of the ducats that the payment brought; None for a payment in suspense, which gave nobody ducats.
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


def _ducats(reversal: Reversal, standing: GrantState) -> list[Posting]:
    leaves = reversal.kind.leaves
    after = standing.returned + reversal.amount if leaves else standing.returned - reversal.amount
    holder, debtor = citizen(standing.order.citizen_id), receivable(standing.order.id)
    # Taken from the citizen as long as there is anything; given to the debt as long as there is one.
    first, second = (holder, debtor) if leaves else (debtor, holder)
    room = standing.held if leaves else standing.owed
    postings = []
    for issue, granted in ((DUCATS_SOLD, standing.ducats), (DUCATS_BONUS, standing.bonus)):
        before = kept(granted, standing.received, standing.returned)
        change = kept(granted, standing.received, after) - before
        moved = Money(change.asset, abs(change.units))
        part = min(moved, room)
        room -= part
        for account, amount in ((first, part), (second, moved - part)):
            postings.append(Posting(account, issue, amount) if leaves else Posting(issue, account, amount))
    return postings


@dataclass(frozen=True, slots=True)
class Refund:
    """Money that the Safe gave back through the router. It names an order, and the treasury alone pays it.

    Attributes:
        reference: can be computed again from the evidence, e.g. ``chain:137:1234:5``; unique for ever.
        order_key: the router's order id.
        amount: how much, positive.
        recipient: who got it.
        transaction: the chain's name of the transaction, for people to look up.
    """

    reference: str
    order_key: bytes
    amount: Money
    recipient: str
    transaction: str


@dataclass(frozen=True, slots=True)
class Refundable:
    """A payment of which money is left that can go back.

    Attributes:
        payment: its reference.
        left: what came, less what went back.
        credited: it gave ducats; else it is in suspense.
        named: it was paid under the very id that the refund names; else under another one of the same order.
        completed: it is a part of a price that another payment completed, of which money is left too.
    """

    payment: str
    left: Money
    credited: bool
    named: bool
    completed: bool = False


UNMATCHED_NEXT_STEP = (
    "More went back than came, or the id is of no order of ours: find out in the Safe who sent it and why. No ducats"
    " were taken for it. If it was a mistake, ask the recipient to send it back to the Safe."
)


def spread(refund: Refund, payments: Sequence[Refundable]) -> tuple[list[Reversal], Money]:
    """Decide which payments a refund gives back.

    A payment of which exactly this much is left is meant. Without one, the refund is taken from several: those in its
    own token first, those in suspense before the one that gave ducats, those under its own id before others of the
    order, the newest first. A dollar of one stablecoin stands for a dollar of the other.

    The payment that completed a price goes back before the parts that it completed, whatever they amount to: it
    brought the bonus, which nobody is to keep for a part.

    Args:
        refund: what went back.
        payments: the order's, newest first.

    Returns:
        The reversals, and what is left of the refund and fits nothing.
    """
    asset, rest = refund.amount.asset, refund.amount.units
    fitting = [p for p in payments if p.left.units > 0 and p.left.asset.scale == asset.scale]
    # Stable: the newest stay first.
    fitting.sort(key=lambda p: (p.completed, p.left.asset != asset, p.credited, not p.named))
    exact = next((p for p in fitting if p.left.units == rest and not p.completed), None)
    reversals: list[Reversal] = []
    for payment in fitting if exact is None else [exact]:
        units = min(rest, payment.left.units)
        if not units:
            break
        reversals.append(
            Reversal(
                refund.reference if not reversals else f"{refund.reference}:{len(reversals) + 1}",
                payment.payment,
                ReversalKind.REFUND,
                Money(payment.left.asset, units),
                {TREASURY: units},
                None if payment.left.asset == asset else asset,
            )
        )
        rest -= units
    return reversals, Money(asset, rest)


def exchange(reversal: Reversal) -> Transaction | None:
    """Return what is posted beside a reversal whose money left in another asset than it came in; None where it did not.

    The reversal takes the payment's asset out of the treasury; this puts it back and takes out what really left.
    """
    if reversal.left_as is None:
        return None
    given = Money(reversal.left_as, reversal.amount.units)
    postings = (Posting(TREASURY, EXCHANGE, reversal.amount), Posting(EXCHANGE, TREASURY, given))
    return Transaction(f"{reversal.reference}:exchange", Kind.EXCHANGE, postings)


def unmatched(refund: Refund, rest: Money) -> Transaction:
    """Return what is posted for the part of a refund that fits no payment."""
    return Transaction(f"{refund.reference}:rest", Kind.UNMATCHED, (Posting(UNMATCHED, TREASURY, rest),))
