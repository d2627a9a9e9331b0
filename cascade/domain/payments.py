"""A confirmed payment of any rail, and what may become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cascade.domain.money import USD, Asset, Money


class Rail(StrEnum):
    """The way on which money comes in."""

    CHAIN = "chain"
    CARD = "card"


class Outcome(StrEnum):
    """The outcome of a confirmed payment; reversed: all of its money went back."""

    FULFILLED = "fulfilled"
    CREDITED = "credited"
    """A part of the price: it gave its ducats, and the rest of the price is missing or came later."""
    SUSPENSE = "suspense"
    REVERSED = "reversed"


class SuspenseReason(StrEnum):
    """The reason why money fits no order. It is booked all the same and waits for an operator."""

    UNKNOWN_ORDER = "unknown_order"
    WRONG_TOKEN = "wrong_token"
    SHORT = "short"
    OVER = "over"
    DUPLICATE = "duplicate"
    LATE = "late"

    def next_step(self, rail: Rail, *, collected: bool = False) -> str:
        """Return what an operator does about it; ``collected``: it lay at the order's deposit address."""
        if not collected:
            return f"{_WHAT_IS_WRONG[self]} {_HOW_TO_REFUND[rail]}"
        wrong = _WRONG_WHEN_COLLECTED.get(self, _WHAT_IS_WRONG[self])
        return f"{wrong} {_HOW_TO_REFUND_A_TRANSFER}"


_WHAT_IS_WRONG = {
    SuspenseReason.UNKNOWN_ORDER: "Find out who paid and for what.",
    SuspenseReason.WRONG_TOKEN: "The order asked for another currency.",
    SuspenseReason.SHORT: "Less than the price arrived.",
    SuspenseReason.OVER: "More than the price arrived.",
    SuspenseReason.DUPLICATE: "The order was already paid.",
    SuspenseReason.LATE: "It was paid after the price had run out.",
}
_WRONG_WHEN_COLLECTED = {
    SuspenseReason.SHORT: "Less than a cent arrived.",
    SuspenseReason.OVER: "Much more than the price arrived.",
    SuspenseReason.LATE: "The transfer came after the price had run out.",
}
_HOW_TO_REFUND = {
    Rail.CHAIN: "Refund the payer from the Safe, through the router: the books follow by themselves.",
    Rail.CARD: "Refund it in Stripe's Dashboard; the books follow by themselves.",
}
_HOW_TO_REFUND_A_TRANSFER = (
    "Refund who sent the transfer, from the Safe, through the router: the books follow by themselves. Never send to the"
    " deposit address, from where it would be collected again; if an exchange sent it, ask the citizen for an address."
)


@dataclass(frozen=True, slots=True)
class PaidEvent:
    """One payment through the router, as its log tells it. Amounts are the token's smallest units.

    ``block_time``: of its block, in Unix seconds; known only of what was collected at a deposit address.
    """

    block_number: int
    log_index: int
    block_hash: bytes
    transaction_hash: bytes
    on_chain_order_id: bytes
    payer: str
    token_address: str
    units: int
    partner_units: int
    seq: int
    block_time: int | None = None


@dataclass(frozen=True, slots=True)
class RefundedEvent:
    """Money that the owner gave back through the router, as its log tells it."""

    block_number: int
    log_index: int
    block_hash: bytes
    transaction_hash: bytes
    on_chain_order_id: bytes
    recipient: str
    token_address: str
    units: int


def below_a_cent(stablecoins: Money) -> bool:
    """Return whether an amount of a dollar stablecoin is dust."""
    return stablecoins.units * USD.one < stablecoins.asset.one


RouterEvent = PaidEvent | RefundedEvent


@dataclass(frozen=True, slots=True)
class ConfirmedPayment:
    """Money that has arrived and cannot be taken back by the network that carried it.

    Attributes:
        reference: can be computed again from the evidence, e.g. ``chain:137:1234:5``; unique for ever.
        rail: where it came in.
        order_key: the name under which the rail knows the order: 32 bytes on chain, our own order id by card.
        received: the whole amount.
        landed: in which of our accounts it lies now, in units; sums to ``received``.
        payer: who paid, as the rail names them.
        transaction: the rail's own name of the transaction, for people to look up.
        paid_at: when the payer paid, UTC; of a plain transfer, the time of its own block. None where the rail itself
            refuses what comes late, as the router does with everything else.
        collected: it lay at the order's deposit address, which then is the payer: nothing may be sent there.
    """

    reference: str
    rail: Rail
    order_key: bytes
    received: Money
    landed: Mapping[str, int]
    payer: str
    transaction: str
    paid_at: datetime | None = None
    collected: bool = False

    @property
    def is_dust(self) -> bool:
        """Return whether it costs its payer less than telling anybody of it costs us."""
        return self.rail is Rail.CHAIN and below_a_cent(self.received)

    def __post_init__(self) -> None:
        if sum(self.landed.values()) != self.received.units or any(u < 0 for u in self.landed.values()):
            raise ValueError(f"{self.reference}: {dict(self.landed)} does not add up to {self.received.units}")


def judge(
    received: Money, expected: Mapping[Asset, Money] | None, *, already_paid: bool, late: bool = False
) -> SuspenseReason | None:
    """Decide whether a payment of the exact price pays its order; what was collected is weighed by `parts` instead.

    Args:
        received: what arrived.
        expected: what the order asks for, by asset; None when there is no such order.
        already_paid: another payment has fulfilled the order.
        late: it was paid when the order's price no longer held.

    Returns:
        None when the payment fulfils the order, else why it goes to suspense.
    """
    if expected is None:
        return SuspenseReason.UNKNOWN_ORDER
    if received.asset not in expected:
        return SuspenseReason.WRONG_TOKEN
    price = expected[received.asset]
    if received < price:
        return SuspenseReason.SHORT
    if price < received:
        return SuspenseReason.OVER
    if already_paid:
        return SuspenseReason.DUPLICATE
    return SuspenseReason.LATE if late else None
