"""The rate's history: one chain of ticks, and the formulas that made it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from cascade.db.database import Conn, Row
from cascade.domain.ducat_rate import Rate
from cascade.errors import SettingsError
from cascade.rate.parameters import Formula
from cascade.rate.rule import Contribution, InputState, RateStep, Tick
from cascade.rate.signals import Input, inputs_as_data, inputs_of

_PAGE = 1000
# An hour is the longest tick: what is ahead by less comes by itself.
_HAS_COME = "(at <= now() + interval '1 hour')"


class Interval(StrEnum):
    """The span of a candle."""

    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Candle:
    """The rate within one hour or day, UTC.

    Attributes:
        start: of the hour or day.
        open: the first tick's rate; likewise ``close`` the last one's, ``high`` and ``low``.
        ticks: how many there were.
    """

    start: datetime
    open: Rate
    high: Rate
    low: Rate
    close: Rate
    ticks: int


def latest(connection: Conn) -> Tick | None:
    """Return the tick of the moment; None before the first one. One of the future is not followed."""
    row = connection.execute(
        f"SELECT * FROM rate_ticks WHERE {_HAS_COME} ORDER BY at DESC LIMIT 1"  # noqa: S608 - constant
    ).fetchone()
    return _tick(row) if row else None


def future(connection: Conn) -> datetime | None:
    """Return the newest tick that was written while the database's clock was ahead; None when there is none."""
    row = connection.execute(
        f"SELECT max(at) AS at FROM rate_ticks WHERE NOT {_HAS_COME}"  # noqa: S608 - constant
    ).fetchone()
    return row["at"] if row else None


def current(connection: Conn) -> tuple[datetime, Rate] | None:
    """Return when the rate of the moment began, and the rate; None before the first tick."""
    row = connection.execute(
        f"SELECT at, nano_usd FROM rate_ticks WHERE {_HAS_COME} ORDER BY at DESC LIMIT 1"  # noqa: S608 - constant
    ).fetchone()
    return (row["at"], Rate(row["nano_usd"])) if row else None


async def newest(connection: AsyncConnection[Row]) -> tuple[datetime, datetime | None, Rate | None]:
    """Return the database's time, UTC, and the newest tick with its rate; None before the first one."""
    cursor = await connection.execute("""
        SELECT clock_timestamp() AS now, t.at, t.nano_usd
        FROM (SELECT) AS one LEFT JOIN (SELECT at, nano_usd FROM rate_ticks ORDER BY at DESC LIMIT 1) t ON true""")
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - it joins to one row
    return row["now"], row["at"], None if row["nano_usd"] is None else Rate(row["nano_usd"])


def at(connection: Conn, moment: datetime) -> Rate | None:
    """Return the rate that was in force at a moment; None before the first tick."""
    row = connection.execute(
        "SELECT nano_usd FROM rate_ticks WHERE at <= %s ORDER BY at DESC LIMIT 1", (moment,)
    ).fetchone()
    return Rate(row["nano_usd"]) if row else None


def insert(connection: Conn, tick: Tick) -> bool:
    """Add a tick to the chain.

    Returns:
        False when another keeper has written it, or one that follows the same tick.
    """
    previous_at, previous = tick.previous if tick.previous else (None, None)
    inserted = connection.execute(
        "INSERT INTO rate_ticks (at, previous_at, previous_nano_usd, nano_usd, target_nano_usd, formula, inputs,"
        " contributions) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (
            tick.at,
            previous_at,
            previous.nano_usd if previous else None,
            tick.rate.nano_usd,
            tick.move.target.nano_usd,
            tick.formula,
            Jsonb(inputs_as_data(tick.inputs)),
            Jsonb([_contribution_data(contribution) for contribution in tick.move.contributions]),
        ),
    )
    return inserted.rowcount == 1


def remember(connection: Conn, formula: Formula) -> None:
    """Keep a formula for ever, since ticks will name it.

    Raises:
        SettingsError: its version was used with other constants.
    """
    connection.execute(
        "INSERT INTO rate_formulas (version, data) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (formula.version, Jsonb(formula.data)),
    )
    row = connection.execute("SELECT data FROM rate_formulas WHERE version = %s", (formula.version,)).fetchone()
    if row is None or row["data"] != formula.data:
        raise SettingsError(
            f"CASCADE_RATE_FORMULA: version {formula.version} was used with other constants, and what was used never"
            " changes: give the new ones a version of their own"
        )


def formulas(connection: Conn) -> dict[str, Formula]:
    """Return every formula that was ever used, by version."""
    rows = connection.execute("SELECT version, data FROM rate_formulas").fetchall()
    return {row["version"]: Formula.from_data(row["data"]) for row in rows}


