"""The inbox of Stripe's events: each once, worked through by any number of processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cascade.db.database import Conn
from cascade.domain.card_payments import Alarm, StripeEvent

LONGEST_PAUSE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event whose intent is still to be looked at; ``error``: why the last attempt failed, if one did."""

    event_id: str
    type: str
    intent_id: str
    received_at: datetime
    attempts: int
    due_at: datetime
    error: str | None


@dataclass(frozen=True, slots=True)
class InboxHealth:
    """The state of the inbox, for operators.

    Attributes:
        waiting: events whose intent is still to be looked at.
        oldest_seconds: how long the oldest of them has waited.
        error: why the last attempt at one of them failed; None when none did.
        checked_seconds: how long ago Stripe's own list of events was last read to its end; None: never.
    """

    waiting: int
    oldest_seconds: int
    error: str | None
    checked_seconds: int | None


def insert(connection: Conn, events: Iterable[StripeEvent]) -> int:
    """Keep events; those that are there already stay as they are.

    Args:
        connection: they are stored in its transaction.
        events: of any type; those that matter to nothing are kept as ignored.

    Returns:
        How many of them were new.
    """
    new = 0
    for event in events:
        new += connection.execute(
            "INSERT INTO stripe_events (event_id, type, object_id, intent_id, created_at, handled_at, outcome)"
            " VALUES (%(id)s, %(type)s, %(object)s, %(intent)s, %(created)s,"
            " CASE WHEN %(matters)s THEN NULL ELSE now() END, CASE WHEN %(matters)s THEN NULL ELSE 'ignored' END)"
            " ON CONFLICT (event_id) DO NOTHING",
            {
                "id": event.event_id,
                "type": event.type,
                "object": event.object_id,
                "intent": event.intent_id,
                "created": event.created_at,
                "matters": event.matters,
            },
        ).rowcount
    return new


def claim(connection: Conn, *, limit: int, seconds: float) -> dict[str, list[StripeEvent]]:
    """Take events that are due, so that no other process takes them for a while.

    Args:
        connection: nothing stays locked after its transaction.
        limit: most events at once.
        seconds: when they are due again, should we die.

    Returns:
        Events by the intent that they are about.
    """
    rows = connection.execute(
        "UPDATE stripe_events SET attempts = attempts + 1, due_at = clock_timestamp() + %s * interval '1 second'"
        " WHERE event_id IN (SELECT event_id FROM stripe_events WHERE handled_at IS NULL"
        # No pause is longer than an hour: what is due later was postponed while the database's clock was ahead.
        " AND (due_at <= clock_timestamp() OR due_at > clock_timestamp() + 2 * %s * interval '1 second')"
        " ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)"
        " RETURNING event_id, type, created_at, object_id, intent_id",
        (seconds, LONGEST_PAUSE_SECONDS, limit),
    ).fetchall()
    by_intent: dict[str, list[StripeEvent]] = {}
    for row in rows:
        by_intent.setdefault(row["intent_id"], []).append(StripeEvent(**row))
    return by_intent


def settle(connection: Conn, events: Sequence[StripeEvent]) -> None:
    """Mark events as handled, in the transaction that books what they are about."""
    connection.execute(
        "UPDATE stripe_events SET handled_at = now(), outcome = 'booked', error = NULL"
        " WHERE event_id = ANY(%s) AND handled_at IS NULL",
        ([event.event_id for event in events],),
    )


def raise_alarm(connection: Conn, alarm: Alarm, intent_id: str) -> None:
    """Show something to operators until one of them has seen to it; the same again changes nothing."""
    connection.execute(
        "INSERT INTO card_alarms (reference, intent_id, problem) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (alarm.reference, intent_id, alarm.problem[:500]),
    )


