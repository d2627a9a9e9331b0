"""The store of signals: each report of the city once for each source, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import AsyncConnection

from cascade.db.database import Conn, Row
from cascade.domain.signal_kinds import SignalKind
from cascade.errors import InvalidInput
from cascade.rate.signals import BASELINE, HOUR, MICRO, RecognitionStats, Signal

OLDEST = timedelta(days=30)
"""No formula lets a reading count for longer."""

FULL: Mapping[str, timedelta] = {"oldest": OLDEST, "hour": HOUR, "usual": BASELINE}
"""How far ``_PULSE`` looks back for the rule."""
RECENT: Mapping[str, timedelta] = {**FULL, "usual": 6 * HOUR}
"""How far it looks back to show the city: it is asked at every report, and by everybody."""
# What was known at a moment: that it was received by then makes a tick that is caught up see what it would have seen.
_PULSE = """
    SELECT (SELECT coalesce(json_agg(newest), '[]') FROM (
        SELECT DISTINCT ON (kind, source) kind, source, micro, occurred_at FROM signals
        WHERE kind <> 'recognition' AND occurred_at > %(at)s - %(oldest)s AND occurred_at <= %(at)s
            AND received_at <= %(at)s
        ORDER BY kind, source, occurred_at DESC, id DESC
    ) AS newest) AS readings, (SELECT coalesce(json_agg(counted), '[]') FROM (
        SELECT source, min(first_at) AS first_at, max(newest_at) AS newest_at,
            least(1e15, coalesce(sum(micro) FILTER (WHERE occurred_at > first_at), 0))::bigint AS last_week,
            least(1e15, coalesce(sum(micro) FILTER (WHERE occurred_at > newest_at - %(hour)s), 0))::bigint AS last_hour,
            least(1e15, coalesce(sum(micro) FILTER (WHERE occurred_at <= newest_at - %(hour)s
                AND occurred_at > newest_at - 2 * %(hour)s), 0))::bigint AS hour_before
        FROM (
            SELECT source, micro, occurred_at, min(occurred_at) OVER (PARTITION BY source) AS first_at,
                max(occurred_at) OVER (PARTITION BY source) AS newest_at
            FROM signals
            WHERE kind = 'recognition' AND occurred_at > %(at)s - %(usual)s AND occurred_at <= %(at)s
                AND received_at <= %(at)s
        ) AS known
        GROUP BY source ORDER BY source
    ) AS counted) AS counts"""


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest report of one source: its value in millionths, and when that was."""

    kind: SignalKind
    source: str
    micro: int
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class SignalSnapshot:
    """The signals that are known at a moment, UTC."""

    at: datetime
    readings: Sequence[Reading]
    counts: Sequence[RecognitionStats]


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of a batch: how many were new, and how many had been taken before."""

    accepted: int
    duplicates: int


def insert(connection: Conn, source: str, signals: Sequence[Signal]) -> Taken:
    """Take a batch of reports, all of it or nothing. The same report again is counted, and changes nothing.

    Raises:
        InvalidInput: an id was taken before, or comes twice, with other contents.
    """
    by_id: dict[str, Signal] = {}
    for signal in signals:
        if by_id.setdefault(signal.id, signal) != signal:
            raise _conflict(signal.id)
    # In one order, so that two senders of the same batch wait for each other and never deadlock.
    values = [by_id[name] for name in sorted(by_id)]
    columns = (
        [signal.id for signal in values],
        [signal.kind for signal in values],
        [signal.micro for signal in values],
        [signal.occurred_at for signal in values],
    )
    taken = connection.execute(
        "INSERT INTO signals (source, sender_id, kind, micro, occurred_at)"
        " SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::timestamptz[])"
        " ON CONFLICT (source, sender_id) DO NOTHING",
        (source, *columns),
    ).rowcount
    if taken < len(values):
        stored = connection.execute(
            "SELECT sender_id, kind, micro, occurred_at FROM signals WHERE source = %s AND sender_id = ANY(%s)",
            (source, columns[0]),
        ).fetchall()
        for row in stored:
            found = Signal(row["sender_id"], SignalKind(row["kind"]), row["micro"], row["occurred_at"])
            if found != by_id[found.id]:
                raise _conflict(found.id)
    return Taken(taken, len(signals) - taken)


def pulse(connection: Conn, at: datetime, look_back: Mapping[str, timedelta] = FULL) -> SignalSnapshot:
    """Return what was known of the city at a moment, UTC."""
    row = connection.execute(_PULSE, {"at": at, **look_back}).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return _pulse_of(row, at)


async def recent_pulse(connection: AsyncConnection[Row], at: datetime) -> SignalSnapshot:
    """Return what is shown of the city at a moment, UTC."""
    row = await (await connection.execute(_PULSE, {"at": at, **RECENT})).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return _pulse_of(row, at)


def _pulse_of(row: Row, at: datetime) -> SignalSnapshot:
    """Return what ``_PULSE`` found. A kind of a newer release is left out."""
    kinds = set(SignalKind)
    return SignalSnapshot(
        at,
        [
            Reading(SignalKind(r["kind"]), r["source"], r["micro"], datetime.fromisoformat(r["occurred_at"]))
            for r in row["readings"]
            if r["kind"] in kinds
        ],
        [
            RecognitionStats(
                source=c["source"],
                last_hour=c["last_hour"] // MICRO,
                hour_before=c["hour_before"] // MICRO,
                last_week=c["last_week"] // MICRO,
                first_at=datetime.fromisoformat(c["first_at"]),
                newest_at=datetime.fromisoformat(c["newest_at"]),
            )
            for c in row["counts"]
        ],
    )


def _conflict(sender_id: str) -> InvalidInput:
    return InvalidInput("signals", f"The id {sender_id!r} was used for another signal: give each signal its own id.")
