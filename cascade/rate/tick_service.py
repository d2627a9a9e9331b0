"""Ticks of the rate: what is known of the city becomes a tick, and a tick can be computed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cascade.db import balances, orders
from cascade.db.database import Conn, Database
from cascade.domain.signal_kinds import SignalKind
from cascade.errors import CascadeError, ClockFault
from cascade.rate import signal_store, tick_store
from cascade.rate.parameters import Formula
from cascade.rate.rule import RateStep, Tick, next_rate
from cascade.rate.signals import Input, Inputs, Observation, acceleration, age, recognition, volume

TICKS_AT_ONCE = 300
"""Ticks in one transaction: a day and a bit, so that an order never waits for long."""
MOST_MISSED = 10_000
"""Ticks that are caught up after a downtime: a month of one every five minutes."""


def collect_inputs(connection: Conn, at: datetime) -> Inputs:
    """Return what the rule sees at a moment, UTC: only what had happened and was known by then."""
    pulse = signal_store.pulse(connection, at)
    seen: dict[Input, list[Observation]] = {name: [] for name in Input}
    for reading in pulse.readings:
        if reading.kind is not SignalKind.REPORTED_ACCELERATION:
            observation = Observation(reading.source, reading.micro, age(reading.occurred_at, at))
            seen[Input(reading.kind)].append(observation)
    for counted in pulse.counts:
        _add(seen[Input.RECOGNITION], recognition(counted, at))
        _add(seen[Input.ACCELERATION], acceleration(counted, at))
    seen[Input.VOLUME].append(volume(balances.sold(connection, at), at))
    return {name: tuple(observations) for name, observations in seen.items()}


def write_due_ticks(connection: Conn, formula: Formula) -> list[Tick]:
    """Write the ticks that are due, oldest first, at most ``TICKS_AT_ONCE``.

    Each is computed from what was known at its own moment, so that a keeper that was down for hours writes what it
    would have written (docs/decisions/0011). Of several keepers at once the database lets one write each tick.

    Raises:
        SettingsError: the formula's version was used with other constants.
        ClockFault: a tick of the future is there.
    """
    last, now = tick_store.latest(connection), orders.clock(connection)
    ahead = tick_store.future(connection)
    if ahead is not None:
        raise ClockFault(
            f"a tick of the rate is of {ahead:%Y-%m-%d %H:%M} UTC, but the database's clock says {now:%Y-%m-%d %H:%M}:"
            " it was ahead when the tick was written, and no tick can follow until then; set it right, or restore"
            " rate_ticks from a backup"
        )
    due = _due(formula, last, now)
    if due:
        tick_store.remember(connection, formula)
    written: list[Tick] = []
    for moment in due:
        inputs = collect_inputs(connection, moment)
        previous = (last.at, last.rate) if last else None
        move = next_rate(formula, last.rate if last else None, inputs)
        tick = Tick(moment, previous, formula.version, inputs, move)
        if not tick_store.insert(connection, tick):
            break  # another keeper is at it
        written.append(tick)
        last = tick
    return written


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The result of computing a stretch of history again.

    Attributes:
        ticks: how many were computed, up to and with the first one that differs.
        broken: the first one that is not what its inputs give, or does not follow the one before; None: none.
        computed: what its inputs give.
    """

    ticks: int
    broken: Tick | None = None
    computed: RateStep | None = None


def replay(
    database: Database, since: datetime | None, until: datetime | None, on_tick: Callable[[], None] | None = None
) -> ReplayResult:
    """Compute history again from the inputs that were stored, up to the first difference.

    Args:
        database: whose history.
        since, until: which stretch, both included, UTC; None for all of it.
        on_tick: called after each tick, for a progress bar.
    """
    number = 0
    with database.transaction() as connection:
        known = tick_store.formulas(connection)
        before: Tick | None = None
        for tick in tick_store.ticks_between(connection, since, until):
            number += 1
            formula = known.get(tick.formula)
            if formula is None:
                raise CascadeError(f"the tick of {tick.at} names the formula {tick.formula}, which is not stored")
            move = next_rate(formula, tick.previous[1] if tick.previous else None, tick.inputs)
            follows = before is None or tick.previous == (before.at, before.rate)
            if move != tick.move or not follows:
                return ReplayResult(number, tick, move)
            before = tick
            if on_tick:
                on_tick()
    return ReplayResult(number)


def _due(formula: Formula, last: Tick | None, now: datetime) -> list[datetime]:
    """Return the moments that have come and have no tick yet: all since the last tick; at the very start only the
    newest.

    After more than ``MOST_MISSED`` only the newest are written: rather the clock has jumped than that nobody looked.
    """
    seconds = formula.tick_seconds
    newest = int(now.timestamp()) // seconds
    first = newest if last is None else int(last.at.timestamp()) // seconds + 1
    if newest - first > MOST_MISSED:
        first = newest - TICKS_AT_ONCE + 1
    return [datetime.fromtimestamp(n * seconds, UTC) for n in range(first, newest + 1)[:TICKS_AT_ONCE]]


def _add(observations: list[Observation], observation: Observation | None) -> None:
    if observation is not None:
        observations.append(observation)
