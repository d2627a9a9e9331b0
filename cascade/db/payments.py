"""Confirmed payments: each reference once, whatever became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cascade.db.database import Conn, Row
from cascade.domain.money import ASSETS, DUCAT, Money
from cascade.domain.partial_payments import Grant, PriorPayment
from cascade.domain.payments import ConfirmedPayment, Outcome, Rail, SuspenseReason
from cascade.domain.reversals import kept

_SELECT = (
    "SELECT p.*, coalesce(r.units, 0) AS returned FROM payments p CROSS JOIN LATERAL"
    " (SELECT sum(CASE WHEN kind IN ('refund', 'dispute') THEN units ELSE -units END) AS units"
    " FROM reversals WHERE payment = p.reference) AS r"
)


@dataclass(frozen=True, slots=True)
class BookedPayment:
    """A payment as it stands in the books.

    Attributes:
        order_key: the name under which the rail knows its order; None for some old ones by card.
        returned: what has gone back of it, net, and may be more than came.
        collected: it lay at the order's deposit address, which is the payer.
        grant: what it brought, also when that has gone back since; None when it is in suspense.
    """

    reference: str
    rail: Rail
    order_id: str | None
    order_key: bytes | None
    received: Money
    returned: Money
    payer: str
    transaction: str
    outcome: Outcome
    reason: SuspenseReason | None
    collected: bool
    recorded_at: datetime
    grant: Grant | None = None

    @property
    def next_step(self) -> str:
        """Return what an operator does about it; empty when nothing is to be done."""
        return self.reason.next_step(self.rail, collected=self.collected) if self.reason else ""


def by_reference(connection: Conn, reference: str) -> BookedPayment | None:
    """Return the payment that is booked under a reference; None when there is none."""
    row = connection.execute(f"{_SELECT} WHERE p.reference = %s", (reference,)).fetchone()
    return _payment(row) if row else None


def fulfilment(booked: Sequence[BookedPayment]) -> Outcome | None:
    """Return what became of an order by its payments: None while none has fulfilled it, reversed when all went back."""
    granted = [payment for payment in booked if payment.grant]
    if not any(payment.grant and payment.grant.fulfils for payment in granted):
        return None
    gone = all(payment.outcome is Outcome.REVERSED for payment in granted)
    return Outcome.REVERSED if gone else Outcome.FULFILLED


def parts_of(booked: Sequence[BookedPayment]) -> list[PriorPayment]:
    """Return what stands of the parts among an order's payments, less what went back."""
    return [
        PriorPayment(p.received - p.returned, kept(p.grant.ducats, p.received, p.returned))
        for p in booked
        if p.grant and not p.grant.fulfils and p.returned < p.received
    ]


def insert(
    connection: Conn, payment: ConfirmedPayment, order_id: str | None, verdict: Grant | SuspenseReason
) -> Outcome:
    """Book a payment with what it brings its order, or with why it waits.

    Returns:
        Its outcome.

    Raises:
        psycopg.errors.UniqueViolation: the reference is booked, or the order is fulfilled by another payment.
    """
    grant = None if isinstance(verdict, SuspenseReason) else verdict
    outcome = Outcome.SUSPENSE if grant is None else Outcome.FULFILLED if grant.fulfils else Outcome.CREDITED
    connection.execute(
        "INSERT INTO payments (reference, rail, order_id, order_key, asset, units, payer, transaction, outcome, reason,"
        " collected, ducat_units, bonus_units) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            payment.reference,
            payment.rail,
            order_id,
            payment.order_key,
            payment.received.asset.code,
            payment.received.units,
            payment.payer,
            payment.transaction,
            outcome,
            None if grant else verdict,
            payment.collected,
            grant.ducats.units if grant else 0,
            grant.bonus.units if grant else 0,
        ),
    )
    return outcome


def of_order(connection: Conn, order_id: str) -> list[BookedPayment]:
    """Return all payments booked for an order, oldest first, but for dust: it brings nothing, and there may be any
    number."""
    rows = connection.execute(
        f"{_SELECT} WHERE p.order_id = %s AND NOT p.dust ORDER BY p.recorded_at, p.reference", (order_id,)
    )
    return [_payment(row) for row in rows.fetchall()]


def on_chain(connection: Conn, order_key: bytes) -> list[BookedPayment]:
    """Return all payments on chain of the order that the router knows by this id, under whichever of its ids; newest
    first.

    For an id of no order: what was paid under it. Of dust, only what came last.
    """
    rows = connection.execute(
        f"{_SELECT} JOIN ledger.transactions t ON t.reference = p.reference WHERE p.rail = 'chain'"  # noqa: S608
        " AND (NOT p.dust OR p.reference IN (SELECT reference FROM payments WHERE order_key = %(key)s AND dust"
        " ORDER BY recorded_at DESC LIMIT 20))"
        " AND (p.order_key = %(key)s"
        " OR p.order_id = (SELECT order_id FROM chain_terms WHERE on_chain_order_id = %(key)s))"
        " ORDER BY t.id DESC",
        {"key": order_key},
    ).fetchall()
    return [_payment(row) for row in rows]


def in_suspense(connection: Conn, *, limit: int = 100) -> list[BookedPayment]:
    """Return payments that wait for an operator, oldest first; what has gone back as a whole waits no more, and dust
    never."""
    rows = connection.execute(
        f"{_SELECT} WHERE p.outcome = 'suspense' AND NOT p.dust AND coalesce(r.units, 0) < p.units"
        " ORDER BY p.recorded_at, p.reference LIMIT %s",
        (limit,),
    )
    return [_payment(row) for row in rows.fetchall()]


@dataclass(frozen=True, slots=True)
class Dust:
    """Payments below a cent that lie in suspense, summed up."""

    payments: int
    total: Money


def dust_in_suspense(connection: Conn) -> list[Dust]:
    """Sum up the payments below a cent, by asset; what went back of one is not taken off."""
    rows = connection.execute(
        "SELECT asset, count(*) AS payments, sum(units) AS units FROM payments WHERE dust GROUP BY asset ORDER BY asset"
    ).fetchall()
    return [Dust(row["payments"], Money(ASSETS[row["asset"]], int(row["units"]))) for row in rows]


def _payment(row: Row) -> BookedPayment:
    received, returned = (Money(ASSETS[row["asset"]], int(row[name])) for name in ("units", "returned"))
    outcome = Outcome(row["outcome"])
    ducats, bonus = (Money(DUCAT, int(row[name])) for name in ("ducat_units", "bonus_units"))
    return BookedPayment(
        row["reference"],
        Rail(row["rail"]),
        row["order_id"],
        None if row["order_key"] is None else bytes(row["order_key"]),
        received,
        returned,
        row["payer"],
        row["transaction"],
        outcome if returned < received else Outcome.REVERSED,
        SuspenseReason(row["reason"]) if row["reason"] else None,
        row["collected"],
        row["recorded_at"],
        None if outcome is Outcome.SUSPENSE else Grant(ducats, bonus, outcome is Outcome.FULFILLED),
    )
