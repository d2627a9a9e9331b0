"""Payments begun at Stripe, and what Stripe last said of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cascade.domain.card import CardAttempt, CardCase, CardEvidence, CardIntent, CaseKind, Flow, IntentStatus
from cascade.domain.money import USD, Money
from cascade.store.database import Conn, Row

_ATTEMPT = "order_id, flow, number, payable_until, stripe_id"


def open_attempt(connection: Conn, order_id: str, flow: Flow) -> CardAttempt | None:
    """The attempt that can still be paid, or whose answer is not known; None when there is none."""
    query = f"SELECT {_ATTEMPT} FROM card_attempts WHERE order_id = %s AND flow = %s AND closed_at IS NULL"  # noqa: S608
    row = connection.execute(query, (order_id, flow)).fetchone()
    return _attempt(row) if row else None


def last_number(connection: Conn, order_id: str, flow: Flow) -> int:
    """How many attempts of this flow an order has had."""
    row = connection.execute(
        "SELECT coalesce(max(number), 0) AS last FROM card_attempts WHERE order_id = %s AND flow = %s", (order_id, flow)
    ).fetchone()
    return int(row["last"]) if row else 0


def insert_attempt(connection: Conn, attempt: CardAttempt) -> None:
    """Store an attempt, before Stripe is asked.

    Raises:
        psycopg.errors.UniqueViolation: the order has an open attempt of this flow.
    """
    connection.execute(
        "INSERT INTO card_attempts (order_id, flow, number, payable_until) VALUES (%s, %s, %s, %s)",
        (attempt.order_id, attempt.flow, attempt.number, attempt.payable_until),
    )


def name_attempt(connection: Conn, attempt: CardAttempt, stripe_id: str) -> None:
    """Store what Stripe called an attempt."""
    connection.execute(
        "UPDATE card_attempts SET stripe_id = %s WHERE (order_id, flow, number) = (%s, %s, %s) AND stripe_id IS NULL",
        (stripe_id, attempt.order_id, attempt.flow, attempt.number),
    )
    if attempt.flow is Flow.PAYMENT_INTENT:  # until Stripe tells more
        connection.execute(
            "INSERT INTO card_intents (intent_id, order_id, status, evidence) VALUES (%s, %s, %s, 0)"
            " ON CONFLICT (intent_id) DO NOTHING",
            (stripe_id, attempt.order_id, IntentStatus.REQUIRES_PAYMENT_METHOD),
        )


def close_attempt(connection: Conn, attempt: CardAttempt) -> None:
    """Note that nobody can pay an attempt any more."""
    connection.execute(
        "UPDATE card_attempts SET closed_at = clock_timestamp()"
        " WHERE (order_id, flow, number) = (%s, %s, %s) AND closed_at IS NULL",
        (attempt.order_id, attempt.flow, attempt.number),
    )


def close_named(connection: Conn, stripe_ids: Sequence[str]) -> None:
    """Note that nobody can pay these sessions and intents any more; those that are not ours are left out."""
    connection.execute(
        "UPDATE card_attempts SET closed_at = clock_timestamp() WHERE stripe_id = ANY(%s) AND closed_at IS NULL",
        (list(stripe_ids),),
    )


def attempts_to_close(connection: Conn, *, limit: int) -> list[CardAttempt]:
    """Open attempts that nobody should pay any more: their time is over, or the order is paid."""
    rows = connection.execute(
        f"SELECT {_ATTEMPT} FROM card_attempts a WHERE closed_at IS NULL AND (payable_until <= now() OR EXISTS"  # noqa: S608
        " (SELECT FROM payments p WHERE p.order_id = a.order_id AND p.outcome = 'fulfilled'))"
        " ORDER BY payable_until LIMIT %s",
        (limit,),
    ).fetchall()
    return [_attempt(row) for row in rows]


def payable_until(connection: Conn, order_id: str) -> datetime | None:
    """The moment until which a card may pay an order at its price; None when no such payment was begun."""
    row = connection.execute(
        "SELECT max(payable_until) AS until FROM card_attempts WHERE order_id = %s", (order_id,)
    ).fetchone()
    until: datetime | None = row["until"] if row else None
    return until


def can_be_paid(connection: Conn, order_id: str) -> bool:
    """Whether a page or a form of Stripe's may still take the price of an order."""
    row = connection.execute(
        "SELECT FROM card_attempts WHERE order_id = %s AND closed_at IS NULL AND payable_until > now() LIMIT 1",
        (order_id,),
    ).fetchone()
    return row is not None


