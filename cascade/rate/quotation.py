"""The rate of the moment with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cascade.db import orders
from cascade.db.database import Conn
from cascade.domain.ducat_rate import Rate
from cascade.rate import tick_store
from cascade.rate.parameters import Formula
from cascade.rate.rule import Contribution, Tick
from cascade.rate.signals import MICRO, Input, Observation

_CONFIDENT_AT_MICRO = 1_000 * MICRO
"""US dollars a day at which half of full confidence is reached."""


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


def current_quotation(connection: Conn, formula: Formula) -> Quotation:
    """Return the rate of the moment with its reasons."""
    tick, now = tick_store.latest(connection), orders.clock(connection)
    if tick is None:
        return Quotation(Rate(formula.base_nano_usd), None, formula, None, None, now)
    hour_ago, day_ago = (tick_store.at(connection, tick.at - timedelta(hours=hours)) for hours in (1, 24))
    return Quotation(tick.rate, tick, formula, hour_ago, day_ago, now)


def explain(tick: Tick) -> Sequence[tuple[Contribution, Sequence[Observation]]]:
    """Return every input's contribution with what was seen of it, the strongest first."""
    parts = [(part, tick.inputs.get(part.input, ())) for part in tick.move.contributions]
    return sorted(parts, key=lambda one: -abs(one[0].nano_usd))
