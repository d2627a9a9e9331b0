"""The formula of the rate: constants with a version, as data. A version that was used never changes its meaning."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from cascade.domain.ducat_rate import NANO_USD
from cascade.errors import SettingsError
from cascade.rate.signals import MICRO, Input

PPM = 10**6
"""A share of one counts millionths."""
RULE = 1
"""The rule that ``rate.rule`` follows. A change of what it computes is a new number, beside the old one."""

_LEVELS = (Input.CONSCIOUSNESS, Input.COHERENCE)
_VERSION = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}", re.ASCII)
_DECIMAL = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_SECONDS_PER_DAY = 86_400
_MOST_NANO_USD = 10**6 * NANO_USD
"""What the database can count with."""


@dataclass(frozen=True, slots=True)
class InputConfig:
    """The weight of one input.

    Attributes:
        weight_ppm: its share of the room between the base and the ceiling, and of that between the floor and the base.
        fresh_seconds: so long it counts in full.
        stale_seconds: from then on it does not count; in between it fades.
        neutral_micro: of a level: what moves nothing, in millionths of the input's unit.
        span_micro: of a level: how far from there its full weight is reached.
        damping_micro: of a flow: how much has to happen beside the usual to matter.
    """

    weight_ppm: int
    fresh_seconds: int
    stale_seconds: int
    neutral_micro: int = 0
    span_micro: int = 0
    damping_micro: int = 0


@dataclass(frozen=True, slots=True)
class Formula:
    """The constants that turn inputs into a rate.

    Attributes:
        version: its name in every tick.
        base_nano_usd: what a ducat costs when every input is neutral, and at the start; billionths of a US dollar.
        floor_nano_usd: the least that the target can be.
        ceiling_nano_usd: the most.
        tick_seconds: how often the rate moves; divides a day.
        pull_ppm: the share of the way to the target that one tick goes.
        step_ppm: the most that one tick moves, as a share of the rate.
        weighings: of every input; the weights sum to one at most.
        data: what it was read from, in full.
    """

    version: str
    base_nano_usd: int
    floor_nano_usd: int
    ceiling_nano_usd: int
    tick_seconds: int
    pull_ppm: int
    step_ppm: int
    weighings: Mapping[Input, InputConfig]
    data: Mapping[str, Any]

    @classmethod
    def from_toml(cls, text: str) -> Formula:
        """Read a formula.

        Raises:
            SettingsError: the text is no TOML, or a value is missing, unknown or wrong.
        """
        try:
            return cls.from_data(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"formula: {error}") from None

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Formula:
        """Return the same from what the text holds, which is also what the database keeps.

        Raises:
            SettingsError: as above.
        """
        try:
            return _formula(data)
        except KeyError as missing:
            raise SettingsError(f"formula: {missing} is missing") from None
        except (ValueError, TypeError, AttributeError, InvalidOperation) as error:
            raise SettingsError(f"formula: {error}") from None

    @property
    def tick(self) -> timedelta:
        """Return the seconds from one tick to the next."""
        return timedelta(seconds=self.tick_seconds)


def _formula(data: Mapping[str, Any]) -> Formula:
    _refuse_unknown("", data, {"version", "rule", "usd_per_ducat", "tick_seconds", "pull_ppm", "step_ppm", "inputs"})
    if type(data["rule"]) is not int or data["rule"] != RULE:
        raise ValueError(f"rule = {data['rule']!r}, but this release follows rule {RULE}: upgrade Cascade")
    if not isinstance(data["version"], str) or not _VERSION.fullmatch(data["version"]):
        raise ValueError(f"version = {data['version']!r} must be lower-case letters, digits, dots, - and _")
    prices = data["usd_per_ducat"]
    _refuse_unknown("usd_per_ducat.", prices, {"base", "floor", "ceiling"})
    floor, base, ceiling = (_scaled(prices, name, NANO_USD) for name in ("floor", "base", "ceiling"))
    if not 0 < floor <= base <= ceiling <= _MOST_NANO_USD:
        raise ValueError("usd_per_ducat: floor, base and ceiling must be above 0, in this order, and a million at most")
    tick_seconds = _whole(data, "tick_seconds", 1, 3600)
    if _SECONDS_PER_DAY % tick_seconds:
        raise ValueError(f"tick_seconds = {tick_seconds} must divide a day")
    inputs = data["inputs"]
    _refuse_unknown("inputs.", inputs, set(Input))
    weighings = {name: _weighing(name, inputs[name.value]) for name in Input}
    weights = sum(weighing.weight_ppm for weighing in weighings.values())
    if weights > PPM:
        raise ValueError(f"the weights sum to {weights:,} ppm, but all together are at most one ({PPM:,} ppm)")
    return Formula(
        version=data["version"],
        base_nano_usd=base,
        floor_nano_usd=floor,
        ceiling_nano_usd=ceiling,
        tick_seconds=tick_seconds,
        pull_ppm=_whole(data, "pull_ppm", 1, PPM),
        step_ppm=_whole(data, "step_ppm", 1, 100_000),
        weighings=weighings,
        data=data,
    )


def _weighing(name: Input, data: Mapping[str, Any]) -> InputConfig:
    where, is_level = f"inputs.{name}.", name in _LEVELS
    common = {"weight_ppm", "fresh_seconds", "stale_seconds"}
    _refuse_unknown(where, data, common | ({"neutral", "span"} if is_level else {"damping"}))
    try:
        weighing = InputConfig(
            weight_ppm=_whole(data, "weight_ppm", 0, PPM),
            fresh_seconds=_whole(data, "fresh_seconds", 0, 30 * _SECONDS_PER_DAY),
            stale_seconds=_whole(data, "stale_seconds", 1, 30 * _SECONDS_PER_DAY),
            neutral_micro=_scaled(data, "neutral", MICRO) if is_level else 0,
            span_micro=_positive(data, "span") if is_level else 0,
            damping_micro=0 if is_level else _positive(data, "damping"),
        )
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None
    fresh, stale = weighing.fresh_seconds, weighing.stale_seconds
    if stale <= fresh:
        raise ValueError(f"inputs.{name}: stale_seconds = {stale} must be above fresh_seconds = {fresh}")
    return weighing


def _positive(data: Mapping[str, Any], key: str) -> int:
    scaled = _scaled(data, key, MICRO)
    if scaled == 0:
        raise ValueError(f"{key} must be above 0")
    return scaled


def _scaled(data: Mapping[str, Any], key: str, scale: int) -> int:
    value = data[key]
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise ValueError(f'{key} = {value!r} must be a decimal in quotes, e.g. "0.10"')
    scaled = Decimal(value) * scale
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{key} = {value} is finer than one part in {scale:,}")
    return int(scaled)


def _whole(data: Mapping[str, Any], key: str, least: int, most: int) -> int:
    value: object = data[key]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{key} = {value!r} must be a whole number from {least:,} to {most:,}")
    return value


def _refuse_unknown(where: str, data: Mapping[str, Any], known: set[str] | set[Input]) -> None:
    if not isinstance(data, Mapping):
        raise ValueError(f"{where.rstrip('.') or 'the formula'} must be a table")
    unknown = sorted(set(data) - {str(name) for name in known})
    if unknown:
        raise ValueError(f"there is no {where}{unknown[0]}; there are {', '.join(sorted(known))}")
