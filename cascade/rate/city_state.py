"""The city's state and its recognition cascade, as they are shown: at a request, and in the stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from statistics import median_low

from psycopg import AsyncConnection

from cascade.db import orders
from cascade.db.database import Conn, Row
from cascade.domain.ducat_rate import Rate
from cascade.domain.signal_kinds import SignalKind
from cascade.rate import signal_store, tick_store
from cascade.rate.signal_store import SignalSnapshot
from cascade.rate.signals import RecognitionStats, acceleration, age

SHOWN_SECONDS = 6 * 3600
"""A reading that is older is no longer shown as the city's state."""


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


def city_now(connection: Conn) -> CityState:
    """Return the city's state at this moment."""
    return city_state(signal_store.pulse(connection, orders.clock(connection), signal_store.RECENT))


def city_state(pulse: SignalSnapshot) -> CityState:
    """Return what a pulse tells of the city: of several sources the middle one, so that no single one decides."""
    recent = [r for r in pulse.readings if age(r.occurred_at, pulse.at) <= SHOWN_SECONDS]
    counts = [c for c in pulse.counts if age(c.newest_at, pulse.at) <= SHOWN_SECONDS]

    def middle(kind: SignalKind) -> int | None:
        values = [reading.micro for reading in recent if reading.kind is kind]
        return median_low(values) if values else None

    # Both hours of the same source, or their difference would be nobody's acceleration.
    chosen: RecognitionStats | None = (
        sorted(counts, key=lambda c: c.last_hour)[(len(counts) - 1) // 2] if counts else None
    )
    comparable = chosen is not None and acceleration(chosen, pulse.at) is not None
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
class CityNews:
    """The state of the city; ``number`` is the time in milliseconds, ``tick`` is None before the first one."""

    number: int
    pulse: SignalSnapshot
    tick: datetime | None
    rate: Rate | None


async def read_city(connection: AsyncConnection[Row]) -> CityNews:
    """Return the city as it is: of what it was in between nobody is told."""
    now, tick, rate = await tick_store.newest(connection)
    pulse = await signal_store.recent_pulse(connection, now)
    return CityNews(int(now.timestamp() * 1000), pulse, tick, rate)