def postpone(connection: Conn, events: Sequence[StripeEvent], error: str, *, no_answer: bool = False) -> None:
    """Note why events could not be handled; the pause until the next attempt grows to an hour and never to for ever.

    Args:
        connection: written in its transaction.
        events: those that are settled stay as they are.
        error: what went wrong.
        no_answer: Stripe gave none, so that they are due as soon as it answers again; see `make_due`.
    """
    connection.execute(
        "UPDATE stripe_events SET error = %s, no_answer = %s, due_at = clock_timestamp()"
        " + least(%s, power(2, least(attempts, 30)) * (0.5 + random() / 2)) * interval '1 second'"
        " WHERE event_id = ANY(%s) AND handled_at IS NULL",
        (error, no_answer, LONGEST_PAUSE_SECONDS, [event.event_id for event in events]),
    )


def make_due(connection: Conn) -> int:
    """Let events wait no longer that were postponed because Stripe gave no answer. Return how many."""
    return connection.execute(
        "UPDATE stripe_events SET due_at = clock_timestamp(), no_answer = false"
        " WHERE handled_at IS NULL AND no_answer AND due_at > clock_timestamp()"
    ).rowcount


def waiting(connection: Conn, *, limit: int = 100) -> list[WaitingEvent]:
    """Return events that wait, and alarms that nobody has seen to, the oldest first."""
    rows = connection.execute(
        "SELECT event_id, type, intent_id, received_at, attempts, due_at, error FROM stripe_events"
        " WHERE handled_at IS NULL UNION ALL SELECT reference, 'alarm', intent_id, raised_at, 0, raised_at, problem"
        " FROM card_alarms WHERE settled_at IS NULL ORDER BY received_at, event_id LIMIT %s",
        (limit,),
    ).fetchall()
    return [WaitingEvent(**row) for row in rows]


def ignore(connection: Conn, event_id: str) -> bool:
    """Give an event or an alarm up, by the word of an operator who has seen to it elsewhere.

    Returns:
        False when no such event waits.
    """
    ignored = connection.execute(
        "UPDATE stripe_events SET handled_at = now(), outcome = 'ignored' WHERE event_id = %s AND handled_at IS NULL",
        (event_id,),
    )
    if ignored.rowcount:
        return True
    seen_to = connection.execute(
        "UPDATE card_alarms SET settled_at = now() WHERE reference = %s AND settled_at IS NULL", (event_id,)
    )
    return seen_to.rowcount == 1


def retry(connection: Conn) -> None:
    """Let no event wait any longer for its next attempt."""
    connection.execute("UPDATE stripe_events SET due_at = clock_timestamp() WHERE handled_at IS NULL")


def read_until(connection: Conn, *, ahead: timedelta = timedelta(0)) -> datetime:
    """Return how far Stripe's list of events has been read, by Stripe's clock; from now on when it never was.

    Args:
        connection: written in its transaction.
        ahead: Stripe's clock less ours.
    """
    connection.execute("INSERT INTO stripe_catch_up (read_until) VALUES (now() + %s) ON CONFLICT DO NOTHING", (ahead,))
    row = connection.execute("SELECT read_until FROM stripe_catch_up").fetchone()
    assert row is not None  # noqa: S101 - it was inserted above
    until: datetime = row["read_until"]
    return until


def set_read_until(connection: Conn, until: datetime) -> None:
    """Note that the list was read to its end; it never goes back."""
    connection.execute(
        "UPDATE stripe_catch_up SET read_until = greatest(read_until, %s), checked_at = clock_timestamp()", (until,)
    )


def health(connection: Conn) -> InboxHealth:
    """Return how the inbox stands."""
    row = connection.execute(
        "SELECT count(*) AS waiting,"
        " coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0)::bigint AS oldest,"
        " (array_agg(error ORDER BY received_at) FILTER (WHERE error IS NOT NULL))[1] AS error,"
        " (SELECT extract(epoch FROM clock_timestamp() - checked_at)::bigint FROM stripe_catch_up) AS checked"
        " FROM (SELECT received_at, error FROM stripe_events WHERE handled_at IS NULL"
        " UNION ALL SELECT raised_at, problem FROM card_alarms WHERE settled_at IS NULL) AS waiting"
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has one row
    return InboxHealth(row["waiting"], row["oldest"], row["error"], row["checked"])
