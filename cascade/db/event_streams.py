"""News of orders and citizens for many listeners: heard and read on one connection for all of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from psycopg import AsyncConnection, Notify

from cascade.db.database import Database, Row
from cascade.db.order_events import Notification, event_of, notification_of
from cascade.domain.order_events import OrderEvent

log = logging.getLogger(__name__)

ORDER, CITIZEN, CITY = "order", "citizen", "city"
MOST = 200
"""Most that is read of one topic at once."""
_CHANNEL = "cascade_feeds"
# `last` is read in the snapshot of the rest, so it says whether there is more than what was read.
_EVENTS = """
    SELECT w.id AS topic, l.last, e.*
    FROM unnest(%(ids)s::text[], %(after)s::int[]) AS w(id, after)
    JOIN orders o ON o.id = w.id
    CROSS JOIN LATERAL (SELECT coalesce(max(number), 0) AS last FROM order_events WHERE order_id = w.id) l
    LEFT JOIN LATERAL (
        SELECT * FROM order_events WHERE order_id = w.id AND number > coalesce(w.after, l.last)
        ORDER BY number LIMIT %(most)s
    ) e ON true
    ORDER BY w.id, e.number"""
_NOTIFICATIONS = """
    SELECT w.id AS topic, coalesce(c.last, 0) AS last, n.of_citizen, n.read_at, n.citizen_id, e.*
    FROM unnest(%(ids)s::text[], %(after)s::int[]) AS w(id, after)
    LEFT JOIN notification_counters c ON c.citizen_id = w.id
    LEFT JOIN LATERAL (
        SELECT citizen_id, number AS of_citizen, order_id, event_number, read_at FROM notifications
        WHERE citizen_id = w.id AND number > coalesce(w.after, c.last, 0) ORDER BY number LIMIT %(most)s
    ) n ON true
    LEFT JOIN order_events e ON (e.order_id, e.number) = (n.order_id, n.event_number)
    ORDER BY w.id, n.of_citizen"""


class Topic(NamedTuple):
    """The topic of a stream: an order, a citizen, or the city, which has no id."""

    kind: str
    id: str


@dataclass(slots=True)
class News:
    """The news of a topic.

    Attributes:
        last: the number of the newest there is, 0 when there is none.
        items: in order, at most ``MOST``.
        untold: what comes next is of a newer release, and this one has no words for it.
    """

    last: int
    items: list[OrderEvent | Notification] = field(default_factory=list)
    untold: bool = False

    @property
    def more(self) -> bool:
        """Return whether there is more than ``items``."""
        return bool(self.items) and self.items[-1].number < self.last


class Feeds:
    """One connection that hears what is new, and reads it."""

    def __init__(self, connection: AsyncConnection[Row]) -> None:
        self.connection = connection
        self._heard: set[Topic] = set()
        connection.add_notify_handler(self._note)  # of what arrives while a query runs

    @classmethod
    @asynccontextmanager
    async def opened(cls, database: Database) -> AsyncIterator[Self]:
        """Open a connection of its own, closed at the end of the block.

        Raises:
            psycopg.OperationalError: the database does not answer.
        """
        async with await database.listen(_CHANNEL) as connection:
            yield cls(connection)

    async def read(self, after: Mapping[Topic, int | None]) -> dict[Topic, News]:
        """Return what is new of each order and citizen; an order that does not exist is missing.

        Args:
            after: only larger numbers; None for nothing yet, only the number from which on there will be news.

        Raises:
            psycopg.Error: the connection is lost, or the database cannot answer.
        """
        events = await self._read(ORDER, _EVENTS, event_of, after)
        notifications = await self._read(CITIZEN, _NOTIFICATIONS, notification_of, after)
        return events | notifications

    def heard(self) -> set[Topic]:
        """Return the topics that were told of since the last call.

        Asks libpq itself: a notification that arrived together with the end of a query waits in its buffer, where
        ``connection.notifies()`` would not look before more arrives.

        Raises:
            psycopg.OperationalError: the connection is lost.
        """
        socket = self.connection.pgconn
        socket.consume_input()
        while notice := socket.notifies():
            self._heard.add(_topic(notice.extra.decode()))
        heard, self._heard = self._heard, set()
        return heard

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        """Wait until something is to be heard, ``wake`` is set or the time is over."""
        loop, socket = asyncio.get_running_loop(), self.connection.fileno()
        loop.add_reader(socket, wake.set)
        try:
            async with asyncio.timeout(seconds):  # wait_for would lose a cancellation that comes together with the wake
                await wake.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(socket)  # psycopg watches the same socket while a query runs

    def _note(self, notice: Notify) -> None:
        self._heard.add(_topic(notice.payload))

    async def _read(
        self,
        kind: str,
        query: str,
        value_of: Callable[[Row], OrderEvent] | Callable[[Row], Notification],
        after: Mapping[Topic, int | None],
    ) -> dict[Topic, News]:
        wanted = {topic.id: number for topic, number in after.items() if topic.kind == kind}
        if not wanted:
            return {}
        parameters = {"ids": list(wanted), "after": list(wanted.values()), "most": MOST}
        cursor = await self.connection.execute(query.encode(), parameters)
        found: dict[Topic, News] = {}
        for row in await cursor.fetchall():
            news = found.setdefault(Topic(kind, row["topic"]), News(row["last"]))
            if row["number"] is None or news.untold:
                continue
            try:
                news.items.append(value_of(row))
            except ValueError:
                log.error("%s: %s is not known to this release: upgrade this process", row["order_id"], row["type"])
                news.untold = True
        return found


def _topic(payload: str) -> Topic:
    kind, _, name = payload.partition(":")
    return Topic(kind, name)
