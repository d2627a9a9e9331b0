"""The rate of the moment: what is seen of the city becomes a tick, and a tick can be explained and repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median_low

from cascade.db import balances, orders, rate_signals, rate_ticks
from cascade.db.database import Conn, Database
from cascade.db.rate_signals import SignalSnapshot
from cascade.domain import rate_signals as city
from cascade.domain.rate_parameters import Formula
from cascade.domain.rate_rule import Contribution, RateStep, Tick, next_rate
from cascade.domain.rate_signals import MICRO, Input, Inputs, Observation, RecognitionStats
from cascade.domain.rates import Rate
from cascade.domain.signal_kinds import SignalKind
from cascade.errors import CascadeError, ClockFault

TICKS_AT_ONCE = 300
"""Ticks in one transaction: a day and a bit, so that an order never waits for long."""
MOST_MISSED = 10_000
"""Ticks that are caught up after a downtime: a month of one every five minutes."""
SHOWN_SECONDS = 6 * 3600
"""A reading that is older is no longer shown as the city's state."""
_CONFIDENT_AT_MICRO = 1_000 * MICRO
"""US dollars a day at which half of full confidence is reached."""


@dataclass(frozen=True, slots=True)
class CityState:
    """The city's state and its recognition cascade at a moment; None: nobody has told for six hours.

    Attributes:
        at: UTC.
        level_micro: collective consciousness, 0 to 10, in millionths.
        coherence_micro: TESSERE network coherence, in millionths of a percent.
        recognition_per_hour: recognition events of the last hour that was told.
        hour_before: of the hour before; None: there are no two hours to compare yet.
        reported_acceleration_micro: what Venice calls its cascade's acceleration, in millionths.
        newest_at: when the newest report was made, UTC.
    """

    at: datetime
    level_micro: int | None
    coherence_micro: int | None
    recognition_per_hour: int | None
    hour_before: int | None
    reported_acceleration_micro: int | None
    newest_at: datetime | None

    @property
    def acceleration(self) -> int | None:
        """Return the cascade's acceleration: by how many events per hour the rate has changed within an hour."""
        if self.recognition_per_hour is None or self.hour_before is None:
            return None
        return self.recognition_per_hour - self.hour_before


@dataclass(frozen=True, slots=True)
class Quotation:
    """The rate of the moment with its reasons.

    Attributes:
        rate: US dollars per ducat.
        tick: what made it; None before the first tick.
        formula: what the next tick will follow.
        hour_ago, day_ago: the rate then; None when there was none yet.
        now: the database's clock, UTC.
    """

    rate: Rate
    tick: Tick | None
    formula: Formula
    hour_ago: Rate | None
    day_ago: Rate | None
    now: datetime

    @property
    def volume_micro(self) -> int:
        """Return US dollars sold in the 24 hours before the tick, less what went back, in millionths; never below
        zero."""
        volume = self.tick.inputs.get(Input.VOLUME, ()) if self.tick else ()
        return volume[0].now_micro if volume else 0

    @property
    def confidence_ppm(self) -> int:
        """Return how much trade stands behind the rate: volume / (volume + 1,000 USD), in millionths of one."""
        return self.volume_micro * MICRO // (self.volume_micro + _CONFIDENT_AT_MICRO)

    @property
    def overdue_seconds(self) -> int:
        """Return for how long a tick has been missing; 0 when all is well."""
        if self.tick is None:
            return 0
        return max(0, int((self.now - self.tick.at - self.formula.tick).total_seconds()))


def observe(connection: Conn, at: datetime) -> Inputs:
    """Return what the rule sees at a moment, UTC: only what had happened and was known by then."""
    pulse = rate_signals.pulse(connection, at)
    seen: dict[Input, list[Observation]] = {name: [] for name in Input}
    for reading in pulse.readings:
        if reading.kind is not SignalKind.REPORTED_ACCELERATION:
            observation = Observation(reading.source, reading.micro, city.age(reading.occurred_at, at))
            seen[Input(reading.kind)].append(observation)
    for counted in pulse.counts:
        _add(seen[Input.RECOGNITION], city.recognition(counted, at))
        _add(seen[Input.ACCELERATION], city.acceleration(counted, at))
    seen[Input.VOLUME].append(city.volume(balances.sold(connection, at), at))
    return {name: tuple(observations) for name, observations in seen.items()}


