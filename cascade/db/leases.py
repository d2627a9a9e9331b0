"""Leases: one worker leads a stream or a hot key, until it falls silent. The database's clock decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg.sql import SQL, Composed, Identifier, Placeholder

from cascade.db.database import Conn, Row


@dataclass(frozen=True, slots=True)
class LeaseTable:
    """A table of things that one worker leads: ``leader``, ``leased_until`` and ``epoch`` beside the key.

    The epoch counts the leaders: it fences every write of one that was replaced.
    """

    table: LiteralString
    key: tuple[LiteralString, ...]

    def take(self, connection: Conn, key: Sequence[object], leader: str, seconds: float) -> Row | None:
        """Take or keep the lead. Returns the row; None while another worker leads, or where there is no such row."""
        # A lease is a minute at most: a longer one was taken while the database's clock was ahead.
        query = """
            UPDATE {table} SET epoch = epoch + (leader IS DISTINCT FROM %s)::int, leader = %s,
                leased_until = clock_timestamp() + %s * interval '1 second'
            WHERE ({key}) = ({values}) AND (leader = %s OR leased_until < clock_timestamp()
                OR leased_until > clock_timestamp() + interval '5 minutes')
            RETURNING *"""
        return connection.execute(self._sql(query), (leader, leader, seconds, *key, leader)).fetchone()

    def release(self, connection: Conn, key: Sequence[object], leader: str) -> None:
        """Give the lead up, so that another worker need not wait for the lease to run out."""
        query = "UPDATE {table} SET leased_until = '-infinity' WHERE ({key}) = ({values}) AND leader = %s"
        connection.execute(self._sql(query), (*key, leader))

    def _sql(self, query: LiteralString) -> Composed:
        columns = SQL(", ").join(map(Identifier, self.key))
        values = SQL(", ").join([Placeholder()] * len(self.key))
        return SQL(query).format(table=Identifier(self.table), key=columns, values=values)
