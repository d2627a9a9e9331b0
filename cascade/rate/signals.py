"""Signals about the city, and the inputs that the rule makes of them. All values are whole millionths of a unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from cascade.domain.postings import SalesVolume
from cascade.domain.signal_kinds import OUR_LEDGER, SignalKind
from cascade.errors import InvalidInput

MICRO = 10**6
"""One whole, in the millionths that signals count."""
_MILLIONTH = Decimal("0.000001")
HOUR = timedelta(hours=1)
BASELINE = timedelta(days=7)
"""What is usual is the average of the last seven days, or of as much of them as there is."""
EARLY = timedelta(minutes=2)
"""How far a sender's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One report.

    Attributes:
        id: the sender's own; of one source it is taken once.
        kind: what is reported.
        micro: the value, in millionths.
        occurred_at: UTC, by the sender's clock.
    """

    id: str
    kind: SignalKind
    micro: int
    occurred_at: datetime


def micro_of(kind: SignalKind, value: Decimal) -> int:
    """Return a reported value in millionths.

    Raises:
        InvalidInput: outside the kind's bounds, finer than a millionth, or a count that is not whole.
    """
    least, most = kind.bounds
    if not value.is_finite() or not least <= value <= most:
        raise InvalidInput("value", f"{kind} is from {least:,} to {most:,}, not {value}.")
    if kind is SignalKind.RECOGNITION and value != value.to_integral_value():
        raise InvalidInput("value", f"{kind} counts whole events, not {value}.")
    if value != value.quantize(_MILLIONTH):  # nothing may be rounded here, as a multiplication would
        raise InvalidInput("value", f"{kind} has at most six decimals, not {value}.")
    return int(value * MICRO)


class Input(StrEnum):
    """An input of the rate."""

    CONSCIOUSNESS = "consciousness"
    """The level, against the formula's neutral one."""
    COHERENCE = "coherence"
    """Percent, against the formula's neutral one."""
    RECOGNITION = "recognition"
    """Recognition events of the last hour that was told, against the usual hour."""
    ACCELERATION = "acceleration"
    """The same against the hour before: the cascade's acceleration."""
    VOLUME = "volume"
    """US dollars sold in the last 24 hours, less what went back, against the usual day before. From our ledger."""

    @property
    def unit(self) -> str:
        """Return what its values count."""
        return _UNITS[self]


_UNITS = {
    Input.CONSCIOUSNESS: "level",
    Input.COHERENCE: "percent",
    Input.RECOGNITION: "events per hour",
    Input.ACCELERATION: "events per hour",
    Input.VOLUME: "USD per day",
}


@dataclass(frozen=True, slots=True)
class Observation:
    """The value of one input that one source reports for one moment.

    Attributes:
        source: who says so.
        now_micro: the value, in millionths of the input's unit.
        age_seconds: how old it is.
        usual_micro: what it is held against, in the same millionths; None: of a level, where the formula knows what is
            neutral, or of a flow that cannot be compared with anything yet, and does not count.
    """

    source: str
    now_micro: int
    age_seconds: int
    usual_micro: int | None = None

    def as_data(self) -> dict[str, Any]:
        """Return what is recorded, as JSON."""
        return {
            "source": self.source,
            "now_micro": self.now_micro,
            "age_seconds": self.age_seconds,
            "usual_micro": self.usual_micro,
        }


Inputs = Mapping[Input, tuple[Observation, ...]]
"""Everything that the rule sees; an input without observations is missing."""


def inputs_as_data(inputs: Inputs) -> dict[str, Any]:
    """Return inputs for the record, as JSON."""
    return {name: [observation.as_data() for observation in inputs.get(name, ())] for name in Input}


def inputs_of(data: Mapping[str, Any]) -> Inputs:
    """Return inputs from the record."""
    return {Input(name): tuple(Observation(**entry) for entry in entries) for name, entries in data.items()}


@dataclass(frozen=True, slots=True)
class RecognitionStats:
    """Recognition events that one source has reported, up to its newest report: what it has not told is not nothing.

    Attributes:
        source: who reports.
        last_hour: events in the hour up to its newest report, in whole events.
        hour_before: events in the hour before that.
        last_week: events after its oldest report in those seven days, which counted what had happened before.
        first_at: of the oldest report in those seven days, UTC.
        newest_at: of the newest one.
    """

    source: str
    last_hour: int
    hour_before: int
    last_week: int
    first_at: datetime
    newest_at: datetime


def recognition(counted: RecognitionStats, at: datetime) -> Observation | None:
    """Return events of the last hour that was told against the usual hour. None before there are two hours to
    compare."""
    reported = counted.newest_at - counted.first_at
    if reported < 2 * HOUR:
        return None
    seconds = int(min(reported, BASELINE).total_seconds())
    usual = counted.last_week * MICRO * 3600 // seconds
    return Observation(counted.source, counted.last_hour * MICRO, age(counted.newest_at, at), usual)


def acceleration(counted: RecognitionStats, at: datetime) -> Observation | None:
    """Return events of the last hour that was told against the hour before. None before there are two hours to compare.

    Their difference is the cascade's acceleration, in events per hour, each hour.
    """
    if counted.newest_at - counted.first_at < 2 * HOUR:
        return None
    now, before = counted.last_hour * MICRO, counted.hour_before * MICRO
    return Observation(counted.source, now, age(counted.newest_at, at), before)


def volume(sold: SalesVolume, at: datetime) -> Observation:
    """Return what was sold in the last 24 hours against the usual day; with nothing usual before there is a day to
    compare."""
    day, usual = timedelta(days=1), None
    if sold.first_at is not None and at - sold.first_at >= 2 * day:
        seconds = int(min(at - day - sold.first_at, BASELINE).total_seconds())
        usual = max(0, sold.week_before) * 86_400 // seconds
    return Observation(OUR_LEDGER, max(0, sold.last_day), 0, usual)


def age(moment: datetime, at: datetime) -> int:
    """Return whole seconds since a moment; none when a sender's clock is ahead of ours."""
    return max(0, int((at - moment).total_seconds()))