def keep(connection: Conn, formula: Formula) -> list[Tick]:
    """Write the ticks that are due, oldest first, at most ``TICKS_AT_ONCE``.

    Each is computed from what was known at its own moment, so that a keeper that was down for hours writes what it
    would have written (docs/decisions/0011). Of several keepers at once the database lets one write each tick.

    Raises:
        SettingsError: the formula's version was used with other constants.
        ClockFault: a tick of the future is there.
    """
    last, now = rate_ticks.latest(connection), orders.clock(connection)
    ahead = rate_ticks.future(connection)
    if ahead is not None:
        raise ClockFault(
            f"a tick of the rate is of {ahead:%Y-%m-%d %H:%M} UTC, but the database's clock says {now:%Y-%m-%d %H:%M}:"
            " it was ahead when the tick was written, and no tick can follow until then; set it right, or restore"
            " rate_ticks from a backup"
        )
    due = _due(formula, last, now)
    if due:
        rate_ticks.remember(connection, formula)
    written: list[Tick] = []
    for moment in due:
        inputs = observe(connection, moment)
        previous = (last.at, last.rate) if last else None
        move = next_rate(formula, last.rate if last else None, inputs)
        tick = Tick(moment, previous, formula.version, inputs, move)
        if not rate_ticks.insert(connection, tick):
            break  # another keeper is at it
        written.append(tick)
        last = tick
    return written


def quotation(connection: Conn, formula: Formula) -> Quotation:
    """Return the rate of the moment with its reasons."""
    tick, now = rate_ticks.latest(connection), orders.clock(connection)
    if tick is None:
        return Quotation(Rate(formula.base_nano_usd), None, formula, None, None, now)
    hour_ago, day_ago = (rate_ticks.at(connection, tick.at - timedelta(hours=hours)) for hours in (1, 24))
    return Quotation(tick.rate, tick, formula, hour_ago, day_ago, now)


def city_now(connection: Conn) -> CityState:
    """Return the city's state at this moment."""
    return city_state(rate_signals.pulse(connection, orders.clock(connection), rate_signals.RECENT))


def city_state(pulse: SignalSnapshot) -> CityState:
    """Return what a pulse tells of the city: of several sources the middle one, so that no single one decides."""
    recent = [r for r in pulse.readings if city.age(r.occurred_at, pulse.at) <= SHOWN_SECONDS]
    counts = [c for c in pulse.counts if city.age(c.newest_at, pulse.at) <= SHOWN_SECONDS]

    def middle(kind: SignalKind) -> int | None:
        values = [reading.micro for reading in recent if reading.kind is kind]
        return median_low(values) if values else None

    # Both hours of the same source, or their difference would be nobody's acceleration.
    chosen: RecognitionStats | None = (
        sorted(counts, key=lambda c: c.last_hour)[(len(counts) - 1) // 2] if counts else None
    )
    comparable = chosen is not None and city.acceleration(chosen, pulse.at) is not None
    return CityState(
        at=pulse.at,
        level_micro=middle(SignalKind.CONSCIOUSNESS),
        coherence_micro=middle(SignalKind.COHERENCE),
        recognition_per_hour=chosen.last_hour if chosen else None,
        hour_before=chosen.hour_before if chosen and comparable else None,
        reported_acceleration_micro=middle(SignalKind.REPORTED_ACCELERATION),
        newest_at=max((*(r.occurred_at for r in recent), *(c.newest_at for c in counts)), default=None),
    )


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How a stretch of history stood up to being computed again.

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
        known = rate_ticks.formulas(connection)
        before: Tick | None = None
        for tick in rate_ticks.stretch(connection, since, until):
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


def explained(tick: Tick) -> Sequence[tuple[Contribution, Sequence[Observation]]]:
    """Return every input's contribution with what was seen of it, the strongest first."""
    parts = [(part, tick.inputs.get(part.input, ())) for part in tick.move.contributions]
    return sorted(parts, key=lambda one: -abs(one[0].nano_usd))


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
