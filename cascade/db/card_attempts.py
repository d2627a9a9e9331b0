"""Payments begun at Stripe, and what Stripe last said of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cascade.db.database import Conn, Row
from cascade.domain.card_payments import (
    PAYABLE,
    CardAttempt,
    CardCase,
    CardEvidence,
    CardIntent,
    CaseKind,
    Flow,
    IntentStatus,
)
from cascade.domain.money import USD, Money

_ATTEMPT = "order_id, flow, number, payable_until, stripe_id, begun_at, stripe_ahead_seconds, key_spent"
_OPEN = "closed_at IS NULL AND given_up_at IS NULL"
_KEY = "(order_id, flow, number) = (%(order)s, %(flow)s, %(number)s)"
_LONGEST_PAUSE_SECONDS = 300


def open_attempt(connection: Conn, order_id: str, flow: Flow | None = None) -> CardAttempt | None:
    """Return the order's attempt that can still be paid, or whose answer is not known; None when there is none.

    Args:
        connection: read in its transaction.
        order_id: of a stored order, which has one such attempt at most.
        flow: only an attempt of this flow; None: of any.
    """
    query = f"SELECT {_ATTEMPT} FROM card_attempts WHERE order_id = %s AND flow = ANY(%s) AND {_OPEN}"  # noqa: S608
    row = connection.execute(query, (order_id, [flow] if flow else list(Flow))).fetchone()
    return _attempt(row) if row else None


def given_up_attempts(connection: Conn, order_id: str) -> list[CardAttempt]:
    """Return an order's attempts that no payer gets any more, but which may still be payable at Stripe."""
    rows = connection.execute(
        f"SELECT {_ATTEMPT} FROM card_attempts"  # noqa: S608
        " WHERE order_id = %s AND closed_at IS NULL AND given_up_at IS NOT NULL ORDER BY begun_at",
        (order_id,),
    ).fetchall()
    return [_attempt(row) for row in rows]


def last_number(connection: Conn, order_id: str, flow: Flow) -> int:
    """Return how many attempts of this flow an order has had."""
    row = connection.execute(
        "SELECT coalesce(max(number), 0) AS last FROM card_attempts WHERE order_id = %s AND flow = %s", (order_id, flow)
    ).fetchone()
    return int(row["last"]) if row else 0


def handed_attempts(connection: Conn, order_id: str, flow: Flow) -> int:
    """Return how many attempts of this flow payers of an order have got."""
    row = connection.execute(
        "SELECT count(handed_at) AS handed FROM card_attempts WHERE order_id = %s AND flow = %s", (order_id, flow)
    ).fetchone()
    return int(row["handed"]) if row else 0


def insert_attempt(connection: Conn, attempt: CardAttempt) -> None:
    """Store an attempt, before Stripe is asked.

    Raises:
        psycopg.errors.UniqueViolation: the order has an open attempt.
    """
    connection.execute(
        "INSERT INTO card_attempts (order_id, flow, number, payable_until, begun_at, stripe_ahead_seconds)"
        " VALUES (%s, %s, %s, %s, coalesce(%s, now()), %s)",
        (attempt.order_id, attempt.flow, attempt.number, attempt.payable_until, attempt.begun_at,
         attempt.stripe_ahead_seconds),
    )  # fmt: skip


def name_attempt(connection: Conn, attempt: CardAttempt, stripe_id: str) -> bool:
    """Store what Stripe called an attempt.

    Returns:
        Whether a payer may get it. False: it was given up meanwhile, and has to be ended now.
    """
    row = connection.execute(
        "UPDATE card_attempts SET stripe_id = %(id)s, due_at = 'epoch',"  # noqa: S608
        # Closed while the answer was under way: what Stripe made is still to be ended.
        " given_up_at = CASE WHEN closed_at IS NULL THEN given_up_at ELSE now() END,"
        " closed_at = CASE WHEN stripe_id IS NULL THEN NULL ELSE closed_at END,"
        " handed_at = CASE WHEN closed_at IS NULL AND given_up_at IS NULL THEN coalesce(handed_at, now())"
        " ELSE handed_at END"
        f" WHERE {_KEY} AND coalesce(stripe_id, %(id)s) = %(id)s RETURNING {_OPEN} AS usable",
        _key(attempt) | {"id": stripe_id},
    ).fetchone()
    if attempt.flow is Flow.PAYMENT_INTENT:  # until Stripe tells more
        connection.execute(
            "INSERT INTO card_intents (intent_id, order_id, status, evidence) VALUES (%s, %s, %s, 0)"
            " ON CONFLICT (intent_id) DO NOTHING",
            (stripe_id, attempt.order_id, IntentStatus.REQUIRES_PAYMENT_METHOD),
        )
    return row is not None and bool(row["usable"])


def give_up(connection: Conn, attempt: CardAttempt, *, key_spent: bool = False) -> None:
    """Let no payer get an attempt any more; until it is closed, the worker ends what Stripe made of it.

    Args:
        connection: written in its transaction.
        attempt: the attempt.
        key_spent: Stripe repeats a failure for its idempotency key, so that only a look into its list tells more.
    """
    connection.execute(
        "UPDATE card_attempts SET given_up_at = coalesce(given_up_at, now()), key_spent = key_spent OR %(spent)s"  # noqa: S608
        f" WHERE {_KEY} AND closed_at IS NULL",
        _key(attempt) | {"spent": key_spent},
    )


