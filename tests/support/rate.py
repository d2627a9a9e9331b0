"""A city for tests: signals that were reported, and ticks that follow a quick formula."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.resources import files

from cascade.db import orders
from cascade.db.database import Conn, Database
from cascade.domain.signal_kinds import SignalKind
from cascade.rate import tick_store
from cascade.rate.parameters import Formula
from cascade.rate.rule import Tick, next_rate
from cascade.rate.signals import MICRO
from cascade.rate.tick_service import collect_inputs

FORMULA = Formula.from_toml((files("cascade") / "formula.toml").read_text())


def clock(database: Database) -> datetime:
    """The database's time, UTC."""
    with database.transaction() as connection:
        return orders.clock(connection)


def insert_signal(
    connection: Conn,
    kind: SignalKind,
    value: float,
    at: datetime,
    source: str = "venice",
    *,
    received: datetime | None = None,
) -> None:
    """A signal that was received at its own time, or at another one."""
    connection.execute(
        "INSERT INTO signals (source, sender_id, kind, micro, occurred_at, received_at)"
        " VALUES (%s, gen_random_uuid()::text, %s, %s, %s, %s)",
        (source, kind, round(value * MICRO), at, received or at),
    )


def write_tick(connection: Conn, at: datetime, formula: Formula = FORMULA) -> Tick:
    """Write the tick of a moment, as a keeper would have done then."""
    tick_store.remember(connection, formula)
    last = tick_store.latest(connection)
    inputs = collect_inputs(connection, at)
    move = next_rate(formula, last.rate if last else None, inputs)
    tick = Tick(at, (last.at, last.rate) if last else None, formula.version, inputs, move)
    assert tick_store.insert(connection, tick)
    return tick


def ticks_until(
    connection: Conn, until: datetime, count: int, levels: Mapping[SignalKind, float], formula: Formula = FORMULA
) -> list[Tick]:
    """Some ticks up to a moment, of a city that has been the same all the time."""
    newest = int(until.timestamp()) // formula.tick_seconds * formula.tick_seconds
    first = datetime.fromtimestamp(newest, until.tzinfo) - (count - 1) * formula.tick
    ticks = []
    for number in range(count):
        at = first + number * formula.tick
        for kind, value in levels.items():
            insert_signal(connection, kind, value, at - timedelta(seconds=1))
        ticks.append(write_tick(connection, at, formula))
    return ticks