def end_attempts(connection: Conn, order_id: str) -> None:
    """Let an order's price hold for no card from now on: the worker closes what is open, what is paid later is late."""
    connection.execute(
        "UPDATE card_attempts SET payable_until = now() WHERE order_id = %s AND payable_until > now()", (order_id,)
    )


def number_evidence(connection: Conn) -> int:
    """A number for evidence that is about to be asked for: larger than that of all that was asked for before."""
    row = connection.execute("SELECT nextval('stripe_evidence') AS number").fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return int(row["number"])


def save_evidence(connection: Conn, number: int, evidence: CardEvidence) -> None:
    """Keep how an intent and its cases stand, unless something younger is known."""
    intent = evidence.intent
    connection.execute(
        "INSERT INTO card_intents AS i (intent_id, order_id, status, failure_code, evidence)"
        " VALUES (%s, (SELECT id FROM orders WHERE id = %s), %s, %s, %s)"
        " ON CONFLICT (intent_id) DO UPDATE SET status = excluded.status, failure_code = excluded.failure_code,"
        " evidence = excluded.evidence WHERE i.evidence < excluded.evidence",
        (intent.intent_id, intent.order_id, intent.status, intent.failure_code, number),
    )
    for case in evidence.cases:
        connection.execute(
            "INSERT INTO card_cases AS c (case_id, payment, kind, status, reason, cents, respond_by, evidence)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (case_id) DO UPDATE SET kind = excluded.kind,"
            " status = excluded.status, reason = excluded.reason, cents = excluded.cents,"
            " respond_by = excluded.respond_by, evidence = excluded.evidence WHERE c.evidence < excluded.evidence",
            (case.case_id, case.payment, case.kind, case.status, case.reason, case.amount and case.amount.units,
             case.respond_by, number),
        )  # fmt: skip


def intent(connection: Conn, intent_id: str) -> CardIntent | None:
    """How an intent of one of our orders stood when Stripe last told of it; None when there is none."""
    row = connection.execute(
        "SELECT intent_id, order_id, status, failure_code FROM card_intents"
        " WHERE intent_id = %s AND order_id IS NOT NULL",
        (intent_id,),
    ).fetchone()
    return _intent(row) if row else None


def intents_of_order(connection: Conn, order_id: str) -> list[CardIntent]:
    """All intents of an order, as Stripe last told of them."""
    rows = connection.execute(
        "SELECT intent_id, order_id, status, failure_code FROM card_intents WHERE order_id = %s ORDER BY intent_id",
        (order_id,),
    ).fetchall()
    return [_intent(row) for row in rows]


def cases_of_payments(connection: Conn, references: Sequence[str]) -> list[CardCase]:
    """Disputes, inquiries and warnings about some payments, oldest first."""
    rows = connection.execute(
        "SELECT * FROM card_cases WHERE payment = ANY(%s) ORDER BY opened_at, case_id", (list(references),)
    ).fetchall()
    return [_case(row) for row in rows]


def open_cases(connection: Conn, *, limit: int = 100) -> list[CardCase]:
    """Cases that an operator can still do something about, the most urgent first."""
    rows = connection.execute(
        "SELECT * FROM card_cases WHERE status LIKE '%%needs_response' OR status = 'actionable'"
        " ORDER BY respond_by NULLS LAST, opened_at LIMIT %s",
        (limit,),
    ).fetchall()
    return [_case(row) for row in rows]


def _attempt(row: Row) -> CardAttempt:
    return CardAttempt(row["order_id"], Flow(row["flow"]), row["number"], row["payable_until"], row["stripe_id"])


def _intent(row: Row) -> CardIntent:
    return CardIntent(row["intent_id"], row["order_id"], IntentStatus(row["status"]), row["failure_code"])


def _case(row: Row) -> CardCase:
    return CardCase(
        row["case_id"],
        row["payment"],
        CaseKind(row["kind"]),
        row["status"],
        row["reason"],
        None if row["cents"] is None else Money(USD, row["cents"]),
        row["respond_by"],
    )