def ticks_between(connection: Conn, since: datetime | None, until: datetime | None) -> Iterator[Tick]:
    """Yield all ticks from one moment to another (both included), oldest first, a page at a time."""
    after, begun = since, False
    while True:
        rows = connection.execute(
            "SELECT * FROM rate_ticks WHERE (%(after)s::timestamptz IS NULL OR at > %(after)s"
            " OR (NOT %(begun)s AND at = %(after)s)) AND (%(until)s::timestamptz IS NULL OR at <= %(until)s)"
            " ORDER BY at LIMIT %(page)s",
            {"after": after, "begun": begun, "until": until, "page": _PAGE},
        ).fetchall()
        yield from map(_tick, rows)
        if len(rows) < _PAGE:
            return
        after, begun = rows[-1]["at"], True


def count(connection: Conn, since: datetime | None, until: datetime | None) -> int:
    """Return how many ticks there are from one moment to another, both included."""
    row = connection.execute(
        "SELECT count(*) AS ticks FROM rate_ticks WHERE (%(since)s::timestamptz IS NULL OR at >= %(since)s)"
        " AND (%(until)s::timestamptz IS NULL OR at <= %(until)s)",
        {"since": since, "until": until},
    ).fetchone()
    return int(row["ticks"]) if row else 0


def ticks_before(connection: Conn, before: datetime | None, limit: int) -> list[Tick]:
    """Return the newest ticks before a moment, newest first."""
    rows = connection.execute(
        "SELECT * FROM rate_ticks WHERE %(before)s::timestamptz IS NULL OR at < %(before)s"
        " ORDER BY at DESC LIMIT %(n)s",
        {"before": before, "n": limit},
    ).fetchall()
    return [_tick(row) for row in rows]


def candles_before(connection: Conn, interval: Interval, before: datetime | None, limit: int) -> list[Candle]:
    """Return the newest hours or days that begin before a moment, newest first.

    There are no gaps between ticks, so as many hours back as are wanted is far enough.
    """
    rows = connection.execute(
        "SELECT date_trunc(%(unit)s, at) AS start, (array_agg(nano_usd ORDER BY at))[1] AS open,"
        " max(nano_usd) AS high, min(nano_usd) AS low, (array_agg(nano_usd ORDER BY at DESC))[1] AS close,"
        " count(*) AS ticks"
        " FROM rate_ticks, (SELECT coalesce(%(before)s::timestamptz, date_trunc(%(unit)s, max(at)) + %(one)s::interval)"
        " AS moment FROM rate_ticks) AS ends"
        " WHERE at < moment AND at >= moment - %(n)s * %(one)s::interval GROUP BY 1 ORDER BY 1 DESC",
        {"unit": interval.value, "one": f"1 {interval.value}", "before": before, "n": limit},
    ).fetchall()
    return [
        Candle(r["start"], Rate(r["open"]), Rate(r["high"]), Rate(r["low"]), Rate(r["close"]), r["ticks"]) for r in rows
    ]


def course(connection: Conn, until: datetime, length: timedelta, points: int) -> list[tuple[datetime, Rate, Rate]]:
    """Return time (UTC), rate and target of the ticks in force at evenly spread moments, oldest first, at most
    ``points``.

    The moments go back from ``until`` for a length of time, or to the first tick. Each is looked up by itself, so a
    history of a tick every second costs no more than any other.
    """
    rows = connection.execute(
        "SELECT DISTINCT t.at, t.nano_usd, t.target_nano_usd"
        " FROM (SELECT least(%(length)s, %(until)s - min(at)) / %(last)s AS step FROM rate_ticks) AS spread"
        " CROSS JOIN generate_series(0, %(last)s) AS n"
        " CROSS JOIN LATERAL (SELECT at, nano_usd, target_nano_usd FROM rate_ticks"
        " WHERE at <= %(until)s - n * step ORDER BY at DESC LIMIT 1) AS t ORDER BY t.at",
        {"last": points - 1, "until": until, "length": length},
    ).fetchall()
    return [(row["at"], Rate(row["nano_usd"]), Rate(row["target_nano_usd"])) for row in rows]


def has_before(connection: Conn, moment: datetime) -> bool:
    """Return whether there is any tick before a moment."""
    row = connection.execute("SELECT EXISTS (SELECT FROM rate_ticks WHERE at < %s) AS is_there", (moment,)).fetchone()
    return bool(row and row["is_there"])


def _contribution_data(contribution: Contribution) -> Mapping[str, object]:
    return {
        "input": contribution.input,
        "state": contribution.state,
        "pressure_ppm": contribution.pressure_ppm,
        "nano_usd": contribution.nano_usd,
    }


def _tick(row: Row) -> Tick:
    contributions = tuple(
        Contribution(Input(c["input"]), InputState(c["state"]), c["pressure_ppm"], c["nano_usd"])
        for c in row["contributions"]
    )
    previous = None if row["previous_at"] is None else (row["previous_at"], Rate(row["previous_nano_usd"]))
    move = RateStep(Rate(row["nano_usd"]), Rate(row["target_nano_usd"]), contributions)
    return Tick(row["at"], previous, row["formula"], inputs_of(row["inputs"]), move, row["computed_at"])
