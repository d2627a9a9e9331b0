"""The outbox: outgoing deliveries, a row each, worked through by any number of dispatchers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from cascade.db.database import Conn, Row
from cascade.domain.deliveries import Delivery, DeliveryState, OutboxEntry, Problem
from cascade.domain.money import DUCAT, Money

_CLAIMED = (
    "id, destination, citizen_id, order_id, reference, payload, attempts, handed_units, sent_number,"
    " extract(epoch FROM clock_timestamp() - tried_since)::float AS age_seconds,"
    " extract(epoch FROM clock_timestamp() - sent_at)::float AS sent_seconds"
)
# No pause is that long: what is due later was postponed while the database's clock was ahead.
_IS_DUE = "(o.due_at <= clock_timestamp() OR o.due_at > clock_timestamp() + interval '25 hours')"
_ENTRY = "id, destination, citizen_id, order_id, reference, state, problem, error, attempts, created_at, due_at"
_MATCHES = (
    " (%(id)s::bigint IS NULL OR id = %(id)s) AND (%(destination)s::text IS NULL OR destination = %(destination)s)"
    " AND (%(citizen)s::text IS NULL OR citizen_id = %(citizen)s)"
    " AND (%(order)s::text IS NULL OR order_id = %(order)s) AND (%(problem)s::text IS NULL OR problem = %(problem)s)"
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries; None means any."""

    id: int | None = None
    destination: str | None = None
    citizen: str | None = None
    order: str | None = None
    problem: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the values as the queries name them."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class DestinationHealth:
    """How the deliveries to one destination stand; ``overdue_seconds``: how long nobody has tried the next one."""

    destination: str
    waiting: int
    parked: int
    oldest_seconds: int
    overdue_seconds: int
    error: str | None


def enqueue(
    connection: Conn, destination: str, citizen_id: str, order_id: str, reference: str, payload: Mapping[str, Any]
) -> None:
    """Enqueue a delivery, in the transaction of what it tells.

    Raises:
        psycopg.errors.UniqueViolation: the same was enqueued before.
    """
    connection.execute(
        "INSERT INTO outbox (destination, citizen_id, order_id, reference, payload) VALUES (%s, %s, %s, %s, %s)",
        (destination, citizen_id, order_id, reference, Jsonb(dict(payload))),
    )


def due(connection: Conn) -> list[str]:
    """Return destinations for which a delivery is due."""
    # Hops from one destination to the next in the index: what waits for a dead one, however much, is passed over.
    rows = connection.execute(
        "WITH RECURSIVE d (destination) AS ((SELECT min(destination) FROM outbox"  # noqa: S608 - constant
        " WHERE state = 'pending') UNION ALL"
        " SELECT (SELECT min(destination) FROM outbox WHERE state = 'pending' AND destination > d.destination)"
        " FROM d WHERE d.destination IS NOT NULL) SELECT destination FROM d WHERE EXISTS (SELECT FROM outbox o"
        " WHERE o.destination = d.destination AND o.state = 'pending'"
        f" AND {_IS_DUE})"
    )
    return [row["destination"] for row in rows.fetchall()]


def claim(connection: Conn, destination: str, *, limit: int, seconds: float) -> list[Delivery]:
    """Take deliveries that are due, so that no other dispatcher takes them for a while.

    Of one citizen only the oldest is taken: the next one waits until that one is delivered or parked.

    Args:
        connection: nothing stays locked after its transaction.
        destination: whose.
        limit: most at once.
        seconds: when they are due again, should we die.
    """
    rows = connection.execute(
        "UPDATE outbox SET attempts = attempts + 1, tried_since = coalesce(tried_since, clock_timestamp()),"  # noqa: S608 - constant
        " due_at = clock_timestamp() + %(seconds)s * interval '1 second' WHERE id IN ("
        " SELECT id FROM outbox o WHERE destination = %(destination)s AND state = 'pending'"
        f" AND {_IS_DUE} AND NOT EXISTS (SELECT FROM outbox e WHERE e.destination = o.destination"
        " AND e.citizen_id = o.citizen_id AND e.state = 'pending' AND e.id < o.id)"
        f" ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED) RETURNING {_CLAIMED}",
        {"destination": destination, "limit": limit, "seconds": seconds},
    ).fetchall()
    return [_delivery(row) for row in rows]


