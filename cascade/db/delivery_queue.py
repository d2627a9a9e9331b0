"""A table of outgoing deliveries as a queue: claims with leases, fenced writes, and what operators see and replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, LiteralString, TypeVar

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from cascade.db.database import Conn, Row
from cascade.domain.delivery_states import Delivery, DeliveryEntry, DeliveryState, Problem

D = TypeVar("D", bound=Delivery)

_CLAIMED: Final = SQL("""o.id, {destination} AS destination, o.citizen_id, o.order_id, o.reference, o.attempts,
    extract(epoch FROM clock_timestamp() - o.tried_since)::float AS age_seconds, """)
# No pause is that long: what is due later was postponed while the database's clock was ahead.
_IS_DUE: Final = SQL("(o.due_at <= clock_timestamp() OR o.due_at > clock_timestamp() + interval '25 hours')")
_IS_OLDEST: Final = SQL("""NOT EXISTS (SELECT FROM {table} e WHERE {earlier} = {destination}
    AND e.citizen_id = o.citizen_id AND e.state = 'pending' AND e.id < o.id)""")
_MATCHES: Final = SQL("""(%(id)s::bigint IS NULL OR o.id = %(id)s)
    AND (%(destination)s::text IS NULL OR {destination} = %(destination)s)
    AND (%(citizen)s::text IS NULL OR o.citizen_id = %(citizen)s)
    AND (%(order)s::text IS NULL OR o.order_id = %(order)s)
    AND (%(problem)s::text IS NULL OR o.problem = %(problem)s)""")


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


@dataclass(frozen=True, slots=True, order=True)
class DestinationHealth:
    """The deliveries to a destination; ``overdue_seconds``: how long the next one was due and not tried."""

    destination: str
    waiting: int
    parked: int
    oldest_seconds: int
    overdue_seconds: int
    error: str | None


class DeliveryQueue(Generic[D]):
    """A table of deliveries, a row each, worked through by any number of workers.

    Args:
        table: the name of the table; the channel that its trigger notifies is ``cascade_<table>``.
        attempts: the name of the table of its tries.
        columns: what a claim reads of a row ``o``, beside what every queue has.
        read: makes a delivery of what a claim reads.
        destination: where all of its rows go; None: each row has a column that says so.
    """

    def __init__(
        self,
        table: LiteralString,
        attempts: LiteralString,
        columns: LiteralString,
        read: Callable[[Row], D],
        *,
        destination: str | None = None,
    ) -> None:
        self.channel = f"cascade_{table}"
        self._read = read
        names: dict[str, Composable] = {
            "table": Identifier(table),
            "attempts": Identifier(attempts),
            "channel": Identifier(self.channel),
            "destination": _place(destination, "o"),
            "earlier": _place(destination, "e"),
            "is_due": _IS_DUE,
        }
        self._names: dict[str, Composable] = {
            **names,
            "claimed": _CLAIMED.format(**names) + SQL(columns),
            "is_oldest": _IS_OLDEST.format(**names),
            "matches": _MATCHES.format(**names),
        }

    def due(self, connection: Conn) -> list[str]:
        """Return destinations for which a delivery is due."""
        # Hops from one destination to the next in the index: what waits for a dead one, however much, is passed over.
        rows = connection.execute(
            self._sql("""
            WITH RECURSIVE d (destination) AS (
                (SELECT {destination} FROM {table} o WHERE o.state = 'pending' ORDER BY {destination} LIMIT 1)
                UNION ALL
                SELECT (SELECT {destination} FROM {table} o WHERE o.state = 'pending'
                    AND {destination} > d.destination ORDER BY {destination} LIMIT 1)
                FROM d WHERE d.destination IS NOT NULL)
            SELECT destination FROM d WHERE EXISTS (SELECT FROM {table} o
                WHERE {destination} = d.destination AND o.state = 'pending' AND {is_due})""")
        )
        return [row["destination"] for row in rows.fetchall()]

    def claim(self, connection: Conn, destination: str, *, limit: int, seconds: float) -> list[D]:
        """Take deliveries that are due, so that no other worker takes them for a while.

        Of one citizen only the oldest is taken: the next one waits until that one is delivered or parked.

        Args:
            connection: nothing stays locked after its transaction.
            destination: whose.
            limit: most at once.
            seconds: when they are due again, should this process die.
        """
        rows = connection.execute(
            self._sql("""
            UPDATE {table} o SET attempts = attempts + 1, tried_since = coalesce(tried_since, clock_timestamp()),
                due_at = clock_timestamp() + %(seconds)s * interval '1 second'
            WHERE o.id IN (SELECT o.id FROM {table} o
                WHERE {destination} = %(destination)s AND o.state = 'pending' AND {is_due} AND {is_oldest}
                ORDER BY o.due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
            RETURNING {claimed}"""),
            {"destination": destination, "limit": limit, "seconds": seconds},
        ).fetchall()
        return [self._read(row) for row in rows]

    def renew(self, connection: Conn, deliveries: Sequence[D], seconds: float) -> None:
        """Let deliveries that are still being tried be due later; those that were overtaken or have ended stay.

        Args:
            connection: nothing stays locked after its transaction.
            deliveries: as they were claimed.
            seconds: when they are due again, should this process die.
        """
        connection.execute(
            self._sql("""
            UPDATE {table} o SET due_at = clock_timestamp() + %s * interval '1 second'
            FROM unnest(%s::bigint[], %s::integer[]) AS tried (id, attempts)
            WHERE o.id = tried.id AND o.attempts = tried.attempts AND o.state = 'pending'"""),
            (seconds, [one.id for one in deliveries], [one.attempts for one in deliveries]),
        )

    def hold(self, connection: Conn, delivery: D) -> D | None:
        """Return a delivery as it stands, held until the transaction ends; None when this try was overtaken."""
        row = connection.execute(
            self._sql("""
            SELECT {claimed} FROM {table} o WHERE o.id = %s AND o.attempts = %s AND o.state = 'pending' FOR UPDATE"""),
            (delivery.id, delivery.attempts),
        ).fetchone()
        return self._read(row) if row else None

    def settle(
        self,
        connection: Conn,
        delivery: D,
        state: DeliveryState,
        problem: Problem | None = None,
        error: str | None = None,
    ) -> bool:
        """End a delivery. False when this try was overtaken: then nothing was changed."""
        settled = connection.execute(
            self._sql("""
            UPDATE {table} SET state = %s, problem = %s, error = %s, settled_at = now()
            WHERE id = %s AND attempts = %s AND state = 'pending'"""),
            (state, problem, error, delivery.id, delivery.attempts),
        )
        return settled.rowcount == 1

    def postpone(self, connection: Conn, delivery: D, seconds: float, problem: Problem | None, error: str) -> bool:
        """Let a delivery be tried again later. False when this try was overtaken: then nothing was changed."""
        postponed = connection.execute(
            self._sql("""
            UPDATE {table} SET due_at = clock_timestamp() + %s * interval '1 second', problem = %s, error = %s
            WHERE id = %s AND attempts = %s AND state = 'pending'"""),
            (seconds, problem, error, delivery.id, delivery.attempts),
        )
        return postponed.rowcount == 1

    def log_attempt(self, connection: Conn, delivery: D, seconds: float, error: str | None) -> None:
        """Keep what a try met, and how long it took; without an error it was delivered."""
        connection.execute(
            self._sql("""
            INSERT INTO {attempts} (delivery, number, seconds, error) VALUES (%s, %s, %s, %s)
            ON CONFLICT DO NOTHING"""),
            (delivery.id, delivery.attempts, seconds, error),
        )

    def attempts(self, connection: Conn, delivery_id: int, *, limit: int = 100) -> Sequence[Mapping[str, Any]]:
        """Return the tries of a delivery, the newest first: ``number``, ``ended_at``, ``seconds``, ``error``."""
        return connection.execute(
            self._sql("""
            SELECT number, ended_at, seconds, error FROM {attempts} WHERE delivery = %s
            ORDER BY number DESC LIMIT %s"""),
            (delivery_id, limit),
        ).fetchall()

    def parked(self, connection: Conn, wanted: Filter, *, limit: int) -> list[DeliveryEntry]:
        """Return deliveries that wait for an operator, the oldest first."""
        return self._entries(connection, DeliveryState.PARKED, wanted, limit)

    def waiting(self, connection: Conn, wanted: Filter, *, limit: int) -> list[DeliveryEntry]:
        """Return deliveries that are tried again by themselves, the oldest first."""
        return self._entries(connection, DeliveryState.PENDING, wanted, limit)

    def replay(self, connection: Conn, wanted: Filter, also: LiteralString = "") -> int:
        """Let parked deliveries be tried again as if for the first time. Returns how many.

        Args:
            connection: nothing stays locked after its transaction.
            wanted: which of those that are parked.
            also: further columns that are set, after a comma.
        """
        replayed = connection.execute(
            SQL("""
            UPDATE {table} o SET state = 'pending', settled_at = NULL, problem = NULL, due_at = clock_timestamp(),
                tried_since = NULL {also}
            WHERE o.state = 'parked' AND {matches}""").format(**self._names, also=SQL(also)),
            wanted.parameters,
        )
        if replayed.rowcount:
            connection.execute(self._sql("NOTIFY {channel}"))
        return replayed.rowcount

    def take_parked(self, connection: Conn, delivery_id: int) -> D | None:
        """Return a parked delivery, made pending for the operator who settles it; None when there is none."""
        row = connection.execute(
            self._sql("""
            UPDATE {table} o SET state = 'pending', settled_at = NULL, tried_since = coalesce(tried_since, now()),
                attempts = attempts + 1
            WHERE o.id = %s AND o.state = 'parked' RETURNING {claimed}"""),
            (delivery_id,),
        ).fetchone()
        return self._read(row) if row else None

    def health(self, connection: Conn) -> list[DestinationHealth]:
        """Return how every destination with open deliveries stands."""
        rows = connection.execute(
            self._sql("""
            SELECT {destination} AS destination, count(*) FILTER (WHERE o.state = 'pending') AS waiting,
                count(*) FILTER (WHERE o.state = 'parked') AS parked,
                coalesce(extract(epoch FROM clock_timestamp() - min(o.created_at) FILTER (WHERE o.state = 'pending')),
                    0)::bigint AS oldest_seconds,
                greatest(0, coalesce(extract(epoch FROM clock_timestamp() - min(o.due_at)
                    FILTER (WHERE o.state = 'pending' AND {is_oldest})), 0))::bigint AS overdue_seconds,
                (array_agg(o.error ORDER BY o.id) FILTER (WHERE o.error IS NOT NULL))[1] AS error
            FROM {table} o WHERE o.state IN ('pending', 'parked') GROUP BY 1 ORDER BY 1""")
        ).fetchall()
        return [DestinationHealth(**row) for row in rows]

    def _entries(self, connection: Conn, state: DeliveryState, wanted: Filter, limit: int) -> list[DeliveryEntry]:
        rows = connection.execute(
            self._sql("""
            SELECT o.id, {destination} AS destination, o.citizen_id, o.order_id, o.reference, o.state, o.problem,
                o.error, o.attempts, o.created_at, o.due_at
            FROM {table} o WHERE o.state = %(state)s AND {matches} ORDER BY o.id LIMIT %(limit)s"""),
            {**wanted.parameters, "state": state, "limit": limit},
        ).fetchall()
        return [
            DeliveryEntry(
                **{
                    **row,
                    "state": DeliveryState(row["state"]),
                    "problem": Problem(row["problem"]) if row["problem"] else None,
                }
            )
            for row in rows
        ]

    def _sql(self, query: LiteralString) -> Composed:
        return SQL(query).format(**self._names)


def _place(destination: str | None, alias: str) -> Composable:
    """Return where a row of a table goes, as an expression of SQL."""
    return SQL("{}::text").format(Literal(destination)) if destination else Identifier(alias, "destination")
