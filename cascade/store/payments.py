"""Confirmed payments: each reference once, whatever became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cascade.domain.money import ASSETS, Money
from cascade.domain.payments import ConfirmedPayment, Outcome, Rail, SuspenseReason
from cascade.store.database import Conn, Row

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

    @property
    def next_step(self) -> str:
        """What an operator does about it; empty when nothing is to be done."""
        return self.reason.next_step(self.rail, collected=self.collected) if self.reason else ""


def by_reference(connection: Conn, reference: str) -> BookedPayment | None:
    """The payment that is booked under a reference; None when there is none."""
    row = connection.execute(f"{_SELECT} WHERE p.reference = %s", (reference,)).fetchone()
    return _payment(row) if row else None


def lock(connection: Conn, reference: str) -> BookedPayment | None:
    """The payment that is booked under a reference; until the transaction ends nobody else reverses it."""
    connection.execute("SELECT FROM payments WHERE reference = %s FOR UPDATE", (reference,))
    return by_reference(connection, reference)


def is_fulfilled(connection: Conn, order_id: str) -> bool:
    """Whether some payment has fulfilled the order."""
    query = "SELECT FROM payments WHERE order_id = %s AND outcome = 'fulfilled'"
    return connection.execute(query, (order_id,)).fetchone() is not None


def insert(connection: Conn, payment: ConfirmedPayment, order_id: str | None, reason: SuspenseReason | None) -> None:
    """Book a payment; without a reason it fulfils its order.

    Raises:
        psycopg.errors.UniqueViolation: the reference is booked, or the order is fulfilled by another payment.
    """
    connection.execute(
        "INSERT INTO payments (reference, rail, order_id, order_key, asset, units, payer, transaction, outcome, reason,"
        " collected) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            payment.reference,
            payment.rail,
            order_id,
            payment.order_key,
            payment.received.asset.code,
            payment.received.units,
            payment.payer,
            payment.transaction,
            Outcome.SUSPENSE if reason else Outcome.FULFILLED,
            reason,
            payment.collected,
        ),
    )


def of_order(connection: Conn, order_id: str) -> list[BookedPayment]:
    """All payments booked for an order, oldest first."""
    rows = connection.execute(f"{_SELECT} WHERE p.order_id = %s ORDER BY p.recorded_at, p.reference", (order_id,))
    return [_payment(row) for row in rows.fetchall()]


def lock_on_chain(connection: Conn, order_key: bytes) -> list[BookedPayment]:
    """All payments on chain of the order that the router knows by this id, under whichever of its ids; newest first.

    Nobody else reverses them until the transaction ends. For an id of no order: what was paid under it.
    """
    rows = connection.execute(
        "SELECT p.reference FROM payments p JOIN ledger.transactions t USING (reference) WHERE p.rail = 'chain'"
        " AND (p.order_key = %(key)s"
        " OR p.order_id = (SELECT order_id FROM chain_terms WHERE on_chain_order_id = %(key)s))"
        " ORDER BY t.id DESC FOR UPDATE OF p",
        {"key": order_key},
    ).fetchall()
    found = [by_reference(connection, row["reference"]) for row in rows]
    return [payment for payment in found if payment is not None]


def in_suspense(connection: Conn, *, limit: int = 100) -> list[BookedPayment]:
    """Payments that wait for an operator, oldest first; what has gone back as a whole waits no more."""
    rows = connection.execute(
        f"{_SELECT} WHERE p.outcome = 'suspense' AND coalesce(r.units, 0) < p.units"
        " ORDER BY p.recorded_at, p.reference LIMIT %s",
        (limit,),
    )
    return [_payment(row) for row in rows.fetchall()]


def _payment(row: Row) -> BookedPayment:
    received, returned = (Money(ASSETS[row["asset"]], int(row[name])) for name in ("units", "returned"))
    return BookedPayment(
        row["reference"],
        Rail(row["rail"]),
        row["order_id"],
        None if row["order_key"] is None else bytes(row["order_key"]),
        received,
        returned,
        row["payer"],
        row["transaction"],
        Outcome(row["outcome"]) if returned < received else Outcome.REVERSED,
        SuspenseReason(row["reason"]) if row["reason"] else None,
        row["collected"],
        row["recorded_at"],
    )