def renew(connection: Conn, deliveries: Sequence[Delivery], seconds: float) -> None:
    """Let deliveries that are still being tried be due later; those that were overtaken or have ended stay as they are.

    Args:
        connection: nothing stays locked after its transaction.
        deliveries: as they were claimed.
        seconds: when they are due again, should we die.
    """
    connection.execute(
        "UPDATE outbox o SET due_at = clock_timestamp() + %s * interval '1 second'"
        " FROM unnest(%s::bigint[], %s::integer[]) AS tried (id, attempts)"
        " WHERE o.id = tried.id AND o.attempts = tried.attempts AND o.state = 'pending'",
        (seconds, [one.id for one in deliveries], [one.attempts for one in deliveries]),
    )


def hold(connection: Conn, delivery: Delivery) -> Delivery | None:
    """Return a delivery as it stands, held until the transaction ends; None when this try was overtaken by another."""
    row = connection.execute(
        f"SELECT {_CLAIMED} FROM outbox WHERE id = %s AND attempts = %s AND state = 'pending' FOR UPDATE",  # noqa: S608
        (delivery.id, delivery.attempts),
    ).fetchone()
    return _delivery(row) if row else None


def note_handed(connection: Conn, delivery: Delivery, handed: Money | None) -> None:
    """Note what has left our ledger for a credit; None: nothing, or it came back."""
    connection.execute(
        "UPDATE outbox SET handed_units = %s, sent_at = NULL, sent_number = NULL WHERE id = %s",
        (handed and handed.units, delivery.id),
    )


def note_sent(connection: Conn, delivery: Delivery) -> bool:
    """Note that a credit is about to be sent. False when this try was overtaken: then nothing may be sent."""
    sent = connection.execute(
        "UPDATE outbox SET sent_at = clock_timestamp(), sent_number = attempts"
        " WHERE id = %s AND attempts = %s AND state = 'pending'",
        (delivery.id, delivery.attempts),
    )
    return sent.rowcount == 1


def settle(
    connection: Conn, delivery: Delivery, state: DeliveryState, problem: Problem | None = None, error: str | None = None
) -> bool:
    """End a delivery. False when this try was overtaken: then nothing was changed."""
    settled = connection.execute(
        "UPDATE outbox SET state = %s, problem = %s, error = %s, settled_at = now()"
        " WHERE id = %s AND attempts = %s AND state = 'pending'",
        (state, problem, error, delivery.id, delivery.attempts),
    )
    return settled.rowcount == 1


def postpone(
    connection: Conn, delivery: Delivery, seconds: float, problem: Problem | None, error: str
) -> bool:  # fmt: skip
    """Let a delivery be tried again later. False when this try was overtaken: then nothing was changed."""
    postponed = connection.execute(
        "UPDATE outbox SET due_at = clock_timestamp() + %s * interval '1 second', problem = %s, error = %s"
        " WHERE id = %s AND attempts = %s AND state = 'pending'",
        (seconds, problem, error, delivery.id, delivery.attempts),
    )
    return postponed.rowcount == 1


def log_attempt(connection: Conn, delivery: Delivery, seconds: float, error: str | None) -> None:
    """Keep what a try met, and how long it took; without an error it was delivered."""
    connection.execute(
        "INSERT INTO outbox_attempts (delivery, number, seconds, error) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (delivery.id, delivery.attempts, seconds, error),
    )


def parked(connection: Conn, wanted: Filter, *, limit: int) -> list[OutboxEntry]:
    """Return deliveries that wait for an operator, the oldest first."""
    return _entries(connection, "state = 'parked'", wanted, limit)


def waiting(connection: Conn, wanted: Filter, *, limit: int) -> list[OutboxEntry]:
    """Return deliveries that are tried again by themselves, the oldest first."""
    return _entries(connection, "state = 'pending'", wanted, limit)


def attempts(connection: Conn, delivery_id: int, *, limit: int = 100) -> Sequence[Mapping[str, Any]]:
    """Return the tries of a delivery, the newest first: ``number``, ``ended_at``, ``seconds``, ``error``."""
    return connection.execute(
        "SELECT number, ended_at, seconds, error FROM outbox_attempts WHERE delivery = %s"
        " ORDER BY number DESC LIMIT %s",
        (delivery_id, limit),
    ).fetchall()


