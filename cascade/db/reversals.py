"""Money that went back, or came again, and refunds on chain: each reference once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cascade.db.database import Conn, Row
from cascade.domain.money import ASSETS, DUCAT, Money
from cascade.domain.postings import UNMATCHED
from cascade.domain.reversals import Refund, Reversal, ReversalKind

_SELECT = (
    "SELECT r.*, p.asset, p.order_id,"
    " coalesce(sum(j.units) FILTER (WHERE starts_with(j.account, 'citizen:')), 0) AS taken,"
    " coalesce(sum(j.units) FILTER (WHERE starts_with(j.account, 'receivable:')), 0) AS owed"
    " FROM reversals r JOIN payments p ON p.reference = r.payment"
    " JOIN ledger.journal j ON j.reference = r.reference"
    " WHERE {} GROUP BY r.reference, p.asset, p.order_id ORDER BY r.recorded_at, r.reference"
)


@dataclass(frozen=True, slots=True)
class BookedReversal:
    """A reversal as it stands in the books. Ducats are negative when they came back to the citizen.

    Attributes:
        reference: of the movement.
        payment: the reference of the payment.
        kind: why.
        amount: how much money.
        taken: ducats that were taken from the citizen.
        owed: ducats that could not be, and are owed since.
        recorded_at: UTC.
    """

    reference: str
    payment: str
    kind: ReversalKind
    amount: Money
    taken: Money
    owed: Money
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class BookedRefund:
    """A refund on chain as it stands in the books.

    Attributes:
        refund: as it came.
        order_id: the order that it names; None when there is no such order.
        unmatched: what of it fits no payment.
        recorded_at: UTC.
    """

    refund: Refund
    order_id: str | None
    unmatched: Money
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Receivable:
    """Ducats that a citizen owes, since they were spent before the money for them went back."""

    citizen_id: str
    order_id: str
    owed: Money


def by_reference(connection: Conn, reference: str) -> BookedReversal | None:
    """Return the reversal that is booked under a reference; None when there is none."""
    row = connection.execute(_SELECT.format("r.reference = %s").encode(), (reference,)).fetchone()
    return _reversal(row) if row else None


def of_payments(connection: Conn, references: Sequence[str]) -> list[BookedReversal]:
    """Return all reversals of some payments, oldest first."""
    rows = connection.execute(_SELECT.format("r.payment = ANY(%s)").encode(), (list(references),)).fetchall()
    return [_reversal(row) for row in rows]


def insert(connection: Conn, reversal: Reversal) -> None:
    """Book a reversal.

    Raises:
        psycopg.errors.UniqueViolation: it is booked.
    """
    connection.execute(
        "INSERT INTO reversals (reference, payment, kind, units) VALUES (%s, %s, %s, %s)",
        (reversal.reference, reversal.payment, reversal.kind, reversal.amount.units),
    )


def insert_refund(connection: Conn, refund: Refund) -> bool:
    """Note a refund; False when its reference is noted already."""
    inserted = connection.execute(
        "INSERT INTO refunds (reference, order_key, asset, units, recipient, transaction)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (
            refund.reference,
            refund.order_key,
            refund.amount.asset.code,
            refund.amount.units,
            refund.recipient,
            refund.transaction,
        ),
    )
    return inserted.rowcount == 1


def refund_by_reference(connection: Conn, reference: str) -> BookedRefund:
    """Return the refund that is booked under a reference."""
    (found,) = _refunds(connection, "r.reference = %(reference)s", reference=reference)
    return found


def refunds(connection: Conn, *, unmatched: bool = False, limit: int = 100) -> list[BookedRefund]:
    """Return refunds on chain, the newest first; or those of which something fits no payment."""
    return _refunds(connection, "j.units IS NOT NULL" if unmatched else "true", limit=limit)


def receivables(connection: Conn, *, limit: int = 100) -> list[Receivable]:
    """Return ducats that are owed, the largest debt first."""
    rows = connection.execute(
        "SELECT o.citizen_id, o.id, -a.units AS owed FROM ledger.accounts a"
        " JOIN orders o ON a.name = 'receivable:' || o.id WHERE a.units < 0 ORDER BY a.units, o.id LIMIT %s",
        (limit,),
    ).fetchall()
    return [Receivable(row["citizen_id"], row["id"], Money(DUCAT, int(row["owed"]))) for row in rows]


def _refunds(connection: Conn, condition: str, **values: str | int) -> list[BookedRefund]:
    query = (
        "SELECT r.*, t.order_id, coalesce(-j.units, 0) AS unmatched FROM refunds r"  # noqa: S608 - our conditions
        " LEFT JOIN chain_terms t ON t.on_chain_order_id = r.order_key"
        " LEFT JOIN ledger.journal j ON j.reference = r.reference || ':rest' AND j.account = %(account)s"
        f" WHERE {condition} ORDER BY r.recorded_at DESC, r.reference DESC LIMIT %(limit)s"
    )
    rows = connection.execute(query.encode(), {"limit": 1, "account": UNMATCHED, **values}).fetchall()
    return [
        BookedRefund(
            Refund(
                row["reference"],
                bytes(row["order_key"]),
                Money(ASSETS[row["asset"]], int(row["units"])),
                row["recipient"],
                row["transaction"],
            ),
            row["order_id"],
            Money(ASSETS[row["asset"]], int(row["unmatched"])),
            row["recorded_at"],
        )
        for row in rows
    ]


def _reversal(row: Row) -> BookedReversal:
    return BookedReversal(
        row["reference"],
        row["payment"],
        ReversalKind(row["kind"]),
        Money(ASSETS[row["asset"]], int(row["units"])),
        Money(DUCAT, -int(row["taken"])),
        Money(DUCAT, -int(row["owed"])),
        row["recorded_at"],
    )
