"""The rule by which the rate moves.

Every input presses up or down, between -1 and 1, and fades to nothing as it grows old. The
weighted sum of all pressures, which is between -1 and 1 as well, says where the rate is drawn to: to the ceiling at 1,
to the base at 0, to the floor at -1, in a straight line between them. A tick goes a part of the way there, and never
more than its step. docs/rate.md draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cascade.domain.ducat_rate import Rate
from cascade.rate.parameters import PPM, Formula, InputConfig
from cascade.rate.signals import Input, Inputs, Observation


class InputState(StrEnum):
    """The freshness of an input, which says how much it still counts."""

    FRESH = "fresh"
    FADING = "fading"
    STALE = "stale"
    """So old that it counts as neutral."""
    MISSING = "missing"
    """Nothing is known of it, or not for long enough to compare: it counts as neutral."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """The contribution of one input to the target.

    Attributes:
        input: which.
        state: how much it still counts because of its age.
        pressure_ppm: from -1,000,000 (down) to 1,000,000 (up): the median of its sources, after fading.
        nano_usd: what it adds to the base, in billionths of a US dollar; those of all inputs sum to target minus base.
    """

    input: Input
    state: InputState
    pressure_ppm: int
    nano_usd: int


@dataclass(frozen=True, slots=True)
class RateStep:
    """One application of the rule.

    Attributes:
        rate: the next rate.
        target: where the inputs draw it to.
        contributions: of every input, in the order of ``Input``.
    """

    rate: Rate
    target: Rate
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """One entry of the rate's history.

    Attributes:
        at: the moment it is for, UTC; a whole multiple of the formula's tick.
        previous: of the tick before it, as the database chains them; None for the first.
        formula: the formula's version.
        inputs: what the rule saw.
        move: what it made of it.
        computed_at: when it was written, UTC: later than ``at`` when it was caught up.
    """

    at: datetime
    previous: tuple[datetime, Rate] | None
    formula: str
    inputs: Inputs
    move: RateStep
    computed_at: datetime | None = None

    @property
    def rate(self) -> Rate:
        """Return the rate from this moment on."""
        return self.move.rate


def next_rate(formula: Formula, current: Rate | None, inputs: Inputs) -> RateStep:
    """Apply the rule: whole numbers only, no clock and no chance, so that the same inputs give the same rate for ever.

    Args:
        formula: the constants.
        current: the rate before; None at the very start, which is at the base.
        inputs: what is known.
    """
    pressures = {name: _pressure(formula.weighings[name], inputs.get(name, ())) for name in Input}
    weighted = {name: formula.weighings[name].weight_ppm * pressure for name, (pressure, _) in pressures.items()}
    total = sum(weighted.values())
    base = formula.base_nano_usd
    room = formula.ceiling_nano_usd - base if total > 0 else base - formula.floor_nano_usd
    # Differences of running sums: so the parts add up to the target exactly, which is rounded once.
    contributions, summed, told = [], 0, 0
    for name, (pressure, state) in pressures.items():
        summed += weighted[name]
        reached = _nearest(room * summed, PPM * PPM)
        contributions.append(Contribution(name, state, pressure, reached - told))
        told = reached
    target = base + _nearest(room * total, PPM * PPM)
    if current is None:
        return RateStep(Rate(base), Rate(target), tuple(contributions))
    way = _nearest((target - current.nano_usd) * formula.pull_ppm, PPM)
    most = current.nano_usd * formula.step_ppm // PPM
    return RateStep(Rate(current.nano_usd + max(-most, min(most, way))), Rate(target), tuple(contributions))


def counting(weighing: InputConfig, observations: Sequence[Observation]) -> list[Observation]:
    """Return the observations of an input that count, the one that presses lowest first.

    They are those that are about as young as the youngest, so that a source that has died lets go at once. The one in
    the middle decides, so that no single one can; of an even number the mean of the two in the middle.
    """
    is_level = weighing.span_micro > 0
    known = [one for one in observations if is_level or one.usual_micro is not None]
    youngest = min((one.age_seconds for one in known), default=0)
    oldest = max(youngest, min(youngest + weighing.fresh_seconds, weighing.stale_seconds))
    alive = [one for one in known if one.age_seconds <= oldest]
    return sorted(alive, key=lambda one: _raw_pressure(weighing, one))


def _pressure(weighing: InputConfig, observations: Sequence[Observation]) -> tuple[int, InputState]:
    """Return an input's pressure in ppm, and its state. It fades as the youngest observation grows old."""
    counted = counting(weighing, observations)
    if not counted:
        return 0, InputState.MISSING
    left = _share_left(weighing, min(one.age_seconds for one in counted))
    if not left:
        return 0, InputState.STALE
    pressures = [_raw_pressure(weighing, one) for one in counted]
    twice = pressures[len(pressures) // 2] + pressures[(len(pressures) - 1) // 2]
    return _nearest(twice * left, 2 * PPM), InputState.FRESH if left == PPM else InputState.FADING


def _raw_pressure(weighing: InputConfig, one: Observation) -> int:
    """Return what one source says, whatever its age, in ppm."""
    if one.usual_micro is None:
        pressure = _nearest((one.now_micro - weighing.neutral_micro) * PPM, weighing.span_micro)
    else:
        whole = one.now_micro + one.usual_micro + weighing.damping_micro
        pressure = _nearest((one.now_micro - one.usual_micro) * PPM, whole)
    return max(-PPM, min(PPM, pressure))


def _share_left(weighing: InputConfig, age_seconds: int) -> int:
    """Return how much of an observation still counts, in ppm."""
    if age_seconds <= weighing.fresh_seconds:
        return PPM
    fading = weighing.stale_seconds - weighing.fresh_seconds
    return max(0, weighing.stale_seconds - age_seconds) * PPM // fading


def _nearest(numerator: int, denominator: int) -> int:
    """Return the nearest whole number, halves away from zero: up and down are treated alike, so rounding makes no
    drift."""
    magnitude = (2 * abs(numerator) + denominator) // (2 * denominator)
    return magnitude if numerator >= 0 else -magnitude
