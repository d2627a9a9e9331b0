"""Double entry: what is posted when money arrives. One posting holds both of its sides.

Accounts and their normal side:

    treasury, partner   debit    stablecoins that reached (or are held by the router for) each half
    stripe              debit    dollars that Stripe took for us, before its fees; it pays them out by itself
    ducats:sold         debit    ducats brought into being against payment
    ducats:bonus        debit    ducats brought into being as a bonus
    receivable:<order>  debit    ducats of an order that were to be taken back, but had been spent
    refunds:unmatched   debit    stablecoins that the Safe gave back and that fit no payment: an operator finds out why
    exchange            both     what was given back in one stablecoin for what had been paid in the other
    sales               credit   money earned
    suspense            credit   money that fits no order: owed back until an operator decides
    citizen:<id>        credit   ducats that a citizen holds with us; never below zero
    venice:<id>         credit   ducats that were handed over to Venice, where the citizen holds them

A balance is credits minus debits, so all balances of one asset sum to zero.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cascade.domain.credits import Credit
from cascade.domain.money import Money
from cascade.domain.partial_payments import Grant
from cascade.domain.payments import ConfirmedPayment

TREASURY = "treasury"
PARTNER = "partner"
STRIPE = "stripe"
SALES = "sales"
SUSPENSE = "suspense"
UNMATCHED = "refunds:unmatched"
EXCHANGE = "exchange"
DUCATS_SOLD = "ducats:sold"
DUCATS_BONUS = "ducats:bonus"


@dataclass(frozen=True, slots=True)
class SalesVolume:
    """The sales of our ledger up to a moment, less what went back, in millionths of a US dollar.

    Attributes:
        last_day: in the 24 hours up to the moment.
        week_before: in the seven days before those.
        first_at: of the oldest sale in those eight days, UTC; None when there is none.
    """

    last_day: int
    week_before: int
    first_at: datetime | None


def citizen(citizen_id: str) -> str:
    """Return the account that holds a citizen's ducats."""
    return f"citizen:{citizen_id}"


def venice(citizen_id: str) -> str:
    """Return the account of the ducats that Venice holds for a citizen, where Venice keeps the purse."""
    return f"venice:{citizen_id}"


def receivable(order_id: str) -> str:
    """Return the account of the ducats that are owed to us for an order whose money went back."""
    return f"receivable:{order_id}"


class Kind(StrEnum):
    """The reason why a transaction was posted."""

    SALE = "sale"
    SUSPENSE = "suspense"
    REVERSAL = "reversal"
    """Money of a payment went back, or a part of it."""
    REINSTATEMENT = "reinstatement"
    """Money that had gone back is ours again."""
    HANDOVER = "handover"
    """Ducats leave for Venice, just before it is asked to credit them."""
    HANDBACK = "handback"
    """Venice surely did not credit them: the citizen holds them with us again."""
    EXCHANGE = "exchange"
    """A payment's money went back in the other stablecoin, or a bank gave back more than it took."""
    UNMATCHED = "unmatched"
    """Money was given back that fits no payment."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One movement: ``debit`` receives what ``credit`` gives. The amount is positive."""

    debit: str
    credit: str
    amount: Money


@dataclass(frozen=True, slots=True)
class Transaction:
    """Postings that stand or fall together under one reference."""

    reference: str
    kind: Kind
    postings: tuple[Posting, ...]
    reverses: str | None = None

    def contents_hash(self) -> bytes:
        """Return SHA-256 of everything but the reference: tells a replay from a second use of a reference."""
        legs = [[p.debit, p.credit, p.amount.asset.code, str(p.amount.units)] for p in self.postings]
        return hashlib.sha256(json.dumps([self.kind, self.reverses, legs]).encode()).digest()


def exchange_gain(reference: str, amount: Money) -> Transaction:
    """Return what is posted when a bank gives back more than it took: it counts in another currency."""
    return Transaction(reference, Kind.EXCHANGE, (Posting(STRIPE, EXCHANGE, amount),))


def sale(payment: ConfirmedPayment, citizen_id: str, grant: Grant) -> Transaction:
    """Return a payment that fulfils its order, or a part of one: money to us, ducats and bonus to the citizen."""
    ducats = (
        Posting(DUCATS_SOLD, citizen(citizen_id), grant.ducats),
        Posting(DUCATS_BONUS, citizen(citizen_id), grant.bonus),
    )
    return Transaction(payment.reference, Kind.SALE, nonzero(*_received(payment, SALES), *ducats))


def suspense(payment: ConfirmedPayment) -> Transaction:
    """Return a payment that fits no order: money to us, owed back until an operator decides."""
    return Transaction(payment.reference, Kind.SUSPENSE, nonzero(*_received(payment, SUSPENSE)))


def handover(credit: Credit, ducats: Money) -> Transaction:
    """Return ducats that leave for Venice with this try of a credit."""
    posting = Posting(citizen(credit.citizen_id), venice(credit.citizen_id), ducats)
    return Transaction(f"handover:{credit.id}:{credit.attempts}", Kind.HANDOVER, (posting,))


def handback(credit: Credit, ducats: Money) -> Transaction:
    """Return ducats that Venice did not credit, with this try of a credit."""
    posting = Posting(venice(credit.citizen_id), citizen(credit.citizen_id), ducats)
    return Transaction(f"handback:{credit.id}:{credit.attempts}", Kind.HANDBACK, (posting,))


def _received(payment: ConfirmedPayment, source: str) -> tuple[Posting, ...]:
    landed: Mapping[str, int] = payment.landed
    return tuple(Posting(account, source, Money(payment.received.asset, units)) for account, units in landed.items())


def nonzero(*postings: Posting) -> tuple[Posting, ...]:
    """Return the postings that move anything."""
    return tuple(posting for posting in postings if posting.amount.units)