def replay(connection: Conn, wanted: Filter) -> int:
    """Let parked deliveries be tried again as if for the first time. Returns how many."""
    replayed = connection.execute(
        # Of what was unclear the operator has seen that Venice did not do it.
        "UPDATE outbox SET state = 'pending', settled_at = NULL, problem = NULL, due_at = clock_timestamp(),"  # noqa: S608
        " tried_since = NULL, sent_at = CASE WHEN problem = 'unclear' THEN NULL ELSE sent_at END,"
        " sent_number = CASE WHEN problem = 'unclear' THEN NULL ELSE sent_number END"
        f" WHERE state = 'parked' AND {_MATCHES}",
        wanted.parameters,
    )
    if replayed.rowcount:
        connection.execute("NOTIFY cascade_outbox")
    return replayed.rowcount


def redeliver(connection: Conn, delivery_id: int) -> bool:
    """Deliver once more what a webhook endpoint had accepted. False when there is no such delivery."""
    again = connection.execute(
        "UPDATE outbox SET state = 'pending', settled_at = NULL, due_at = clock_timestamp(), tried_since = NULL"
        " WHERE id = %s AND state = 'delivered' AND starts_with(destination, 'webhook:')",
        (delivery_id,),
    )
    connection.execute("NOTIFY cascade_outbox")
    return again.rowcount == 1


def take_parked(connection: Conn, delivery_id: int) -> Delivery | None:
    """Return a parked delivery, made pending for the operator who settles it; None when there is none."""
    row = connection.execute(
        "UPDATE outbox SET state = 'pending', settled_at = NULL, tried_since = coalesce(tried_since, now()),"  # noqa: S608
        f" attempts = attempts + 1 WHERE id = %s AND state = 'parked' RETURNING {_CLAIMED}",
        (delivery_id,),
    ).fetchone()
    return _delivery(row) if row else None


def credit_states(connection: Conn, order_id: str) -> list[DeliveryState]:
    """Return how the credits of an order to Venice stand."""
    rows = connection.execute("SELECT state FROM outbox WHERE order_id = %s AND destination = 'venice'", (order_id,))
    return [DeliveryState(row["state"]) for row in rows.fetchall()]


def prune(connection: Conn, days: int) -> int:
    """Forget what was delivered longer ago than this; what waits or is parked stays. Returns how many."""
    return connection.execute(
        "DELETE FROM outbox WHERE state IN ('delivered', 'void') AND destination <> 'venice'"
        " AND settled_at < now() - %s * interval '1 day'",
        (days,),
    ).rowcount


def health(connection: Conn) -> list[DestinationHealth]:
    """Return how every destination with open deliveries stands."""
    rows = connection.execute(
        "SELECT destination, count(*) FILTER (WHERE state = 'pending') AS waiting,"
        " count(*) FILTER (WHERE state = 'parked') AS parked,"
        " coalesce(extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE state = 'pending')), 0)::bigint"
        " AS oldest_seconds,"
        " greatest(0, coalesce(extract(epoch FROM clock_timestamp() - min(due_at) FILTER (WHERE state = 'pending'"
        " AND NOT EXISTS (SELECT FROM outbox e WHERE e.destination = o.destination AND e.citizen_id = o.citizen_id"
        " AND e.state = 'pending' AND e.id < o.id))), 0))::bigint AS overdue_seconds,"
        " (array_agg(error ORDER BY id) FILTER (WHERE error IS NOT NULL))[1] AS error"
        " FROM outbox o WHERE state IN ('pending', 'parked') GROUP BY destination ORDER BY destination"
    ).fetchall()
    return [DestinationHealth(**row) for row in rows]


def _entries(connection: Conn, condition: str, wanted: Filter, limit: int) -> list[OutboxEntry]:
    query = f"SELECT {_ENTRY} FROM outbox WHERE {condition} AND {_MATCHES} ORDER BY id LIMIT %(limit)s"  # noqa: S608
    rows = connection.execute(query.encode(), {**wanted.parameters, "limit": limit}).fetchall()
    return [
        OutboxEntry(
            **{
                **row,
                "state": DeliveryState(row["state"]),
                "problem": Problem(row["problem"]) if row["problem"] else None,
            }
        )
        for row in rows
    ]


def _delivery(row: Row) -> Delivery:
    handed = row["handed_units"]
    return Delivery(
        **{**_without(row, "handed_units"), "handed": None if handed is None else Money(DUCAT, int(handed))}
    )


def _without(row: Row, name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