def close_attempt(connection: Conn, attempt: CardAttempt) -> None:
    """Note that nobody can pay an attempt any more."""
    connection.execute(
        f"UPDATE card_attempts SET closed_at = clock_timestamp() WHERE {_KEY} AND closed_at IS NULL",  # noqa: S608
        _key(attempt),
    )


def close_named(connection: Conn, stripe_ids: Sequence[str]) -> None:
    """Note that nobody can pay these sessions and intents any more; those that are not ours are left out."""
    connection.execute(
        "UPDATE card_attempts SET closed_at = clock_timestamp() WHERE stripe_id = ANY(%s) AND closed_at IS NULL",
        (list(stripe_ids),),
    )


def reopen_payable(connection: Conn, intent: CardIntent) -> None:
    """Let an intent be canceled that was closed and can be paid again, because a bank has failed it."""
    if intent.status not in PAYABLE:
        return
    connection.execute(
        "UPDATE card_attempts SET closed_at = NULL, given_up_at = coalesce(given_up_at, now()), due_at = 'epoch'"
        " WHERE stripe_id = %s AND closed_at IS NOT NULL",
        (intent.intent_id,),
    )


def postpone_ending(connection: Conn, attempt: CardAttempt) -> None:
    """Let an attempt that could not be ended be tried again: the older it is, the later, but within minutes."""
    connection.execute(
        "UPDATE card_attempts SET due_at = clock_timestamp()"  # noqa: S608
        " + interval '1 second' * least(%(most)s, greatest(1,"
        f" extract(epoch FROM clock_timestamp() - coalesce(given_up_at, payable_until)) / 2)) WHERE {_KEY}",
        _key(attempt) | {"most": _LONGEST_PAUSE_SECONDS},
    )


def attempts_to_close(connection: Conn, *, limit: int) -> list[CardAttempt]:
    """Return attempts that nobody should pay any more: given up, their time is over, or the order is paid."""
    rows = connection.execute(
        f"SELECT {_ATTEMPT} FROM card_attempts a WHERE closed_at IS NULL AND due_at <= clock_timestamp()"  # noqa: S608
        " AND (given_up_at IS NOT NULL OR payable_until <= now() OR EXISTS"
        " (SELECT FROM payments p WHERE p.order_id = a.order_id AND p.outcome = 'fulfilled'))"
        " ORDER BY due_at, payable_until LIMIT %s",
        (limit,),
    ).fetchall()
    return [_attempt(row) for row in rows]


def payable_until(connection: Conn, order_id: str) -> datetime | None:
    """Return the moment, by Stripe's clock, until which a card may pay an order at its price; None: none was begun."""
    row = connection.execute(
        "SELECT max(payable_until + stripe_ahead_seconds * interval '1 second') AS until"
        " FROM card_attempts WHERE order_id = %s",
        (order_id,),
    ).fetchone()
    until: datetime | None = row["until"] if row else None
    return until


def can_be_paid(connection: Conn, order_id: str) -> bool:
    """Return whether a page or a form of Stripe's may still take the price of an order."""
    row = connection.execute(
        "SELECT FROM card_attempts WHERE order_id = %s AND closed_at IS NULL AND payable_until > now()"
        " AND (given_up_at IS NULL OR handed_at IS NOT NULL) LIMIT 1",
        (order_id,),
    ).fetchone()
    return row is not None


def end_attempts(connection: Conn, order_id: str) -> None:
    """Let an order's price hold for no card from now on: the worker closes what is open, what is paid later is late."""
    connection.execute(
        "UPDATE card_attempts SET payable_until = now() WHERE order_id = %s AND payable_until > now()", (order_id,)
    )


def number_evidence(connection: Conn) -> int:
    """Return a number for evidence that is about to be asked for: larger than that of all that was asked for before."""
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
    """Return how an intent of one of our orders stood when Stripe last told of it; None when there is none."""
    row = connection.execute(
        "SELECT intent_id, order_id, status, failure_code FROM card_intents"
        " WHERE intent_id = %s AND order_id IS NOT NULL",
        (intent_id,),
    ).fetchone()
    return _intent(row) if row else None


def intents_of_order(connection: Conn, order_id: str) -> list[CardIntent]:
    """Return all intents of an order, as Stripe last told of them."""
    rows = connection.execute(
        "SELECT intent_id, order_id, status, failure_code FROM card_intents WHERE order_id = %s ORDER BY intent_id",
        (order_id,),
    ).fetchall()
    return [_intent(row) for row in rows]


def cases_of_payments(connection: Conn, references: Sequence[str]) -> list[CardCase]:
    """Return disputes, inquiries and warnings about some payments, oldest first."""
    rows = connection.execute(
        "SELECT * FROM card_cases WHERE payment = ANY(%s) ORDER BY opened_at, case_id", (list(references),)
    ).fetchall()
    return [_case(row) for row in rows]


def open_cases(connection: Conn, *, limit: int = 100) -> list[CardCase]:
    """Return cases that an operator can still do something about, the most urgent first."""
    rows = connection.execute(
        "SELECT * FROM card_cases WHERE status LIKE '%%needs_response' OR status = 'actionable'"
        " ORDER BY respond_by NULLS LAST, opened_at LIMIT %s",
        (limit,),
    ).fetchall()
    return [_case(row) for row in rows]


def _key(attempt: CardAttempt) -> dict[str, object]:
    return {"order": attempt.order_id, "flow": attempt.flow, "number": attempt.number}


def _attempt(row: Row) -> CardAttempt:
    return CardAttempt(**(row | {"flow": Flow(row["flow"])}))


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
